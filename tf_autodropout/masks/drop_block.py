"""What a `DropBlockPattern` drops on maps."""

from typing import Any

import tensorflow as tf

from tf_autodropout.masks.drop import Drop, times
from tf_autodropout.masks.hashing import RATE_BITS, Words, bernoulli, by_example, counters, fold_in, key_of
from tf_autodropout.masks.layout import MapLayout
from tf_autodropout.masks.values import DropBlockValues, is_constant

_POOLS = {1: tf.nn.max_pool1d, 2: tf.nn.max_pool2d, 3: tf.nn.max_pool3d}


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
        size - side + 1 if is_constant(size) else tf.maximum(size - side + 1, 1)
        for side, size in zip(sides, layout.sizes, strict=True)
    ]
    key, first = by_example(fold_in(key_of(*words), 1), layout.n, times(*places, c), axes + 2)
    counter = first + counters(1, *places, c)
    seeds = bernoulli(key, counter, _threshold(values.rate, sides, layout.sizes, places))  # (N, ..., C or 1)
    # A cell is dropped if any of the blocks that cover it was drawn: a maximum over the window of their seeds.
    blocks = tf.pad(tf.cast(seeds, tf.float32), [(0, 0), *((side - 1, side - 1) for side in sides), (0, 0)])
    for axis, side in enumerate(sides):
        window = [side if other == axis else 1 for other in range(axes)]
        if side > 1:
            blocks = _POOLS[axes](blocks, window if axes > 1 else side, 1, "VALID")
    blocks = blocks[(slice(None), *(slice(0, size) for size in layout.sizes), slice(None))]
    dropped = blocks > 0
    if layout.channel_axis == 1:
        dropped = tf.transpose(dropped, (0, axes + 1, *range(1, axes + 1)))
    return Drop((dropped,), times(layout.n, *layout.sizes, c))


def _threshold(rate: Any, sides: list[int], sizes: tuple[Any, ...], places: list[Any]) -> tf.Tensor:
    """Equation 1 of DropBlock: gamma, the probability of a seed, in 2^-24. In float64, which is exact enough."""
    gamma: Any = tf.cast(rate, tf.float64)
    for side, size, there in zip(sides, sizes, places, strict=True):
        if is_constant(size):
            gamma = gamma * (size / side / there)
        else:
            covered = tf.cast(tf.minimum(size, side), tf.float64)
            gamma = gamma * (tf.cast(size, tf.float64) / covered / tf.cast(there, tf.float64))
    return tf.cast(tf.minimum(tf.round(gamma), float(1 << RATE_BITS)), tf.int32)
