"""Loads saved models in a process that has made none."""

from pathlib import Path
from typing import Any

import keras

from tf_autodropout.layers import relative_attention, segment_memory  # noqa: F401 (registers its classes with Keras)
from tf_autodropout.surgery.hub import import_if_named
from tf_autodropout.surgery.rebuilding import register_backbones


def load_model(file: str | Path, **arguments: Any) -> keras.Model:
    """Loads a model with pattern layers: `keras.saving.load_model`, which knows this package's classes by then.

    In a new process Keras does not know them yet: nothing of TensorFlow is loaded by `import tf_autodropout`. KerasHub
    is imported for a file that names it.

    Args:
        file: What `model.save` wrote.
        **arguments: Of `keras.saving.load_model`.

    Returns:
        The model, with its patterns.

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
    import_if_named(file)
    register_backbones()
    return keras.saving.load_model(file, **arguments)
