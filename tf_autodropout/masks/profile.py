"""The profile of a pattern along one axis: runs of dropped cells with kept cells between them."""

from typing import Any

import tensorflow as tf

from tf_autodropout.masks.division import divided
from tf_autodropout.masks.values import WORD_BITS, is_constant

FAR = 2**31 - 1


class Profile:
    """`repeat` runs of `size` dropped cells with `stride` kept cells between them.

    Args:
        size: Cells of a run, an int or an integer scalar tensor, as all that follow.
        stride: Kept cells between two runs.
        repeat: Number of runs.
        word: The profile, a bit for each cell; 0 if it does not fit.
    """

    def __init__(self, size: Any, stride: Any, repeat: Any, word: Any) -> None:
        self.size, self.word = size, word
        self.length = repeat * size + (repeat - 1) * stride  # L
        self.single = is_constant(repeat) and is_constant(stride) and (repeat == 1 or stride == 0)
        # Runs that touch are one run.
        self.run: Any
        self.period: Any
        if is_constant(self.length):
            self.run, self.period = (self.length, FAR) if self.single else (size, size + stride)
        else:
            self.length = tf.cast(self.length, tf.int32)
            joined = tf.logical_or(tf.equal(stride, 0), tf.equal(repeat, 1))
            self.run = tf.where(joined, self.length, tf.cast(size, tf.int32))
            self.period = tf.where(joined, FAR, tf.cast(size + stride, tf.int32))

    def holds(self, base: Any, shift: tf.Tensor) -> tf.Tensor:
        """True where position `base - shift` of the profile is in one of its runs; neither is negative.

        Args:
            base: int32 array or tensor.
            shift: int32 tensor that broadcasts with it.
        """
        place = tf.cast(base - shift, tf.uint32)  # what was negative is huge now
        if not self.single and not (is_constant(self.word) and self.word == 0):
            return in_word(place, _uint32(self.word))
        inside = place < _uint32(self.length)
        if self.single:
            return inside
        # (base - shift) mod period, without a remainder at each cell: it would cost most of the mask.
        period = tf.cast(self.period, tf.int32)
        phase = tf.truncatemod(base, period) - tf.truncatemod(shift, period)
        phase = tf.where(phase < 0, phase + period, phase)
        return tf.logical_and(inside, phase < tf.cast(self.run, tf.int32))


def in_word(place: tf.Tensor, word: Any) -> tf.Tensor:
    """True where the profile that a word holds, a bit for each cell, drops; both are uint32."""
    one = _uint32(1)
    bit = tf.bitwise.right_shift(word, tf.minimum(place, _uint32(WORD_BITS)))
    return tf.equal(tf.bitwise.bitwise_and(bit, one), one)


def dropped_before(place: tf.Tensor, length: tf.Tensor, run: tf.Tensor, period: tf.Tensor | None) -> tf.Tensor:
    """Number of dropped cells of a profile before a position of it, which may be beyond either end.

    Without a period the profile is a single run.
    """
    place = tf.clip_by_value(place, 0, length)
    if period is None:
        return place
    runs, rest = divided(place, period)
    return runs * run + tf.minimum(rest, run)


def _uint32(value: Any) -> tf.Tensor:
    return tf.constant(value, tf.uint32) if is_constant(value) else tf.cast(value, tf.uint32)
