"""Models whose config does not tell all: how they keep class, patterns and the names of outputs through saving.

A plain Functional model saves its graph, pattern layers included. A KerasHub backbone saves the arguments of its
constructor, which knows nothing of patterns, and would come back without them. Such a model becomes an instance of a
subclass of its class whose config is that of the plain model together with what was put in. A Functional model with a
pattern behind an output does so too: Keras names an output by the layer that makes it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from tf_autodropout.surgery.apply import Insertion, apply
from tf_autodropout.surgery.places import find_places

_PACKAGE, _NAME = "tf_autodropout", "RegularizedModel"
_CLASSES: dict[type, type] = {}


class _Regularized:
    """Comes before the class of the model among the bases."""

    _insertions: Mapping[str, Insertion]

    def get_config(self: Any) -> dict[str, Any]:
        plan = {path: insertion.to_dict() for path, insertion in current(self).items()}
        config = {"model": _plain_config(self), "insertions": plan}
        return config if isinstance(self, keras.Sequential) else config | {"output_names": self.output_names}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
        return rebuild(config, custom_objects)


@keras.saving.register_keras_serializable(_PACKAGE, _NAME)
class RegularizedModel:
    """What Keras finds under the name of all these classes: it rebuilds the one that was saved."""

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
        """Rebuilds the model."""
        return rebuild(config, custom_objects)

    def get_config(self) -> dict[str, Any]:
        """There is no instance of this class."""
        return {}


def rebuild(config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
    """Makes a model from the config of a regularized one."""
    model = keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects)
    plan = {path: Insertion.from_dict(fields) for path, fields in config["insertions"].items()}
    apply(model, plan)
    if "output_names" in config:
        model.output_names = list(config["output_names"])
    _keep_inner_classes(model, plan)
    return _become(model, plan)


def keep_class(model: keras.Model, plan: Mapping[str, Insertion]) -> keras.Model:
    """Lets a model that has been edited in place keep its patterns when it is saved, and the models inside it too."""
    _keep_inner_classes(model, plan)
    if not plan:
        return model
    if not _saves_patterns(model):
        return _become(model, plan)
    return model if _saves_names(model) else _become(model, {})


def _keep_inner_classes(model: keras.Model, plan: Mapping[str, Insertion]) -> None:
    for layer in model.layers:
        inside = _below(plan, layer.name)
        if inside and isinstance(layer, keras.Model):
            keep_class(layer, inside)


def _become(model: keras.Model, plan: Mapping[str, Insertion]) -> keras.Model:
    """Makes a model one of a class that saves what is in `plan`."""
    object.__setattr__(model, "_insertions", dict(plan))
    model.__class__ = regularized_class(type(model))
    return model


def plain_class(model: keras.Model) -> type:
    """Returns the class that a model had before `keep_class`."""
    return next((base for base, made in _CLASSES.items() if made is type(model)), type(model))


def regularized_class(base: type) -> type:
    """Returns the subclass of a class of models that saves patterns."""
    if base not in _CLASSES:
        made = type(f"Regularized{base.__name__}", (_Regularized, base), {"__module__": base.__module__})
        _CLASSES[base] = made
        register = keras.saving.register_keras_serializable(_PACKAGE, _NAME)
        register(made)  # it is saved under this name,
        register(RegularizedModel)  # and this is what is found under it
    return _CLASSES[base]


def current(model: Any) -> dict[str, Insertion]:
    """Returns what is in a model of a regularized class, with the patterns as they are now: `assign` may have come."""
    places = {place.path: place for place in find_places(model)[0]}
    return {path: replace(one, patterns=places[path].patterns()) for path, one in model._insertions.items()}


def _saves_names(model: keras.Model) -> bool:
    """True if Keras gives the outputs the names that they have."""
    graph = isinstance(model, keras.Function)
    return not graph or model.output_names == [tensor._keras_history.operation.name for tensor in model.outputs]


def _saves_patterns(model: keras.Model) -> bool:
    """True if the config of a model holds its pattern layers, or models inside it that save theirs."""
    try:
        config = model.get_config()
    except (NotImplementedError, TypeError, ValueError):  # a layer in it has no config: it cannot be saved anyway
        return True
    return "layers" in config or f"{_PACKAGE}>{_NAME}" in _registered_names(keras.saving.serialize_keras_object(config))


def _registered_names(config: Any) -> set[Any]:
    if isinstance(config, dict):
        found = {config.get("registered_name")}
        return found.union(*map(_registered_names, config.values()))
    if isinstance(config, list | tuple):
        return set().union(*map(_registered_names, config))
    return set()


def _plain_config(model: Any) -> dict[str, Any]:
    """The config of a model as one of its own class, without patterns."""
    regularized = model.__class__
    model.__class__ = plain_class(model)
    try:
        config = keras.saving.serialize_keras_object(model)
    finally:
        model.__class__ = regularized
    config.pop("compile_config", None)
    return config


def _below(plan: Mapping[str, Insertion], name: str) -> dict[str, Insertion]:
    """The part of a plan that concerns a model inside, with paths as seen from there."""
    return {path.removeprefix(f"{name}/"): one for path, one in plan.items() if path.startswith(f"{name}/")}
