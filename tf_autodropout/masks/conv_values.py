"""A `ConvPattern` as integers. Its inverse geometry is in counts of 2^-32."""

import itertools
import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tf_autodropout.masks.backend import Tensor, xp
from tf_autodropout.masks.values import fixed, is_constant, last
from tf_autodropout.patterns import ConvPattern

GEOMETRY_BITS = 32
IDENTITY = (1 << GEOMETRY_BITS, 0, 0, 1 << GEOMETRY_BITS)  # inverse geometry without rotation and shear
WORD_BITS = 31  # the 32nd bit of a word stays 0: it stands for all cells beyond the profile
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


def encode_conv(pattern: ConvPattern, axes: int) -> ConvValues:
    """Turns a pattern without fractions into its integers, for maps of so many axes."""
    sizes, strides = pattern.sizes(axes), pattern.strides(axes)
    (m_xx, m_xy), (m_yx, m_yy) = _inverse_geometry(pattern)
    words = _words(sizes, strides, pattern.repeat)
    flags = int(pattern.share_c), fixed(pattern.rate)
    shape = last(sizes), last(strides), (pattern.repeat, m_xx, m_xy, m_yx, m_yy), last(words)
    return ConvValues(*itertools.chain(*shape, flags))


def encode_conv_open(pattern: ConvPattern, sizes: tuple[Any, ...]) -> ConvValues:
    """Turns a pattern with fractions into its integers, for a map of which not all sizes are known."""
    axes = len(sizes)
    extents = [
        tuple(
            length if is_constant(length) else _cells(Fraction(length), there)
            for length, there in zip(one, sizes, strict=True)
        )
        for one in (pattern.sizes(axes), pattern.strides(axes))
    ]
    values = encode_conv(pattern.resolve((2,) * axes), axes)
    names = (("depth", "height", "width"), ("stride_d", "stride_h", "stride_w"))
    for three, lengths in zip(names, extents, strict=True):
        values = values._replace(**dict(zip(three[-axes:], lengths, strict=True)))
    return values._replace(word_d=0, word_h=0, word_w=0)  # the profile is not known yet


def conv_cases(values: ConvValues) -> tuple[Tensor, list[ConvValues]]:
    """Returns the kinds of mask that values in a variable may ask for, and the number of the one that they do."""
    shared = xp.cast(values.share_c, xp.int32)
    turned = xp.reduce_any([xp.not_equal(now, entry) for now, entry in zip(values.matrix, IDENTITY, strict=True)])
    long = xp.logical_and(turned, xp.equal(values.word_w, 0))
    without_words = values._replace(word_d=0, word_h=0, word_w=0)
    straight = without_words.with_matrix(IDENTITY)
    kinds = [one._replace(share_c=share) for one in (straight, values, without_words) for share in (0, 1)]
    return shared + 2 * xp.cast(turned, xp.int32) + 2 * xp.cast(long, xp.int32), kinds


def _cells(fraction: Fraction, size: Any) -> Tensor:
    """`patterns.extent.cells` for an axis whose size is a tensor."""
    size, twice = xp.cast(size, xp.int64), 2 * fraction.denominator
    rounded = (2 * fraction.numerator * size + fraction.denominator) // twice
    return xp.clip_by_value(rounded, 1, xp.maximum(size - 1, 1))


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
