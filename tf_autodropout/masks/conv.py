"""What a `ConvPattern` drops on `(N, H, W, C)`, by integer coordinate arithmetic."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_autodropout.masks.drop import Drop, once
from tf_autodropout.masks.hashing import RATE_BITS, Key, bernoulli, counters, fold_in, positive_bits
from tf_autodropout.masks.values import GEOMETRY_BITS, IDENTITY, WORD_BITS, ConvValues, is_constant

_ONE = 1 << GEOMETRY_BITS
FAR = 2**31 - 1


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
    index = counters(n, draws)  # (N, C or 1)
    low_u, low_v = tf.reduce_min(u), tf.reduce_min(v)
    span_u, span_v = tf.reduce_max(u) - low_u, tf.reduce_max(v) - low_v
    covered = tf.logical_and(_int32(values.height) > span_u, _int32(values.width) > span_v)
    applied = True
    if not (is_constant(values.rate) and values.rate == 1 << RATE_BITS):
        applied = bernoulli(fold_in(key, 3), index, values.rate)  # (N, C or 1)

    def dropped(side: Any, word: Any, x: tf.Tensor, low: tf.Tensor, span: tf.Tensor, axis_key: Key) -> tf.Tensor:
        profile = _Profile(side, word, values)
        shift = profile.draw_shift(axis_key, index, span, covered, applied)
        return profile.holds(on_map(x - low + profile.length - 1), per_map(shift))

    rows = dropped(values.height, values.row_word, u, low_u, span_u, fold_in(key, 1))
    columns = dropped(values.width, values.column_word, v, low_v, span_v, fold_in(key, 2))
    size = n * draws * h * w
    if _is_straight(values):
        return Drop(once(rows), once(columns), size, (2, 3) if first else (1, 2))
    return Drop(rows, columns, size)


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


class _Profile:
    """`repeat` runs of `size` dropped cells with `stride` kept cells between them."""

    def __init__(self, size: Any, word: Any, values: ConvValues) -> None:
        self.word = word
        self.single = is_constant(values.repeat) and 1 in (values.repeat, values.stride + 1)
        self.length = _int32(values.repeat * size + (values.repeat - 1) * values.stride)  # L
        # Runs that touch are one run.
        joined = tf.logical_or(tf.equal(values.stride, 0), tf.equal(values.repeat, 1))
        self.run = tf.where(joined, self.length, _int32(size))
        self.period = tf.where(joined, FAR, _int32(size + values.stride))

    def draw_shift(self, key: Key, index: tf.Tensor, span: tf.Tensor, covered: tf.Tensor, applied: Any) -> tf.Tensor:
        """Draws `o - (min - L + 1)`, uniform in `0 ... span + L - 1`: int32, shaped as `index`.

        Where the pattern covers the map it is L - 1, the offset min; where it is not applied it is out of
        every map's reach. The remainder comes last: see `once`.
        """
        drawn, limit = positive_bits(key, index), span + self.length
        drawn, limit = tf.where(covered, self.length - 1, drawn), tf.where(covered, FAR, limit)
        drawn, limit = tf.where(applied, drawn, FAR - 1), tf.where(applied, limit, FAR)
        return tf.truncatemod(drawn, limit)

    def holds(self, base: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        """True where position `base - shift` of the profile is in one of its runs; neither is negative."""
        place = tf.cast(base - shift, tf.uint32)  # what was negative is huge now
        if not (is_constant(self.word) and self.word == 0):
            bit = tf.bitwise.right_shift(_uint32(self.word), tf.minimum(place, _uint32(WORD_BITS)))
            return tf.not_equal(tf.bitwise.bitwise_and(bit, _uint32(1)), 0)
        inside = place < _uint32(self.length)
        if self.single:
            return inside
        # (base - shift) mod period, without a remainder at each cell: it would cost most of the mask.
        phase = tf.truncatemod(base, self.period) - tf.truncatemod(shift, self.period)
        phase = tf.where(phase < 0, phase + self.period, phase)
        return tf.logical_and(inside, phase < self.run)


def _int32(value: Any) -> tf.Tensor:
    return tf.cast(value, tf.int32)


def _uint32(value: Any) -> tf.Tensor:
    return tf.cast(value, tf.uint32)
