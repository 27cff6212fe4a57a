"""What children are placed on: a strategy, and a precision. Brings TensorFlow only when asked for one."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tf_autodropout.search.children.strategy import PRECISIONS, STRATEGIES, make_strategy

if TYPE_CHECKING:
    import tensorflow as tf

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


@dataclass(frozen=True)
class Placement:
    """Children that are built and trained in its scope train on all replicas of a strategy, in a precision.

    Args:
        strategy: See `make_strategy`.
        precision: `"float32"`, or `"bfloat16"` for activations in bfloat16 and weights in float32.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> import keras
        >>> from tf_autodropout.search.children.placement import Placement
        >>> with Placement(precision="bfloat16").scope():
        ...     print(keras.config.dtype_policy().name)
        mixed_bfloat16
    """

    strategy: str = "default"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name, known in (("strategy", STRATEGIES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"Invalid value for '{name}'. Expected one of {', '.join(known)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )

    @cached_property
    def made(self) -> "tf.distribute.Strategy":
        """The strategy; TensorFlow must not have computed anything before in this process.

        Raises:
            ValueError: it cannot be had here.
        """
        return make_strategy(self.strategy)

    def prepare(self) -> None:
        """Makes the strategy, if there is one to be made."""
        if self.strategy != "default":
            _ = self.made

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Within it children are built and trained."""
        if self == Placement():
            yield
            return
        import keras

        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(_POLICIES[self.precision])
        try:
            with self.made.scope():
                yield
        finally:
            keras.config.set_dtype_policy(before)
