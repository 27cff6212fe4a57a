"""`keep_mask`: the one pure function from pattern, shape and seed to a mask."""

import math
import operator
from collections.abc import Sequence
from typing import Any

from tf_autodropout.masks.backend import Tensor, exact, xp
from tf_autodropout.masks.cases import by_case
from tf_autodropout.masks.draw import draw, drop
from tf_autodropout.masks.encoding import encode_for
from tf_autodropout.masks.hashing import words_of
from tf_autodropout.masks.kinds import Values
from tf_autodropout.masks.layout import MapLayout
from tf_autodropout.patterns import Pattern
from tf_autodropout.patterns.checks import invalid, shown
from tf_autodropout.patterns.kinds import ONE_OF_KINDS

_LARGEST = 2**38  # elements of a tensor: 1 TiB of float32


@exact
def keep_mask(
    pattern: Pattern, shape: Sequence[Any], seed: Any, data_format: str = "channels_last", token_axis: int = 1
) -> Tensor:
    """Draws the keep mask of a pattern: 1 = keep, 0 = drop.

    Args:
        pattern: `ConvPattern`, `DropBlockPattern` or `TransformerPattern`.
        shape: Shape of the tensor to mask. Of maps: `(N, T, C)`, `(N, H, W, C)` or `(N, D, H, W, C)`, or with the
            channels on axis 1 for `"channels_first"`. `TransformerPattern`: `(N, T, C)`, `(N, C)` or any other shape
            with the examples on axis 0 and the tokens on `token_axis`. Ints or scalar tensors.
        seed: An int or two ints. The same seed gives the same mask, in graph mode and under XLA.
        data_format: `"channels_last"` or `"channels_first"`; used by patterns of maps.
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
    words = words_of(seed)
    if any(not xp.is_tensor(size) and size == 0 for size in sizes):
        return xp.ones(sizes)  # of nothing
    if len(sizes) == 2:  # one token an example
        return keep_mask(pattern, (sizes[0], 1, sizes[1]), seed)[:, 0]

    def mask(values: Values | None) -> Tensor:
        if values is None:
            return xp.ones([1] * len(sizes))
        drawn = draw(values, sizes, (words,), data_format, token_axis)
        return 1.0 - xp.cast(drop(values, sizes, drawn.tensors, data_format, token_axis).mask(), xp.float32)

    return by_case(encode_for(pattern, MapLayout.of(sizes, data_format).sizes), mask)


def check_sizes(shape: Any) -> tuple[Any, ...]:
    """Returns the sizes of a shape, ints or scalar tensors; raises `ValueError` if they are none."""
    try:
        sizes = tuple(size if xp.is_tensor(size) else operator.index(size) for size in shape)
    except TypeError:
        sizes = (-1,)
    known = [size for size in sizes if not xp.is_tensor(size)]
    if any(not 0 <= size <= _LARGEST for size in known) or math.prod(known) > _LARGEST:
        raise ValueError(
            "Invalid value for 'shape'. Expected a sequence of sizes >= 0, ints or scalar tensors, of at most 2^38 "
            f"elements. Received: {shown(shape)}"
        )
    return sizes


def check_shape(pattern: Pattern, rank: int, data_format: str, token_axis: int) -> None:
    """Raises unless a tensor of this rank suits the pattern."""
    if not isinstance(pattern, Pattern):
        raise TypeError(f"Expected 'pattern' to be {ONE_OF_KINDS}. Received: pattern={shown(pattern)}")
    MapLayout.check(data_format)
    pattern.check_rank(rank)
    if not pattern.ON_MAPS and (type(token_axis) is not int or not 0 < token_axis < rank):
        raise invalid("token_axis", f"1 to {rank - 1}", token_axis)
