"""The profile of a pattern along one axis: runs of dropped cells with kept cells between them."""

from typing import Any

from tf_autodropout.masks.backend import Tensor, xp
from tf_autodropout.masks.conv_values import WORD_BITS
from tf_autodropout.masks.division import divided
from tf_autodropout.masks.values import is_constant

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
            self.length = xp.cast(self.length, xp.int32)
            joined = xp.logical_or(xp.equal(stride, 0), xp.equal(repeat, 1))
            self.run = xp.where(joined, self.length, xp.cast(size, xp.int32))
            self.period = xp.where(joined, FAR, xp.cast(size + stride, xp.int32))

    def holds(self, base: Any, shift: Tensor) -> Tensor:
        """True where position `base - shift` of the profile is in one of its runs; neither is negative.

        Args:
            base: int32 array or tensor.
            shift: int32 tensor that broadcasts with it.
        """
        place = xp.unsigned(xp.convert_to_tensor(base) - shift)
        if not self.single and not (is_constant(self.word) and self.word == 0):
            return in_word(place, xp.word(self.word))
        inside = place < xp.word(self.length)
        if self.single:
            return inside
        # (base - shift) mod period, without a remainder at each cell: it would cost most of the mask.
        period = xp.cast(self.period, xp.int32)
        phase = xp.truncatemod(base, period) - xp.truncatemod(shift, period)
        phase = xp.where(phase < 0, phase + period, phase)
        return xp.logical_and(inside, phase < xp.cast(self.run, xp.int32))


def in_word(place: Tensor, word: Any) -> Tensor:
    """True where the profile that a word holds, a bit for each cell, drops; both are words (`xp.word`)."""
    one = xp.word(1)
    bit = xp.right_shift(word, xp.minimum(place, xp.word(WORD_BITS)))
    return xp.equal(xp.bitwise_and(bit, one), one)


def dropped_before(place: Tensor, length: Tensor, run: Tensor, period: Tensor | None) -> Tensor:
    """Number of dropped cells of a profile before a position of it, which may be beyond either end.

    Without a period the profile is a single run.
    """
    place = xp.clip_by_value(place, 0, length)
    if period is None:
        return place
    runs, rest = divided(place, period)
    return runs * run + xp.minimum(rest, run)
