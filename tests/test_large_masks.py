"""Masks of more cells than 32 bits count: by shapes, and without a tensor of that size."""

import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tf_autodropout.masks import encode
from tf_autodropout.masks.draw import draw, drop
from tf_autodropout.masks.hashing import words_of

SEED = (words_of((3, 5)), tf.constant(0))


def along(shifts, pattern, size):
    """For each example, which cells of an axis a straight pattern drops there."""
    length = pattern.repeat * pattern.size + (pattern.repeat - 1) * pattern.stride
    place = np.arange(size)[None, :] + length - 1 - shifts[:, None]
    return (place >= 0) & (place < length) & (place % (pattern.size + pattern.stride) < pattern.size)


@pytest.mark.parametrize("n", [2, 4, 8])  # 2^31, 2^32, 2^33 cells
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_scale_of_maps_beyond_32_bits(n, jit_compile):
    pattern, size = tad.ConvPattern(size=9000, stride=500, repeat=2), 2**15
    shape = (n, size, size, 1)

    @tf.function(jit_compile=jit_compile)
    def drawn():
        one = draw(encode(pattern, 2), shape, SEED, "channels_last", 1, tf.float64)
        return one.tensors[0], one.ratio

    shifts, ratio = drawn()
    rows, columns = (along(axis.numpy()[:, 0], pattern, size) for axis in shifts)
    dropped = sum(int(r) * int(c) for r, c in zip(rows.sum(1), columns.sum(1), strict=True))
    assert 0 < dropped < n * size * size
    assert float(ratio) == pytest.approx(n * size**2 / (n * size**2 - dropped), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 16, 32])
def test_the_scale_of_attention_beyond_32_bits(n):
    shape, values = (n, 16, 4096, 4096), encode(tad.members.dropout(0.1), 2)
    ratio = tf.function(
        lambda: drop(values, shape, draw(values, shape, SEED, "channels_last", 3).tensors, "channels_last", 3).ratio(),
        jit_compile=True,
    )()
    assert float(ratio) == pytest.approx(1 / 0.9, rel=1e-4)


def test_examples_with_many_entries_repeat_no_counter():
    """Each has a key of its own, so a batch of any size has no two entries with one counter and one key."""
    layer = tad.PatternDropout(tad.members.dropout(0.5), seed=1)
    masks = (layer(tf.ones((6, 1024, 512)), training=True).numpy() != 0).reshape(6, -1)
    for i in range(6):
        for j in range(i):
            equal = (masks[i] == masks[j]).mean()
            assert abs(equal - 0.5) < 6 * 0.5 / np.sqrt(masks.shape[1])
