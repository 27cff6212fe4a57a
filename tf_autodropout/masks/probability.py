"""How likely each cell is to be dropped: exact, from the definitions, without a draw."""

import functools
from collections.abc import Sequence

import numpy as np

from tf_autodropout.masks.kinds import kind_for
from tf_autodropout.patterns import Pattern

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
    return np.full(sizes, kind_for(type(pattern)).probability(pattern, sizes))


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
