"""What a `ConvPattern` drops on `(N, H, W, C)`, by integer coordinate arithmetic."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_autodropout.masks.drop import Drop
from tf_autodropout.masks.hashing import RATE_BITS, Key, bernoulli, counters, fold_in, uniform_below
from tf_autodropout.masks.values import GEOMETRY_BITS, IDENTITY, ConvValues, is_constant

_ONE = 1 << GEOMETRY_BITS


def conv_drop(values: ConvValues, shape: tuple[Any, ...], key: Key, data_format: str) -> Drop:
    """Draws what one mask drops.

    Args:
        values: The pattern, constants or scalar tensors; `share_c` a constant.
        shape: `(N, H, W, C)` in the order of `data_format`; ints or scalar tensors.
        key: Random key of this layer, step and replica.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        `Drop`, which broadcasts to `shape`.
    """
    first = data_format == "channels_first"
    n, c, h, w = shape if first else (shape[0], shape[3], shape[1], shape[2])
    draws = 1 if values.share_c else c

    def per_map(x: tf.Tensor) -> tf.Tensor:  # (N, C or 1) -> broadcasts over rows and columns
        return x[:, :, None, None] if first else x[:, None, None, :]

    def on_map(x: tf.Tensor) -> tf.Tensor:  # (H or 1, W or 1) -> broadcasts over examples, channels
        return x[None, None, :, :] if first else x[None, :, :, None]

    u, v = _pattern_coordinates(values, h, w)  # (H, 1), (1, W) if axis-aligned, else (H, W) both
    low_u, high_u, low_v, high_v = (reduce(x) for x in (u, v) for reduce in (tf.reduce_min, tf.reduce_max))
    index = counters(n, draws)  # (N, C or 1)
    covered = tf.logical_and(_int32(values.height) > high_u - low_u, _int32(values.width) > high_v - low_v)
    o_y = _offset(values.height, values, low_u, high_u, covered, fold_in(key, 1), index)
    o_x = _offset(values.width, values, low_v, high_v, covered, fold_in(key, 2), index)
    in_rows = _in_profile(on_map(u) - per_map(o_y), values.height, values)
    in_columns = _in_profile(on_map(v) - per_map(o_x), values.width, values)
    if not (is_constant(values.rate) and values.rate == 1 << RATE_BITS):
        applied = bernoulli(fold_in(key, 3), index, values.rate)  # (N, C or 1)
        in_rows = tf.logical_and(in_rows, per_map(applied))
    map_axes = (2, 3) if first else (1, 2)
    return Drop(in_rows, in_columns, n * draws * h * w, map_axes if _is_straight(values) else ())


def _is_straight(values: ConvValues) -> bool:
    """True where rotation and shear are known to be none."""
    return all(map(is_constant, values.matrix)) and values.matrix == IDENTITY


def _pattern_coordinates(values: ConvValues, h: Any, w: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Maps each cell back to pattern coordinates (u, v), rounded to the nearest integer, half up.

    Works on doubled centred coordinates, `2x = 2j - (W-1)`, so that centres of even maps are integers.
    """
    matrix = values.matrix
    if _is_straight(values):
        return tf.range(h)[:, None], tf.range(w)[None, :]
    if all(map(is_constant, (*matrix, h, w))):
        rows, columns = np.arange(h, dtype=np.int64)[:, None], np.arange(w, dtype=np.int64)[None, :]
        u, v = _map_back(matrix, rows, columns, h, w, np.right_shift)
        return tf.constant(u, tf.int32), tf.constant(v, tf.int32)
    rows, columns = tf.range(tf.cast(h, tf.int64))[:, None], tf.range(tf.cast(w, tf.int64))[None, :]
    wide = [tf.cast(entry, tf.int64) for entry in matrix]
    h64, w64 = tf.cast(h, tf.int64), tf.cast(w, tf.int64)
    u, v = _map_back(wide, rows, columns, h64, w64, tf.bitwise.right_shift)
    return tf.cast(u, tf.int32), tf.cast(v, tf.int32)


def _map_back(matrix: Any, rows: Any, columns: Any, h: Any, w: Any, shift: Any) -> tuple[Any, Any]:
    """`floor(pattern coordinate + 1/2)` in fixed point; NumPy and TensorFlow alike."""
    m_xx, m_xy, m_yx, m_yy = matrix
    x2, y2 = 2 * columns - (w - 1), 2 * rows - (h - 1)
    v = shift(m_xx * x2 + m_xy * y2 + _ONE, GEOMETRY_BITS + 1)
    u = shift(m_yx * x2 + m_yy * y2 + _ONE, GEOMETRY_BITS + 1)
    return u, v


def _offset(
    size: Any, values: ConvValues, low: tf.Tensor, high: tf.Tensor, covered: tf.Tensor, key: Key, index: tf.Tensor
) -> tf.Tensor:
    """Draws offsets in `[low - L + 1, high]`, `L = repeat*size + (repeat-1)*stride`: (N, C)."""
    length = _int32(values.repeat * size + (values.repeat - 1) * values.stride)
    start = low - length + 1
    drawn = start + uniform_below(key, index, tf.maximum(high - start + 1, 1))
    return tf.where(covered, low, drawn)


def _in_profile(t: tf.Tensor, size: Any, values: ConvValues) -> tf.Tensor:
    """True where position `t` of the profile is in one of its runs of dropped cells."""
    period = tf.maximum(_int32(size + values.stride), 1)
    length = _int32(values.repeat) * period  # the kept cells after the last run do not matter below
    inside = tf.logical_and(t >= 0, t < length)
    if is_constant(values.repeat) and values.repeat == 1:
        return tf.logical_and(inside, t < _int32(size))
    return tf.logical_and(inside, tf.math.floormod(t, period) < _int32(size))


def _int32(value: Any) -> tf.Tensor:
    return tf.cast(value, tf.int32)
