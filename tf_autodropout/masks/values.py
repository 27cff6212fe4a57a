"""Pattern values as one vector of integers, so that a compiled step can take them as a variable.

Rates are counts of 2^-24 and the inverse geometry is in counts of 2^-32. Integers make the mask the
same to the bit in graph mode, under XLA, with constants and with variables, on every device.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_autodropout.masks.hashing import RATE_BITS
from tf_autodropout.patterns import ConvPattern, Pattern, TransformerPattern

GEOMETRY_BITS = 32
IDENTITY = (1 << GEOMETRY_BITS, 0, 0, 1 << GEOMETRY_BITS)  # inverse geometry without rotation and shear
WORD_BITS = 31  # the 32nd bit of a word stays 0: it stands for all cells beyond the profile
_STEEPEST = float(2**16)  # entries of the inverse geometry are cut off here; no map is that wide


class ConvValues(NamedTuple):
    """A `ConvPattern` as integers: Python ints (constants) or int64 scalar tensors."""

    height: Any
    width: Any
    stride: Any
    repeat: Any
    m_xx: Any  # pattern x per map x, in 2^-32
    m_xy: Any  # pattern x per map y
    m_yx: Any
    m_yy: Any
    row_word: Any  # the row profile, a bit for each cell; 0 if it does not fit
    column_word: Any
    share_c: Any
    rate: Any  # in 2^-24

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


Values = ConvValues | TransformerValues


class InVariable(NamedTuple):
    """A pattern whose values stand in an int64 variable or tensor, so that they can change under a compiled step."""

    kind: type[Pattern]
    vector: Any


def encode(pattern: Pattern) -> Values:
    """Turns a pattern into its integers."""
    rate = round(getattr(pattern, "rate", 0.0) * 2**RATE_BITS)
    if isinstance(pattern, ConvPattern):
        (m_xx, m_xy), (m_yx, m_yy) = _inverse_geometry(pattern)
        return ConvValues(
            pattern.height,
            pattern.width,
            pattern.stride,
            pattern.repeat,
            m_xx,
            m_xy,
            m_yx,
            m_yy,
            *_words(pattern),
            int(pattern.share_c),
            rate,
        )
    if isinstance(pattern, TransformerPattern):
        return TransformerValues(pattern.size, pattern.stride, int(pattern.share_t), int(pattern.share_c), rate)
    raise TypeError(f"Expected a ConvPattern or TransformerPattern. Received: {pattern!r}")


def unpack(kind: type[Pattern], vector: Any) -> Values:
    """Splits an int64 tensor of the values back into named scalars."""
    fields = ConvValues if issubclass(kind, ConvPattern) else TransformerValues
    return fields(*tf.unstack(tf.convert_to_tensor(vector), len(fields._fields)))


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


def _words(pattern: ConvPattern) -> tuple[int, int]:
    """The row and the column profile as words, first cell lowest; zeros unless both fit into `WORD_BITS`."""
    lengths = [
        pattern.repeat * size + (pattern.repeat - 1) * pattern.stride for size in (pattern.height, pattern.width)
    ]
    if max(lengths) > WORD_BITS:
        return 0, 0
    row_word, column_word = (
        sum(((1 << size) - 1) << run * (size + pattern.stride) for run in range(pattern.repeat))
        for size in (pattern.height, pattern.width)
    )
    return row_word, column_word
