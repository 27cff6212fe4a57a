"""Models whose config is no graph: made anew by their class."""

import inspect
from typing import Any

import keras

from tf_autodropout.layers.adoption import plain_type
from tf_autodropout.layers.keras_internals import all_layers
from tf_autodropout.surgery.graph import why_closed


def config_of(model: keras.Model) -> dict[str, Any]:
    """Returns a model as Keras writes it, without what its constructor does not take.

    Keras adds `trainable` and `dtype` to a config that it has made of the constructor's arguments, and cannot read it
    back where the constructor takes neither.
    """
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    if why_closed(model) is not None and isinstance(config.get("config"), dict):
        taken = inspect.signature(type(model).__init__).parameters
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in taken.values()):
            added = {"trainable", "dtype", "name"} - set(taken)
            config["config"] = {name: value for name, value in config["config"].items() if name not in added}
    return config


def rebuilt(model: keras.Model) -> keras.Model:
    """Returns a model of the same class and config, with weights of its own.

    Raises:
        ValueError: a class that cannot be made from its config.
    """
    kind = type(model)
    try:
        config = config_of(model)
        if why_closed(model) is None:
            config.pop("build_config", None)  # its class builds it
        copy = keras.saving.deserialize_keras_object(config, custom_objects=_classes(model), safe_mode=False)
    except Exception as error:  # whatever somebody's code raises
        raise ValueError(
            f"Model '{model.name}': {kind.__name__} cannot be copied, for its class does not come back from its config "
            f"({_first_line(error)}). Give it a `get_config` and `from_config`, or put the patterns into the model "
            "itself: tad.regularize(model, patterns, in_place=True)."
        ) from error
    return copy


def _classes(model: keras.Model) -> dict[str, type]:
    """The classes of a model and of its layers, without patterns, by name: they need not be registered with Keras."""
    kinds = [kind for layer in all_layers(model, include_self=True) for kind in plain_type(layer).__mro__]
    ours = [kind for kind in kinds if issubclass(kind, keras.layers.Layer) and not kind.__module__.startswith("keras.")]
    return {kind.__name__: kind for kind in ours}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
