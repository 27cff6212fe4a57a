"""An independent copy of a model: same class, same weights, same random state."""

from typing import Any

import keras

from tf_autodropout.surgery.graph import why_closed
from tf_autodropout.surgery.subclassed import rebuilt


def copy_model(model: keras.Model) -> keras.Model:
    """Returns a copy that shares nothing with `model` but what has no state.

    Args:
        model: A model that is built. Layers of classes that are not registered with Keras are copied as well where
            the model is plain Functional or Sequential.

    Returns:
        A model of the same class, not compiled.

    Raises:
        ValueError: a class that Keras cannot rebuild from its config.
    """
    if why_closed(model) is None and "layers" in model.get_config():  # its config is its graph
        copy = keras.models.clone_model(model, clone_function=_copy_layer)
    else:
        copy = rebuilt(model)
    if len(copy.variables) != len(model.variables):
        raise ValueError(
            f"Model '{model.name}': {type(model).__name__} does not come back from its config as it was "
            f"({len(model.variables)} variables became {len(copy.variables)}). Check its get_config and from_config."
        )
    for new, old in zip(copy.variables, model.variables, strict=True):
        new.assign(old)
    for new, old in zip(_layers(copy), _layers(model), strict=True):  # a model before what it is made of
        if new.trainable != old.trainable:
            new.trainable = old.trainable
    if getattr(model, "preprocessor", None) is not None:
        copy.preprocessor = model.preprocessor  # its vocabulary is not in its config
    return copy


def _copy_layer(layer: Any) -> Any:
    if isinstance(layer, keras.layers.Lambda):  # its config is bytecode, which Keras refuses to read back
        return type(layer)(
            layer.function,
            output_shape=layer._output_shape,
            mask=getattr(layer, "mask", None),
            arguments=layer.arguments,
            name=layer.name,
            dtype=layer.dtype_policy,
        )
    return layer.__class__.from_config(layer.get_config())


def _layers(model: keras.Model) -> list[Any]:
    return [layer for layer in model._flatten_layers() if layer.variables]
