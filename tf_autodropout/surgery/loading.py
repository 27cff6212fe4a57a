"""Loads saved models in a process that has made none."""

import warnings
from pathlib import Path
from typing import Any

import keras

from tf_autodropout.layers import (
    pattern_layers,
    relative_attention,  # noqa: F401 (registers its classes with Keras)
    segment_memory,  # noqa: F401
)
from tf_autodropout.layers.recording import recording
from tf_autodropout.layers.site_layers import SCORES
from tf_autodropout.masks.backend import NAME
from tf_autodropout.surgery.hub import import_if_named, saved_config
from tf_autodropout.surgery.objects import OBJECTS
from tf_autodropout.surgery.rebuilding import register_backbones

_OF_TORCH = b"keras.src.backend.torch.optimizers"


def load_model(file: str | Path, **arguments: Any) -> keras.Model:
    """Loads a model with pattern layers: `keras.saving.load_model`, which knows this package's classes by then.

    In a new process Keras does not know them yet: nothing of TensorFlow is loaded by `import tf_autodropout`. KerasHub
    is imported for a file that names it. A compiled model that was saved on PyTorch keeps its optimizer on the others.

    Args:
        file: What `model.save` wrote.
        **arguments: Of `keras.saving.load_model`.

    Returns:
        The model, with its patterns.

    Warns:
        UserWarning: on JAX and PyTorch, of patterns at a softmax that is part of a fused attention there.

    Raises:
        ValueError: as `keras.saving.load_model`.
        ImportError: the model has layers of KerasHub, which cannot be imported.

    Example:
        >>> import keras
        >>> import tf_autodropout as tad
        >>> plain = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.BatchNormalization()])
        >>> tad.regularize(plain, tad.ConvPattern(size=2)).save("model.keras")
        >>> [site.pattern.size for site in tad.sites(tad.load_model("model.keras"))]
        [2]
    """
    config = saved_config(file)
    import_if_named(config)
    register_backbones()
    with keras.saving.custom_object_scope(_optimizers_of(config) | (arguments.get("custom_objects") or {})):
        model = keras.saving.load_model(file, **arguments)
    if NAME != "tensorflow":
        _warn_of_fused_attention(model)
    return model


def _optimizers_of(config: bytes) -> dict[str, type]:
    """Returns by what names to know the optimizer of a compiled model from PyTorch: Keras saves it with the name of a
    module that only PyTorch can import, and not with the public one."""
    if NAME == "torch" or _OF_TORCH not in config:
        return {}
    return {name: one for name, one in vars(keras.optimizers).items() if isinstance(one, type)}


def _warn_of_fused_attention(model: Any) -> None:
    """Warns of patterns inside attention that this backend computes as a whole: no layer is called there."""
    inside = [layer for site in ("softmax", SCORES) for layer in pattern_layers(model).get(site, ())]
    waiting = {id(layer): layer for layer in inside if not layer.pattern.is_identity}
    specs = getattr(model, "input", None) if waiting else None
    if specs is None:
        return
    try:
        with recording(lambda layer, x: waiting.pop(id(layer), None)):
            OBJECTS.call_on_symbols(lambda inputs: model(inputs, training=False), specs)
    except Exception:  # whatever a layer says of the sizes that open ones count as
        return
    if waiting:
        warnings.warn(
            f"Model '{model.name}': {len(waiting)} patterns at its softmax do not act: on '{NAME}' its attention is "
            "computed as a whole, without the softmax layer that they are at.",
            stacklevel=3,
        )
