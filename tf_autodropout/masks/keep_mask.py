"""`keep_mask`: the one pure function from pattern, shape and seed to a mask."""

import operator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_autodropout.masks.cases import by_case
from tf_autodropout.masks.draw import draw
from tf_autodropout.masks.hashing import make_key
from tf_autodropout.masks.values import Values, encode
from tf_autodropout.patterns import ConvPattern, Pattern

DATA_FORMATS = ("channels_last", "channels_first")


def keep_mask(
    pattern: Pattern, shape: Sequence[Any], seed: Any, data_format: str = "channels_last", token_axis: int = 1
) -> tf.Tensor:
    """Draws the keep mask of a pattern: 1 = keep, 0 = drop.

    Args:
        pattern: `ConvPattern` or `TransformerPattern`.
        shape: Shape of the tensor to mask. `ConvPattern`: `(N, H, W, C)`, or `(N, C, H, W)` for
            `"channels_first"`. `TransformerPattern`: `(N, T, C)` or any other shape with the examples
            on axis 0 and the tokens on `token_axis`. Ints or scalar tensors.
        seed: An int or two ints. The same seed gives the same mask, in graph mode and under XLA.
        data_format: `"channels_last"` or `"channels_first"`; used by `ConvPattern`.
        token_axis: Axis of the tokens; used by `TransformerPattern`.

    Returns:
        float32 tensor of zeros and ones that broadcasts to `shape`.

    Raises:
        ValueError: a shape of the wrong rank, an unknown data format, a bad seed or token axis.
        TypeError: `pattern` is not a pattern.

    Example:
        >>> import tf_autodropout as tad
        >>> mask = tad.keep_mask(tad.ConvPattern(size=2), shape=(1, 4, 4, 1), seed=0)
        >>> mask.shape
        TensorShape([1, 4, 4, 1])

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figures 2 to 4.
    """
    sizes = check_sizes(shape)
    check_shape(pattern, len(sizes), data_format, token_axis)

    def mask(values: Values | None) -> tf.Tensor:
        if values is None:
            return tf.ones([1] * len(sizes))
        drop = draw(values, sizes, make_key(seed), data_format, token_axis)
        return 1.0 - tf.cast(drop.mask(), tf.float32)

    return by_case(encode(pattern), mask)


def check_sizes(shape: Any) -> tuple[Any, ...]:
    """Returns the sizes of a shape, ints or scalar tensors; raises `ValueError` if they are none."""
    try:
        sizes = tuple(size if tf.is_tensor(size) else operator.index(size) for size in shape)
    except TypeError:
        sizes = (-1,)
    if any(not tf.is_tensor(size) and size < 0 for size in sizes):
        raise ValueError(
            f"Invalid value for 'shape'. Expected a sequence of sizes >= 0, ints or scalar tensors. Received: {shape!r}"
        )
    return sizes


def check_shape(pattern: Pattern, rank: int, data_format: str, token_axis: int) -> None:
    """Raises unless a tensor of this rank suits the pattern."""
    if data_format not in DATA_FORMATS:
        raise ValueError(
            f"Invalid value for 'data_format'. Expected one of {DATA_FORMATS}. Received: data_format={data_format!r}"
        )
    if isinstance(pattern, ConvPattern):
        if rank != 4:
            raise ValueError(f"ConvPattern needs a tensor of rank 4, (N, H, W, C). Received: a tensor of rank {rank}")
    elif rank < 3:
        raise ValueError(f"TransformerPattern needs a tensor of rank 3 or more, (N, T, C). Received: rank {rank}")
    elif not 0 < token_axis < rank:
        raise ValueError(f"Invalid value for 'token_axis'. Expected 1 to {rank - 1}. Received: token_axis={token_axis}")
