"""Pattern values as one vector of integers, so that a compiled step can take them as a variable.

Rates are counts of 2^-24 and the inverse geometry is in counts of 2^-32. Integers make the mask the
same to the bit in graph mode, under XLA, with constants and with variables, on every device.
"""

import itertools
import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tf_autodropout.masks.backend import Tensor, exact, xp
from tf_autodropout.masks.hashing import RATE_BITS
from tf_autodropout.patterns import ConvPattern, DropBlockPattern, Pattern, Schedule, TransformerPattern
from tf_autodropout.patterns.checks import shown
from tf_autodropout.patterns.extent import along

GEOMETRY_BITS = 32
IDENTITY = (1 << GEOMETRY_BITS, 0, 0, 1 << GEOMETRY_BITS)  # inverse geometry without rotation and shear
WORD_BITS = 31  # the 32nd bit of a word stays 0: it stands for all cells beyond the profile
_HALF = 1 << (RATE_BITS - 1)
_STEEPEST = float(2**16)  # entries of the inverse geometry are cut off here; no map is that wide


class ConvValues(NamedTuple):
    """A `ConvPattern` as integers: Python ints (constants) or int64 scalar tensors.

    Maps of two axes have no depth, and maps of one axis only a width: what they lack is not read.
    """

    depth: Any  # cells of a run along each axis
    height: Any
    width: Any
    stride_d: Any
    stride_h: Any
    stride_w: Any
    repeat: Any
    m_xx: Any  # pattern x per map x, in 2^-32
    m_xy: Any  # pattern x per map y
    m_yx: Any
    m_yy: Any
    word_d: Any  # the profile along each axis, a bit for each cell; 0 if one of them does not fit
    word_h: Any
    word_w: Any
    share_c: Any
    rate: Any  # in 2^-24

    @property
    def sizes(self) -> tuple[Any, Any, Any]:
        """Cells of a run along depth, height and width."""
        return self.depth, self.height, self.width

    @property
    def strides(self) -> tuple[Any, Any, Any]:
        """Kept cells between two runs along depth, height and width."""
        return self.stride_d, self.stride_h, self.stride_w

    @property
    def words(self) -> tuple[Any, Any, Any]:
        """The profiles along depth, height and width."""
        return self.word_d, self.word_h, self.word_w

    @property
    def is_identity(self) -> Any:
        """True if nothing is dropped."""
        return self.width == 0

    @property
    def matrix(self) -> tuple[Any, Any, Any, Any]:
        """The inverse geometry, row by row."""
        return self.m_xx, self.m_xy, self.m_yx, self.m_yy

    def with_matrix(self, matrix: tuple[Any, Any, Any, Any]) -> "ConvValues":
        """Returns these values with another inverse geometry."""
        return self._replace(**dict(zip(("m_xx", "m_xy", "m_yx", "m_yy"), matrix, strict=True)))


class TransformerValues(NamedTuple):
    """A `TransformerPattern` as integers: Python ints (constants) or int64 scalar tensors."""

    size: Any
    stride: Any
    share_t: Any
    share_c: Any
    rate: Any  # in 2^-24

    @property
    def is_identity(self) -> Any:
        """True if nothing is dropped."""
        return self.size == 0


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


class ScheduleValues(NamedTuple):
    """A `Schedule` as integers: Python ints (constants) or int64 scalar tensors."""

    first: Any  # in 2^-24
    last: Any
    begin: Any
    end: Any


Values = ConvValues | TransformerValues | DropBlockValues


class InVariable(NamedTuple):
    """A pattern whose values stand in an int64 variable or tensor, so that they can change under a compiled step."""

    kind: type[Pattern]
    vector: Any


def encode(pattern: Pattern, axes: int = 2) -> Values:
    """Turns a pattern into its integers.

    Args:
        pattern: A pattern without fractions.
        axes: Axes of the maps.
    """
    rate = _fixed(pattern.rate)
    if isinstance(pattern, TransformerPattern):
        return TransformerValues(pattern.size, pattern.stride, int(pattern.share_t), int(pattern.share_c), rate)
    if isinstance(pattern, DropBlockPattern):
        depth, height, width = _last(along("size", pattern.size, axes))
        return DropBlockValues(depth, height, width, int(pattern.share_c), rate)
    if isinstance(pattern, ConvPattern):
        sizes, strides = pattern.sizes(axes), pattern.strides(axes)
        (m_xx, m_xy), (m_yx, m_yy) = _inverse_geometry(pattern)
        words = _words(sizes, strides, pattern.repeat)
        flags = int(pattern.share_c), rate
        shape = _last(sizes), _last(strides), (pattern.repeat, m_xx, m_xy, m_yx, m_yy), _last(words)
        return ConvValues(*itertools.chain(*shape, flags))
    raise TypeError(f"Expected a ConvPattern, a TransformerPattern or a DropBlockPattern. Received: {shown(pattern)}")


def encode_for(pattern: Pattern, sizes: tuple[Any, ...]) -> Values:
    """Turns a pattern into its integers for a map of these sizes: ints, or scalar tensors where they are not known.

    Raises:
        ValueError: a DropBlockPattern whose size is a fraction of a map of unknown size.
    """
    axes = len(sizes)
    if not pattern.has_fractions or all(map(is_constant, sizes)):
        return encode(pattern.resolve(sizes) if pattern.has_fractions else pattern, axes)
    if not isinstance(pattern, ConvPattern):
        raise ValueError(f"{pattern.TYPE} with a fraction as size needs maps of known size. Received: {pattern!r}")
    extents = [
        tuple(
            length if is_constant(length) else _cells(Fraction(length), there)
            for length, there in zip(one, sizes, strict=True)
        )
        for one in (pattern.sizes(axes), pattern.strides(axes))
    ]
    values: Any = encode(pattern.resolve((2,) * axes), axes)
    names = (("depth", "height", "width"), ("stride_d", "stride_h", "stride_w"))
    for three, lengths in zip(names, extents, strict=True):
        values = values._replace(**dict(zip(three[-axes:], lengths, strict=True)))
    return values._replace(word_d=0, word_h=0, word_w=0)  # the profile is not known yet


def _cells(fraction: Fraction, size: Any) -> Tensor:
    """`patterns.extent.cells` for an axis whose size is a tensor."""
    size, twice = xp.cast(size, xp.int64), 2 * fraction.denominator
    rounded = (2 * fraction.numerator * size + fraction.denominator) // twice
    return xp.clip_by_value(rounded, 1, xp.maximum(size - 1, 1))


def encode_schedule(schedule: Schedule | None) -> ScheduleValues:
    """Turns a schedule into its integers; None is full strength at all steps."""
    one = schedule or Schedule(1.0, 1.0)
    return ScheduleValues(_fixed(one.first), _fixed(one.last), one.begin, one.end)


@exact
def at_step(values: Values, schedule: ScheduleValues, step: Any) -> Values:
    """Returns the values with the rate that a schedule gives at a step: in integers, the same to the bit everywhere."""
    first, last, begin, end, rate = (xp.cast(one, xp.int64) for one in (*schedule, values.rate))
    step, line = xp.cast(step, xp.int64), xp.maximum(end - begin, 1)
    factor = first + (last - first) * xp.clip_by_value(step - begin, 0, line) // line
    factor = xp.where(step >= end, last, factor)
    return values._replace(rate=xp.right_shift(factor * rate + _HALF, RATE_BITS))


def encode_vector(pattern: Pattern, schedule: Schedule | None = None, axes: int | None = None) -> np.ndarray:
    """Turns a pattern and its schedule into the int64 vector of an `InVariable`.

    Args:
        pattern: A ConvPattern or TransformerPattern without fractions.
        schedule: None is full strength at all steps.
        axes: Axes of the maps; None for as many as the pattern's sizes tell, else two.
    """
    if axes is None:
        extents = (getattr(pattern, "size", 0), getattr(pattern, "stride", 0))
        axes = next((len(one) for one in extents if isinstance(one, tuple)), 2)
    return np.array([*encode(pattern, axes), *encode_schedule(schedule)], np.int64)


def unpack(kind: type[Pattern], vector: Any) -> tuple[Values, ScheduleValues]:
    """Splits what `encode_vector` has made, as a tensor, back into named scalars."""
    made: Any = ConvValues if issubclass(kind, ConvPattern) else TransformerValues
    count = len(made._fields)
    scalars = xp.unstack(xp.wide(xp.convert_to_tensor(vector)), count + len(ScheduleValues._fields))
    return made(*scalars[:count]), ScheduleValues(*scalars[count:])


def is_constant(value: Any) -> bool:
    """True for a value that is known while tracing."""
    return isinstance(value, int)


def _inverse_geometry(pattern: ConvPattern) -> list[list[int]]:
    """Returns the inverse of (rotate after shear) as integers, in 2^-32.

    With `x' = x + shear_x*y`, `y' = y + shear_y*x` and `x'' = cos*x' + sin*y'`,
    `y'' = -sin*x' + cos*y'` (y downwards), multiples of 90 degrees come out exact.
    """
    angle = math.radians(pattern.rotate)
    cos, sin = math.cos(angle), math.sin(angle)
    shear = np.array([[1.0, pattern.shear_x], [pattern.shear_y, 1.0]])
    rotation = np.array([[cos, sin], [-sin, cos]])
    inverse = np.linalg.inv(shear) @ rotation.T
    fixed = np.rint(np.clip(inverse, -_STEEPEST, _STEEPEST) * 2.0**GEOMETRY_BITS)
    return [[int(entry) for entry in row] for row in fixed]


def _words(sizes: Any, strides: Any, repeat: int) -> tuple[int, ...]:
    """The profiles along all axes as words, first cell lowest; zeros unless all fit into `WORD_BITS`."""
    profiles = list(zip(sizes, strides, strict=True))
    if max(repeat * size + (repeat - 1) * stride for size, stride in profiles) > WORD_BITS:
        return (0,) * len(profiles)
    return tuple(sum(((1 << size) - 1) << run * (size + stride) for run in range(repeat)) for size, stride in profiles)


def _last(numbers: Any) -> tuple[int, int, int]:
    """One number for each of depth, height and width, from those of the axes that a map has: the last ones."""
    depth, height, width = [0] * (3 - len(numbers)) + list(numbers)
    return depth, height, width


def _fixed(rate: float) -> int:
    return round(rate * 2**RATE_BITS)
