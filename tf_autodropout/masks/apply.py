"""Eq. 1 of the paper: multiply by the mask and by what it costs in scale."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_autodropout.masks.cases import by_case
from tf_autodropout.masks.draw import draw
from tf_autodropout.masks.drop import Drop
from tf_autodropout.masks.fusion import fused
from tf_autodropout.masks.hashing import fold_in, make_key
from tf_autodropout.masks.values import InVariable, Values, unpack
from tf_autodropout.patterns import Pattern

_KEPT_PASSES = 256  # of the patterns used last in one process


def apply_mask(h: Any, mask: Any) -> tf.Tensor:
    """Returns `h * (Size(m) / Sum(m)) * m` over the whole tensor, the batch included.

    Args:
        h: Floating-point tensor of any shape.
        mask: Keep mask (boolean or 0/1) that broadcasts to the shape of `h`.

    Returns:
        Tensor like `h`; zeros where the mask is 0, never NaN. Size and Sum are counted in integers,
        whatever the dtype of `h`.

    Example:
        >>> import tensorflow as tf
        >>> from tf_autodropout.masks import apply_mask
        >>> apply_mask(tf.ones((1, 4)), tf.constant([[1, 0, 1, 0]])).numpy().tolist()
        [[2.0, 0.0, 2.0, 0.0]]

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Equation 1.
    """
    dropped = tf.logical_not(tf.cast(mask, tf.bool))
    # The mask may broadcast: the ratio of its own size to its own sum is that of the full mask.
    drop = Drop(dropped, tf.constant(True), tf.size(dropped))
    h = tf.convert_to_tensor(h)
    return _equation_1(h, drop, drop.ratio(_exact(h)))


def apply_pattern(
    h: Any,
    values: Values | InVariable,
    seed: tf.Tensor,
    replica: Any = 0,
    data_format: str = "channels_last",
    token_axis: int = 1,
) -> tf.Tensor:
    """Draws the mask of a pattern and applies it: `apply_mask(h, keep_mask(...))` at the speed of memory.

    No mask of the size of `h` is kept for the backward pass, which draws it again from the seed.

    Args:
        h: Floating-point tensor.
        values: The pattern, as constants or in a variable.
        seed: int32 tensor (2,).
        replica: Integer that makes the masks of replicas differ.
        data_format: As for `keep_mask`.
        token_axis: As for `keep_mask`.

    Returns:
        Tensor like `h`.

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Equation 1.
    """
    drawn_from = [seed, tf.convert_to_tensor(replica, tf.int32)]
    if isinstance(values, InVariable):
        drawn_from.append(tf.convert_to_tensor(values.vector))
    kind: Any = values.kind if isinstance(values, InVariable) else values
    forward, backward = _passes(kind, data_format, token_axis)

    @tf.custom_gradient
    def apply(h: tf.Tensor) -> Any:
        shape = h.shape  # the backward pass needs this of h, and nothing else
        y, ratio = fused(forward, shape)(h, *drawn_from)
        return y, lambda dy: fused(backward, shape)(dy, ratio, *drawn_from)

    return apply(tf.convert_to_tensor(h))


@functools.lru_cache(_KEPT_PASSES)
def _passes(
    kind: Values | type[Pattern], data_format: str, token_axis: int
) -> tuple[Callable[..., tuple[tf.Tensor, tf.Tensor]], Callable[..., tf.Tensor]]:
    """Forward and backward pass of `apply_pattern`: one pair for all layers alike, to be compiled once."""

    def pattern(vector: tuple[tf.Tensor, ...]) -> Values:
        return kind if isinstance(kind, tuple) else unpack(kind, *vector)

    def drawn(one: Values, x: tf.Tensor, seed: tf.Tensor, replica: tf.Tensor) -> Drop:
        return draw(one, _sizes(x), fold_in(make_key(seed), replica), data_format, token_axis)

    def forward(h: tf.Tensor, seed: tf.Tensor, replica: tf.Tensor, *vector: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def case(one: Values | None) -> tuple[tf.Tensor, tf.Tensor]:
            if one is None:
                return tf.identity(h), tf.ones((), _exact(h))
            ratio = drawn(one, h, seed, replica).ratio(_exact(h))
            # Drawn again, with a zero as below: XLA would write a mask with two readers to memory, and keep it
            # where the backward pass computes the next layer's input once more.
            zero = tf.cast(ratio < 0, tf.int32)
            return _equation_1(h, drawn(one, h, seed, replica + zero), ratio), ratio

        return by_case(pattern(vector), case)

    def backward(dy: tf.Tensor, ratio: tf.Tensor, seed: tf.Tensor, replica: tf.Tensor, *vector: tf.Tensor) -> tf.Tensor:
        # Always 0, as no ratio is negative, but XLA cannot know: or else it would see that both passes
        # draw the same mask, and keep the forward pass's, or draw it before dy is there.
        first = tf.reshape(dy, [-1])[:1]
        zero = tf.cast(tf.logical_and(ratio < 0, tf.reduce_any(first > 0)), tf.int32)

        def case(one: Values | None) -> tf.Tensor:
            return tf.identity(dy) if one is None else _equation_1(dy, drawn(one, dy, seed, replica + zero), ratio)

        return by_case(pattern(vector), case)

    return forward, backward


def _sizes(x: tf.Tensor) -> tuple[Any, ...]:
    """Returns the sizes of `x`: ints where they are known while tracing, else scalar tensors."""
    if x.shape.is_fully_defined():
        return tuple(x.shape)
    sizes = zip(x.shape, tf.unstack(tf.shape(x), x.shape.rank), strict=True)
    return tuple(static if static is not None else dynamic for static, dynamic in sizes)


def _exact(h: tf.Tensor) -> tf.DType:
    """The dtype in which the ratio is computed: float32 has room for every ratio, float16 has not."""
    return tf.float64 if h.dtype == tf.float64 else tf.float32


def _equation_1(h: tf.Tensor, drop: Drop, ratio: tf.Tensor) -> tf.Tensor:
    ratio = tf.minimum(ratio, float(h.dtype.max))  # float16 ends at 65504
    return tf.where(drop.mask(), tf.zeros((), h.dtype), h * tf.cast(ratio, h.dtype))  # Eq. 1
