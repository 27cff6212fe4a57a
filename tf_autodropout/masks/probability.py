"""How likely each cell is to be dropped: exact, from the definitions, without a draw."""

import functools
import math
from collections.abc import Sequence

import numpy as np

from tf_autodropout.masks.conv import spans
from tf_autodropout.masks.values import ConvValues, encode
from tf_autodropout.patterns import ConvPattern, DropBlockPattern, Pattern, TransformerPattern
from tf_autodropout.patterns.extent import along

_KEPT = 4096  # answers


def drop_probability(pattern: Pattern, sizes: Sequence[int]) -> np.ndarray:
    """Returns the probability that a cell is dropped, for each cell of a map or each token.

    Args:
        pattern: Any pattern.
        sizes: Sizes of the map, or the number of tokens: the shape without batch and channels.

    Returns:
        Array of the shape `sizes`. It is the same number everywhere but for DropBlock, which drops fewer cells near
        the border.

    Raises:
        ValueError: sizes that do not suit the pattern.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.masks import drop_probability
        >>> round(float(drop_probability(tad.ConvPattern(size=2), (4, 4))[0, 0]), 3)
        0.16
    """
    sizes = tuple(sizes)
    pattern.check_rank(len(sizes) + 2)
    if pattern.is_identity or 0 in sizes:
        return np.zeros(sizes)
    pattern = pattern.resolve(sizes)
    if isinstance(pattern, ConvPattern):
        return np.full(sizes, _conv(pattern, sizes))
    if isinstance(pattern, DropBlockPattern):
        return _drop_block(pattern, sizes)
    assert isinstance(pattern, TransformerPattern)
    covers = pattern.size >= sizes[0]
    return np.full(sizes, pattern.rate * (1 if covers else pattern.size / (pattern.size + pattern.stride)))


@functools.lru_cache(_KEPT)
def is_silent(pattern: Pattern, sizes: tuple[int, ...], peak: float = 1.0) -> bool:
    """True for a pattern that drops everything at every step, so that nothing passes while training.

    Args:
        pattern: Any pattern.
        sizes: As for `drop_probability`.
        peak: Largest factor of the rate, of a schedule.
    """
    if pattern.is_identity or 0 in sizes:
        return False
    return bool(drop_probability(pattern, sizes).min() * peak >= 1)


def _conv(pattern: ConvPattern, sizes: tuple[int, ...]) -> float:
    """Dropped cells of the pattern over the offsets that it can have: every offset is as likely as any other."""
    sides, strides = pattern.sizes(len(sizes)), pattern.strides(len(sizes))
    values = encode(pattern, len(sizes))
    assert isinstance(values, ConvValues)
    reach = spans(values, sizes)
    if all(int(side) > span for side, span in zip(sides, reach, strict=True)):
        return pattern.rate
    chance = pattern.rate
    for side, stride, span in zip(sides, strides, reach, strict=True):
        length = pattern.repeat * int(side) + (pattern.repeat - 1) * int(stride)
        chance *= pattern.repeat * int(side) / (span + length)
    return chance


def _drop_block(pattern: DropBlockPattern, sizes: tuple[int, ...]) -> np.ndarray:
    """One minus the chance that none of the seeds whose block covers the cell is drawn."""
    sides = [int(side) for side in along("size", pattern.size, len(sizes))]
    places = [size - side + 1 for size, side in zip(sizes, sides, strict=True)]
    shares = [size / side / there for size, side, there in zip(sizes, sides, places, strict=True)]
    gamma = min(pattern.rate * math.prod(shares), 1.0)
    covering = np.ones(sizes)
    for axis, (size, side, there) in enumerate(zip(sizes, sides, places, strict=True)):
        cell = np.arange(size)
        seeds = np.minimum(cell, there - 1) - np.maximum(cell - side + 1, 0) + 1
        covering = covering * seeds.reshape([-1 if other == axis else 1 for other in range(len(sizes))])
    return 1 - (1 - gamma) ** covering
