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
import keras_nlp

from tf_autodropout.surgery.apply import Insertion, apply
from tf_autodropout.surgery.places import find_places

# Where Keras does not know the class, its error ends with this name: it tells what to do.
_PACKAGE, _NAME = "tf_autodropout.load_model", "RegularizedModel"
_CLASSES: dict[type, type] = {}
_PARTS = {"model", "insertions", "output_names"}


class _EqualToItsBase(type):
    """Classes that KerasHub takes for the class of the plain model.

    `BertTextClassifier.from_preset` asks by `==` whether the backbone of a preset is of its class.
    """

    def __eq__(cls, other: object) -> bool:
        return other is cls or _CLASSES.get(other) is cls  # type: ignore[call-overload]

    __hash__ = type.__hash__  # a set of classes keeps both


class _Regularized(metaclass=_EqualToItsBase):
    """Comes before the class of the model among the bases."""

    _insertions: Mapping[str, Insertion] = {}  # none in a clone, whose graph has the pattern layers

    def get_config(self: Any) -> dict[str, Any]:
        plan = {path: insertion.to_dict() for path, insertion in current(self).items()}
        config = {"model": _plain_config(self), "insertions": plan}
        return config if isinstance(self, keras.Sequential) else config | {"output_names": self.output_names}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
        return rebuild(config, custom_objects)

    def __reduce__(self: Any) -> Any:
        return _unpickled, super().__reduce__()[1]  # Keras would look for the class in the module of its base


def _unpickled(file: Any) -> keras.Model:
    return keras.Model._unpickle_model(file)


@keras.saving.register_keras_serializable(_PACKAGE, _NAME)
class RegularizedModel:
    """What Keras finds under the name of these classes in a process that has none: it rebuilds the one that was saved.

    Those of KerasHub's backbones have names of their own, see `regularized_class`.
    """

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
        """Rebuilds the model."""
        return rebuild(config, custom_objects)

    def get_config(self) -> dict[str, Any]:
        """There is no instance of this class."""
        return {}


def rebuild(config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
    """Makes a model from the config of a regularized one."""
    changed = {name: value for name, value in config.items() if name not in _PARTS and value is not None}  # a dtype
    plain = config["model"] | {"config": config["model"]["config"] | changed}
    model = keras.saving.deserialize_keras_object(plain, custom_objects=custom_objects)
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
    """Returns the subclass of a class of models that saves patterns.

    That of a backbone of KerasHub is found by its own name, since `from_preset` wants a subclass of the class it is
    called on. Others are known in the process that made them only.
    """
    if base not in _CLASSES:
        name = f"Regularized{base.__name__}"
        made = _EqualToItsBase(name, (_Regularized, base), {"__module__": __name__})
        _CLASSES[base] = made
        is_backbone = issubclass(base, keras_nlp.models.Backbone)
        keras.saving.register_keras_serializable(_PACKAGE, name if is_backbone else _NAME)(made)
        if not is_backbone:
            keras.saving.register_keras_serializable(_PACKAGE, _NAME)(RegularizedModel)
    return _CLASSES[base]


def _register_backbones() -> None:
    """Lets `from_preset` find the class of a regularized backbone that another process has saved."""
    bases = [keras_nlp.models.Backbone]
    for base in bases:
        bases += [kind for kind in base.__subclasses__() if kind.__module__.startswith("keras_hub.")]
    for base in bases:
        regularized_class(base)


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
    names = _registered_names(keras.saving.serialize_keras_object(config))
    return "layers" in config or any(str(name).startswith(f"{_PACKAGE}>Regularized") for name in names)


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


_register_backbones()
