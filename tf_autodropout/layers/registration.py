"""The names by which Keras finds the layers of this package in a saved model."""

from typing import TypeVar

import keras

# Where Keras does not know a class, its error ends with the name that the class is saved under: it tells what to do.
PACKAGE = "tf_autodropout.load_model"
_FIRST_PACKAGE = "tf_autodropout"  # of version 0.1, whose models are loaded as well

Kind = TypeVar("Kind", bound=type)


def registered(kind: Kind) -> Kind:
    """Registers a class with Keras, a decorator."""
    for package in (_FIRST_PACKAGE, PACKAGE):  # the last one is written
        keras.saving.register_keras_serializable(package)(kind)
    return kind
