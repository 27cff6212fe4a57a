"""What surgery asks of the backend that Keras runs on (`masks.backend`); a file of one has only what differs there."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_autodropout.masks.backend import NAME, Tensor


class Objects:
    """The objects of a backend that a model holds: how they are copied, made and read."""

    MODULES: tuple[str, ...] = ()  # of classes whose objects are shared, for they do not change
    FUNCTIONS: tuple[Any, ...] = ()  # that hold one of Python
    VARIABLES: tuple[type, ...] = ()

    def is_foreign(self, kind: type) -> bool:
        """True for a class of the backend whose objects are not copied attribute by attribute."""
        return kind.__module__.split(".")[0] in self.MODULES

    def wrapped(self, x: Any) -> Any:
        """Returns a list, tuple or dict as the backend holds those that belong to a layer."""
        return x

    def teach(self, copier: type) -> None:
        """Teaches the copier of models the classes of the backend.

        Args:
            copier: Its class, whose `_new` dispatches on classes.
        """
        raise NotImplementedError

    def finish(self, operation: Any) -> None:
        """Does what a copied layer still needs when all variables are there."""

    def copied(self, value: Any) -> Tensor:
        """Returns the value of a variable, which does not change with it."""
        raise NotImplementedError

    def in_strategy(self) -> bool:
        """True in the scope of a distribution strategy, where running a model is a step of its own."""
        return False

    def as_spec(self, value: np.ndarray, spec: Any) -> Tensor:
        """Returns an array as a tensor that a `keras.KerasTensor` stands for."""
        return keras.ops.convert_to_tensor(value, spec.dtype)

    def to_arrays(self, nest: Any) -> list[np.ndarray]:
        """Returns the tensors in a nest as arrays; a sparse or ragged one gives several."""
        return [keras.ops.convert_to_numpy(one) for one in keras.tree.flatten(nest)]

    def call_on_symbols(self, function: Callable[..., Any], specs: Any) -> None:
        """Runs a function on tensors without values.

        Args:
            function: Of one argument.
            specs: The argument, a nest of `keras.KerasTensor`.
        """
        raise NotImplementedError


OBJECTS: Objects = importlib.import_module(f"{__name__}.{NAME}").Own()
