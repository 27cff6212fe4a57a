"""Lengths of a pattern along the axes of a map: cells, or fractions of the map."""

import math
import re
from fractions import Fraction
from typing import Any

from tf_autodropout.patterns.checks import WHOLE, check_int, invalid, scaled_length

Length = int | str  # cells, or a fraction of the map as text: "1/4"
Extent = Length | tuple[Length, ...]  # one for all axes, or one for each

AXES = {1: "(T,)", 2: "(height, width)", 3: "(depth, height, width)"}
_LARGEST_DENOMINATOR = 10**6
_FRACTION = re.compile(r"\d{1,7}/\d{1,7}|\d{0,7}\.\d{1,7}")


def check_extent(name: str, value: Any) -> Extent:
    """Normalizes a size or stride: equal lengths along all axes are the same pattern as one length.

    Raises:
        ValueError: not a length >= 0, or one for each of one to three axes.
    """
    if not isinstance(value, tuple | list):
        return _check_length(name, value)
    if not 1 <= len(value) <= 3:
        raise invalid(name, "one length, or one for each of one to three axes", tuple(value))
    lengths = tuple(_check_length(name, one) for one in value)
    return lengths[0] if len(set(lengths)) == 1 else lengths


def along(name: str, extent: Extent, axes: int) -> tuple[Length, ...]:
    """Returns the length along each of the axes of a map.

    Raises:
        ValueError: lengths for another number of axes.
    """
    if isinstance(extent, tuple) and len(extent) != axes:
        raise invalid(name, f"one length, or {AXES[axes]} for maps of {axes} axes", extent)
    return on_axes(extent, axes)


def on_axes(extent: Extent, axes: int) -> tuple[Length, ...]:
    """Returns the lengths as they were given where there is one for each axis, else the one for so many axes."""
    return extent if isinstance(extent, tuple) else (extent,) * axes


def lengths(extent: Extent) -> tuple[Length, ...]:
    """Returns the lengths as they were given: one, or one for each axis."""
    return on_axes(extent, 1)


def is_fraction(extent: Extent) -> bool:
    """True if any of the lengths is a fraction of the map."""
    return any(isinstance(length, str) for length in lengths(extent))


def cells(length: Length, size: int) -> int:
    """Returns a length in cells on an axis of `size` cells.

    A fraction is rounded to the nearest cell, half up; it is at least one cell, and less than the whole axis
    where the axis has more than one cell.
    """
    if isinstance(length, int):
        return length
    return min(max(math.floor(Fraction(length) * size + Fraction(1, 2)), 1), max(size - 1, 1))


def portion(share: float, size: int) -> int:
    """Returns a share of an axis in cells, half up; at least one unless it is zero. A decision's: it may be all."""
    return max(1, math.floor(share * size + 0.5)) if share else 0


def scaled(extent: Extent, factor: float) -> Extent:
    """Returns an extent for maps `factor` times as large: fractions stay, see `scaled_length` for cells."""

    def one(length: Length) -> Length:
        return length if isinstance(length, str) else scaled_length(length, factor)

    return tuple(map(one, extent)) if isinstance(extent, tuple) else one(extent)


def described(extent: Extent) -> str:
    """Returns an extent as captions and tables show it: `4`, `2×3`, `1/4`, `all`."""
    return "×".join("all" if length == WHOLE else str(length) for length in lengths(extent))


def longest(extent: Extent) -> int:
    """Returns the longest of the lengths that are given in cells; 1 if there is none."""
    return max(1 if isinstance(length, str) else length for length in lengths(extent))


def _check_length(name: str, value: Any) -> Length:
    if isinstance(value, float):
        raise invalid(name, "an integer >= 0, or a fraction of the map as text ('1/4')", value)
    if not isinstance(value, str):
        return check_int(name, value, 0)
    try:
        fraction = Fraction(value if _FRACTION.fullmatch(value) else 0)
    except ZeroDivisionError:
        fraction = Fraction(0)
    if not 0 < fraction < 1 or fraction.denominator > _LARGEST_DENOMINATOR:
        raise invalid(name, "cells as an integer >= 0, or a fraction of the map between 0 and 1 as text ('1/4')", value)
    return str(fraction)
