"""What a `DropBlockPattern` drops on maps."""

from typing import Any, NamedTuple

import numpy as np

from tf_autodropout.masks.backend import Tensor, xp
from tf_autodropout.masks.drop import Drop, times
from tf_autodropout.masks.hashing import RATE_BITS, Words, bernoulli, by_example, counters, fold_in, key_of
from tf_autodropout.masks.layout import MapLayout
from tf_autodropout.masks.values import fixed, is_constant, last
from tf_autodropout.patterns import DropBlockPattern


class DropBlockValues(NamedTuple):
    """A `DropBlockPattern` as integers; the rate may be an int64 scalar tensor."""

    depth: int
    height: int
    width: int
    share_c: int
    rate: Any  # in 2^-24

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Cells of a block along depth, height and width."""
        return self.depth, self.height, self.width

    @property
    def is_identity(self) -> bool:
        """True if nothing is dropped."""
        return self.width == 0


def encode_drop_block(pattern: DropBlockPattern, axes: int) -> DropBlockValues:
    """Turns a pattern without fractions into its integers, for maps of so many axes."""
    return DropBlockValues(*last(pattern.sizes(axes)), int(pattern.share_c), fixed(pattern.rate))


def drop_block_probability(pattern: DropBlockPattern, sizes: tuple[int, ...]) -> np.ndarray:
    """Returns one minus the chance that none of the seeds whose block covers a cell is drawn, for each cell."""
    covering = np.ones(sizes)
    for axis, (size, side) in enumerate(zip(sizes, map(int, pattern.sizes(len(sizes))), strict=True)):
        cell = np.arange(size)
        seeds = np.minimum(cell, size - side) - np.maximum(cell - side + 1, 0) + 1
        covering = covering * seeds.reshape([-1 if other == axis else 1 for other in range(len(sizes))])
    return 1 - (1 - pattern.gamma(sizes)) ** covering


def drop_block_drop(values: DropBlockValues, shape: tuple[Any, ...], words: Words, data_format: str) -> Drop:
    """Draws what one mask drops.

    Args:
        values: The pattern; its size constants.
        shape: Shape of the tensor in the order of `data_format`; ints or scalar tensors.
        words: Seed and replica, as `key_of` takes them.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        `Drop`, which broadcasts to `shape`.
    """
    layout = MapLayout.of(shape, data_format)
    axes = len(layout.sizes)
    sides = [
        min(side, size) if is_constant(size) else side
        for side, size in zip(values.sizes[-axes:], layout.sizes, strict=True)
    ]
    c = 1 if values.share_c else layout.c
    # Where a block may begin: a block larger than the map, of unknown size, has one place.
    places = [
        size - side + 1 if is_constant(size) else xp.maximum(size - side + 1, 1)
        for side, size in zip(sides, layout.sizes, strict=True)
    ]
    key, first = by_example(fold_in(key_of(*words), 1), layout.n, times(*places, c), axes + 2)
    counter = first + counters(1, *places, c)
    seeds = bernoulli(key, counter, _threshold(values.rate, sides, layout.sizes, places))  # (N, ..., C or 1)
    # A cell is dropped if any of the blocks that cover it was drawn: a maximum over the window of their seeds.
    blocks = xp.pad(xp.cast(seeds, xp.float32), [(0, 0), *((side - 1, side - 1) for side in sides), (0, 0)])
    for axis, side in enumerate(sides):
        if side > 1:
            blocks = xp.max_pool(blocks, axis, side)
    blocks = blocks[(slice(None), *(slice(0, size) for size in layout.sizes), slice(None))]
    dropped = blocks > 0
    if layout.channel_axis == 1:
        dropped = xp.transpose(dropped, (0, axes + 1, *range(1, axes + 1)))
    return Drop((dropped,), times(layout.n, *layout.sizes, c))


def _threshold(rate: Any, sides: list[int], sizes: tuple[Any, ...], places: list[Any]) -> Tensor:
    """Equation 1 of DropBlock: gamma, the probability of a seed, in 2^-24. In float64, which is exact enough."""
    gamma: Any = xp.cast(rate, xp.float64)
    for side, size, there in zip(sides, sizes, places, strict=True):
        if is_constant(size):
            gamma = gamma * (size / side / there)
        else:
            covered = xp.cast(xp.minimum(size, side), xp.float64)
            gamma = gamma * (xp.cast(size, xp.float64) / covered / xp.cast(there, xp.float64))
    return xp.cast(xp.minimum(xp.round(gamma), float(1 << RATE_BITS)), xp.int32)
