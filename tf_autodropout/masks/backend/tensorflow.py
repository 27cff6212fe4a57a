"""Masks on TensorFlow: its own functions, and what it has no function for."""

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_autodropout.masks.backend.fusion import fused
from tf_autodropout.masks.backend.recomputation import drawn_once

__all__ = ["drawn_once", "fused"]

bool = tf.bool
uint8, int32, int64 = tf.uint8, tf.int32, tf.int64
float16, float32, float64 = tf.float16, tf.float32, tf.float64

bitwise_and = tf.bitwise.bitwise_and
cast = tf.cast
clip_by_value = tf.clip_by_value
concat = tf.concat
constant = tf.constant
convert_to_tensor = tf.convert_to_tensor
custom_gradient = tf.custom_gradient
divide_no_nan = tf.math.divide_no_nan
equal = tf.equal
expand_dims = tf.expand_dims
fill = tf.fill
identity = tf.identity
is_tensor = tf.is_tensor
logical_and = tf.logical_and
logical_not = tf.logical_not
logical_or = tf.logical_or
maximum = tf.maximum
minimum = tf.minimum
not_equal = tf.not_equal
ones = tf.ones
pad = tf.pad
range = tf.range
reduce_all = tf.reduce_all
reduce_any = tf.reduce_any
reduce_max = tf.reduce_max
reduce_min = tf.reduce_min
reduce_prod = tf.reduce_prod
reduce_sum = tf.reduce_sum
reshape = tf.reshape
right_shift = tf.bitwise.right_shift
round = tf.round
shape = tf.shape
size = tf.size
stack = tf.stack
switch_case = tf.switch_case
transpose = tf.transpose
truncatediv = tf.truncatediv
truncatemod = tf.truncatemod
unstack = tf.unstack
where = tf.where
zeros = tf.zeros

COMPILES_PARTS = True  # what `fused` returns is compiled for itself inside a graph too
KEEPS_MASKS = False  # the backward pass makes a mask again: compiled, that costs less than memory
_POOLS = {1: tf.nn.max_pool1d, 2: tf.nn.max_pool2d, 3: tf.nn.max_pool3d}


def exact(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a function compute with 64-bit integers, a decorator: TensorFlow always does."""
    return function


def static_shape(x: tf.Tensor) -> tuple[int | None, ...]:
    """Returns the sizes of `x` that are known while tracing, None for others; `()` if the rank is not known."""
    return () if x.shape.rank is None else tuple(x.shape)


def sizes(x: tf.Tensor) -> tuple[Any, ...]:
    """Returns the sizes of `x`: ints where they are known while tracing, else scalar tensors."""
    if x.shape.is_fully_defined():
        return tuple(x.shape)
    both = zip(x.shape, tf.unstack(tf.shape(x), x.shape.rank), strict=True)
    return tuple(static if static is not None else dynamic for static, dynamic in both)


def word(value: Any) -> tf.Tensor:
    """Returns integers as words of 32 bits that wrap around: a tensor, an array, or an int of any size."""
    if isinstance(value, int):
        return tf.constant(value & 0xFFFFFFFF, tf.uint32)
    return tf.cast(value, tf.uint32)


def shifted(words: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns words shifted to the right, zeros coming in."""
    return tf.bitwise.right_shift(words, word(bits))


# The three steps of the hash may overwrite `x`: without a compiler, new memory costs more than the arithmetic.


def mixed(x: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """Returns `x` with other words put in, by exclusive or."""
    return tf.bitwise.bitwise_xor(x, words)


def folded(x: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns words with themselves put in, shifted to the right."""
    return mixed(x, shifted(x, bits))


def scaled(x: tf.Tensor, factor: int) -> tf.Tensor:
    """Returns words times a number, modulo 2^32."""
    return x * word(factor)


def unsigned(x: tf.Tensor) -> tf.Tensor:
    """Returns an int32 as a word: what was negative is huge now."""
    return tf.bitcast(x, tf.uint32)


def anew(drawn: tf.Tensor, ratio: tf.Tensor, dy: tf.Tensor | None = None) -> tf.Tensor:
    """Returns what was drawn, plus a zero that XLA cannot know to be one, and not before `dy` is there.

    Or else it would see that both passes and the count make the same mask, write it to memory and keep it.

    Args:
        drawn: Integers that fix a mask.
        ratio: That of Eq. 1, which is not negative.
        dy: In the backward pass, the gradient that comes in.
    """
    zero = ratio < 0
    if dy is not None:
        zero = tf.logical_and(zero, tf.reduce_any(tf.reshape(dy, [-1])[:1] > 0))
    return drawn + tf.cast(zero, drawn.dtype)


def cleared(x: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Returns `x` with zeros at `where`, which broadcasts to it. `x` may be overwritten: it is nobody else's."""
    return tf.where(where, tf.zeros((), x.dtype), x)


def max_pool(x: tf.Tensor, axis: int, window: int) -> tf.Tensor:
    """Returns the maxima over windows along one axis of maps `(N, ..., C)` of one to three axes, without padding."""
    windows = [window if other == axis else 1 for other, _ in enumerate(tuple(x.shape)[1:-1])]
    return _POOLS[len(windows)](x, windows if len(windows) > 1 else window, 1, "VALID")


def replica() -> Any:
    """Returns the number of the replica that runs this, which folds into the seeds of its masks."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group if context else 0


def while_loop(condition: Callable[..., Any], step: Callable[..., Any], start: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns what `step` makes of `start` again and again while the condition holds; shapes stay as they are."""
    shapes: Any = tf.nest.map_structure(lambda one: one.shape, start)
    result: tuple[Any, ...] = tf.while_loop(condition, step, start, shape_invariants=shapes)
    return result


def compiled(function: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """Returns a function of tensors that reads a model and does not change it, compiled as the model would be."""
    traced: Callable[..., Any] = tf.function(
        function, jit_compile=builtins.bool(model.jit_compile), reduce_retracing=True
    )
    return traced


def seed_number(word: int) -> int:
    """Returns a word as Keras' random states hold it here."""
    return word


def seeds_of(state: Any) -> list[int]:
    """Returns the words of a random state."""
    return [int(one) & 0xFFFFFFFF for one in state.numpy()]


def wide(numbers: tf.Tensor) -> tf.Tensor:
    """Returns the int64 of a variable that holds what `to_wide` has made."""
    return numbers


def to_wide(numbers: np.ndarray) -> np.ndarray:
    """Returns int64 as a variable of this backend holds them."""
    return numbers


def from_wide(numbers: np.ndarray) -> np.ndarray:
    """Returns the int64 that `to_wide` was given."""
    return numbers


def is_spec(x: Any) -> builtins.bool:
    """True for a tensor that Keras finds out shapes with: sizes that are open have no tensors to stand for them."""
    return False


def has_values(x: Any) -> builtins.bool:
    """True for a tensor that is not a symbol."""
    return hasattr(x, "numpy")
