"""The one place where the library meets TensorFlow, JAX or PyTorch: the one that Keras runs on.

`xp` holds the functions that masks are made of, under TensorFlow's names and with its meaning, in one file for each of
the three. On TensorFlow they are its own, so nothing stands between a mask and its operations. What Keras offers on all
three alike, layers take from `keras.ops`.
"""

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import keras

Tensor = Any  # of the backend
DType = Any

BACKENDS = ("tensorflow", "jax", "torch")
NAME: str = keras.backend.backend()

if NAME not in BACKENDS:
    raise ImportError(f"tf_autodropout runs on the Keras backends {', '.join(BACKENDS)}. Received: '{NAME}'.")
xp: Any = importlib.import_module(f"{__name__}.{NAME}")


Function = TypeVar("Function", bound=Callable[..., Any])


def exact(function: Function) -> Function:
    """Lets a function compute with 64-bit integers, a decorator: JAX has them only where it is told."""
    wrapped: Function = xp.exact(function)
    return wrapped
