"""Models whose config does not tell all: how they keep class, patterns and the names of outputs through saving.

A plain Functional model saves its graph, pattern layers included, but not what was put into layers that Python code
calls. A KerasHub backbone and a subclassed model save the arguments of their constructors, which know nothing of
patterns, and would come back without them. Such a model becomes an instance of a subclass of its class whose config is
that of the plain model together with what was put in, where that is not in it already. A Functional model with a
pattern behind an output does so too: Keras names an output by the layer that makes it.
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from tf_autodropout.layers.adoption import as_plain, is_adopted
from tf_autodropout.layers.keras_internals import let_hear_training, maker, unpickled
from tf_autodropout.layers.patterned import OUTPUT
from tf_autodropout.layers.registration import PACKAGE
from tf_autodropout.surgery.apply import Done, Insertion, apply
from tf_autodropout.surgery.graph import is_nested
from tf_autodropout.surgery.hub import import_if_named, public_backbones, saved_config
from tf_autodropout.surgery.structure import spots
from tf_autodropout.surgery.subclassed import config_of

_NAME = "RegularizedModel"
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
    _done: Mapping[str, Done] = {}

    def get_config(self: Any) -> dict[str, Any]:
        plan = {path: insertion.to_dict() for path, insertion in current(self).items()}
        plain = _plain_config(self)
        config = {"model": plain, "insertions": plan}
        if "dtype" in plain["config"]:  # a backbone of KerasHub gives one inside it float16 where it finds none
            config["dtype"] = plain["config"]["dtype"]
        return config | {"output_names": self.output_names} if _is_graph(self) else config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
        return rebuild(config, custom_objects)

    def __reduce__(self: Any) -> Any:
        return from_pickle, super().__reduce__()[1]  # Keras would look for the class in the module of its base


def from_pickle(file: Any) -> keras.Model:
    """Makes a regularized model that has been pickled."""
    import_if_named(saved_config(file))
    register_backbones()
    return unpickled(file)


@keras.saving.register_keras_serializable(PACKAGE, _NAME)
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
    plan = {key: Insertion.from_dict(fields) for key, fields in config["insertions"].items()}
    done = apply(model, plan)
    if "output_names" in config:
        model.output_names = list(config["output_names"])
    keep_class(model, plan, done)
    if not isinstance(model, _Regularized):
        _become(model, {}, {})
    return model


def keep_class(model: keras.Model, plan: Mapping[str, Insertion], done: Mapping[str, Done]) -> None:
    """Lets a model that has been edited in place keep its patterns when it is saved, and the models inside it too.

    Args:
        model: The model.
        plan: What was put in.
        done: What `apply` has returned.
    """
    in_graph = [spot for spot in spots(model) if spot.owner is model]
    nested = [spot for spot in in_graph if is_nested(spot.layer)]
    for spot in nested:
        keep_class(spot.layer, _below(plan, spot.key), _below(done, spot.key))
    with as_plain([one.layer for one in done.values() if one.is_hidden and is_adopted(one.layer)]):
        config = _config(model) if plan else {}
    saved = {key for key in plan if "layers" in config and not done[key].is_hidden}
    for spot in nested:
        below = {key for key in plan if key.startswith(f"{spot.key}/")}
        # A model inside saves its own, if it is saved and not built anew by the class of this one.
        saved = saved | below if _holds(config, spot.layer.name) else saved - below
    left = {key: one for key, one in plan.items() if key not in saved}
    if left or (plan and not _saves_names(model)):
        _become(model, left, {key: done[key] for key in left})


def _become(model: keras.Model, plan: Mapping[str, Insertion], done: Mapping[str, Done]) -> None:
    """Makes a model one of a class that saves what is in `plan`, and the names of its outputs."""
    object.__setattr__(model, "_insertions", dict(plan))
    object.__setattr__(model, "_done", dict(done))
    model.__class__ = regularized_class(type(model))
    _take_training(model, True)


def lose_class(model: keras.Model) -> None:
    """Undoes `keep_class` for one model."""
    if isinstance(model, _Regularized):
        for name in ("_insertions", "_done"):
            model.__dict__.pop(name, None)
        model.__class__ = plain_class(model)
        _take_training(model, False)


def plain_class(model: keras.Model) -> type:
    """Returns the class that a model had before `keep_class`."""
    return next((base for base, made in _CLASSES.items() if made is type(model)), type(model))


def regularized_class(base: type) -> type:
    """Returns the subclass of a class of models that saves patterns.

    That of a backbone of KerasHub is found by its own name, since `from_preset` wants a subclass of the class it is
    called on. Others are known in the process that made them only, and saved as a `RegularizedModel`.
    """
    if base not in _CLASSES:
        name = f"Regularized{base.__name__}"
        body: dict[str, Any] = {"__module__": __name__}
        if not _knows_training(base):

            def call(self: Any, *args: Any, training: Any = None, **kwargs: Any) -> Any:
                return base.call(self, *args, **kwargs)  # type: ignore[attr-defined]

            body["call"] = call
        made = _EqualToItsBase(name, (_Regularized, base), body)
        _CLASSES[base] = made
        is_backbone = base in public_backbones()
        keras.saving.register_keras_serializable(PACKAGE, name if is_backbone else _NAME)(made)
        if not is_backbone:
            keras.saving.register_keras_serializable(PACKAGE, _NAME)(RegularizedModel)
    return _CLASSES[base]


def register_backbones() -> None:
    """Lets `from_preset`, if KerasHub is imported, find what another process has saved."""
    for backbone in public_backbones():
        regularized_class(backbone)


def _is_graph(model: keras.Model) -> bool:
    return isinstance(model, keras.Function) and not isinstance(model, keras.Sequential)


def _saves_names(model: keras.Model) -> bool:
    """True if Keras gives the outputs the names that they have."""
    names = [maker(tensor).operation.name for tensor in model.outputs] if _is_graph(model) else []
    return not _is_graph(model) or model.output_names == names


def current(model: Any) -> dict[str, Insertion]:
    """Returns what is in a model of a regularized class, with the patterns as they are now: `assign` may have come."""

    def now(key: str, insertion: Insertion) -> Insertion:
        layers = model._done[key].pattern_layers
        inside = {layer.site: layer.pattern for layer in layers}
        return replace(
            insertion,
            patterns={s: layers[0].pattern if s == OUTPUT else inside[s] for s in insertion.patterns},
            schedule=layers[0].schedule,
        )

    return {key: now(key, insertion) for key, insertion in model._insertions.items()}


def _config(model: keras.Model) -> dict[str, Any]:
    """The config of a model, empty for one that has none: that cannot be saved, but it can have patterns."""
    try:
        return model.get_config()
    except Exception:  # whatever somebody's `get_config` raises
        return {}


def _knows_training(kind: Any) -> bool:
    """True unless the `call` of a class of models has no argument `training`.

    A class of which no model has been built yet may lack `call`: Keras makes it a Functional one with the first model.
    """
    return kind.call is keras.Model.call or "training" in inspect.signature(kind.call).parameters


def _take_training(model: keras.Model, take: bool) -> None:
    """Lets `fit` tell a model that it trains whose own `call` has no such argument: its layers hear of it by Keras.

    Without it Keras runs `fit` on such a model as if it predicted, and neither Dropout nor patterns act.
    """
    if not _knows_training(plain_class(model)):
        let_hear_training(model, take)


def _holds(config: Any, name: str) -> bool:
    """True if a config holds the config of a model of this name."""
    if isinstance(config, dict):
        inside = config.get("config")
        if "class_name" in config and isinstance(inside, dict) and inside.get("name") == name:
            return True
        return any(_holds(one, name) for one in config.values())
    if isinstance(config, list | tuple):
        return any(_holds(one, name) for one in config)
    return False


def _plain_config(model: Any) -> dict[str, Any]:
    """The config of a model as one of its own class, without the patterns that are beside it."""
    regularized = model.__class__
    hidden = [done.layer for done in model._done.values() if is_adopted(done.layer)]
    model.__class__ = plain_class(model)
    try:
        with as_plain(hidden):
            return config_of(model)
    finally:
        model.__class__ = regularized


def _below(entries: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The entries that concern a model inside, with keys as seen from there."""
    return {one.removeprefix(f"{key}/"): entry for one, entry in entries.items() if one.startswith(f"{key}/")}


register_backbones()
