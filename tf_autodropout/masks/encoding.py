"""Patterns as integers, see `masks/values.py`: constants, or a vector that a variable can hold."""

from typing import Any, NamedTuple

import numpy as np

from tf_autodropout.masks.backend import xp
from tf_autodropout.masks.kinds import Values, kind_for
from tf_autodropout.masks.values import ScheduleValues, encode_schedule, is_constant
from tf_autodropout.patterns import Pattern, Schedule


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
    values: Values = kind_for(type(pattern)).encode(pattern, axes)
    return values


def encode_for(pattern: Pattern, sizes: tuple[Any, ...]) -> Values:
    """Turns a pattern into its integers for a map of these sizes: ints, or scalar tensors where they are not known.

    Raises:
        ValueError: a DropBlockPattern whose size is a fraction of a map of unknown size.
    """
    if not pattern.has_fractions or all(map(is_constant, sizes)):
        return encode(pattern.resolve(sizes) if pattern.has_fractions else pattern, len(sizes))
    encode_open = kind_for(type(pattern)).encode_open
    if encode_open is None:
        raise ValueError(f"{pattern.TYPE} with a fraction as size needs maps of known size. Received: {pattern!r}")
    values: Values = encode_open(pattern, sizes)
    return values


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
    made = kind_for(kind).values
    count = len(made._fields)
    scalars = xp.unstack(xp.wide(xp.convert_to_tensor(vector)), count + len(ScheduleValues._fields))
    return made(*scalars[:count]), ScheduleValues(*scalars[count:])
