"""How objects of JAX are copied with a model, see `copying`."""

from typing import Any

import jax

FUNCTIONS: tuple[type, ...] = ()  # that hold one of Python
VARIABLES: tuple[type, ...] = ()


def is_foreign(kind: type) -> bool:
    """True for a class of JAX: arrays, their layouts, compiled functions, none of which changes."""
    return kind.__module__.split(".")[0] in ("jax", "jaxlib")


def wrapped(x: Any) -> Any:
    """Returns a list, tuple or dict as JAX holds those that belong to a layer: it has no way of its own."""
    return x


def teach(copier: type) -> None:
    """Teaches the copier of models the classes of JAX.

    Args:
        copier: Its class, whose `_new` dispatches on classes.
    """

    @copier._new.register(jax.Array)  # type: ignore[attr-defined]
    def constant(self: Any, x: Any) -> Any:
        return x


def finish(operation: Any) -> None:
    """Does what a copied layer still needs: nothing here."""
