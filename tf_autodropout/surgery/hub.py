"""KerasHub, which takes seconds to import and may not be there: what of it this package needs to know, and when.

Before something has imported it, no model in hand is of its classes. A saved model may be: its file names them.
"""

import functools
import importlib
import io
import sys
import zipfile
from pathlib import Path

import h5py

_NAMES = (b"keras_hub", b"keras_nlp", b"pattern_transformer")  # modules of its classes, and of ours that stand on it


def public_backbones() -> frozenset[type]:
    """Returns the backbones that KerasHub exports: every process that imports it knows them. None before that."""
    return _public_backbones() if "keras_hub" in sys.modules else frozenset()


@functools.cache
def _public_backbones() -> frozenset[type]:
    import keras_hub

    kinds = [one for one in vars(keras_hub.models).values() if isinstance(one, type)]
    return frozenset(one for one in kinds if issubclass(one, keras_hub.models.Backbone))


def import_if_named(config: bytes) -> None:
    """Imports KerasHub, and this package's layers that stand on it, if a saved model names them.

    Args:
        config: Of the model, see `saved_config`.

    Raises:
        ImportError: KerasHub cannot be imported.
    """
    if any(name in config for name in _NAMES):
        importlib.import_module("tf_autodropout.layers.pattern_transformer")


def saved_config(file: str | Path | io.BytesIO) -> bytes:
    """Returns the config in a file, as written there; empty if there is none: Keras says what is wrong with it.

    Args:
        file: A `.keras` or `.h5` file, or what a pickle has of the first; anything else is left to Keras.
    """
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return archive.read("config.json")
        if not isinstance(file, io.BytesIO) and h5py.is_hdf5(file):
            with h5py.File(file, "r") as archive:
                config = archive.attrs.get("model_config", b"")
                return config.encode() if isinstance(config, str) else bytes(config)
    except (OSError, KeyError, zipfile.BadZipFile):
        pass
    return b""
