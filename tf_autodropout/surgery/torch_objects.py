"""How objects of PyTorch are copied with a model, see `copying`."""

from typing import Any

import torch

from tf_autodropout.layers.keras_internals import hold_parameters

FUNCTIONS: tuple[type, ...] = ()  # that hold one of Python
VARIABLES: tuple[type, ...] = (torch.nn.Parameter,)


def is_foreign(kind: type) -> bool:
    """True for a class of PyTorch that is shared as it is: none; modules are copied by their own way."""
    return False


def wrapped(x: Any) -> Any:
    """Returns a list, tuple or dict as PyTorch holds those that belong to a layer: it has no way of its own."""
    return x


def teach(copier: type) -> None:
    """Teaches the copier of models the classes of PyTorch.

    Args:
        copier: Its class, whose `_new` dispatches on classes.
    """

    @copier._new.register(torch.nn.ParameterDict)  # type: ignore[attr-defined]
    def parameters(self: Any, x: Any) -> Any:
        return torch.nn.ParameterDict()  # see `finish`


def finish(operation: Any) -> None:
    """Lets a copied layer, a module of PyTorch, hold the parameters of the copied variables."""
    hold_parameters(operation)
