"""What the integers of all patterns have in common, and those of a schedule.

A pattern's values are one vector of integers, so that a compiled step can take them as a variable. Rates are counts of
2^-24. Integers make the mask the same to the bit in graph mode, under XLA, with constants and with variables, on every
device.
"""

from typing import Any, NamedTuple

from tf_autodropout.masks.backend import exact, xp
from tf_autodropout.masks.hashing import RATE_BITS
from tf_autodropout.patterns import Schedule

_HALF = 1 << (RATE_BITS - 1)


class ScheduleValues(NamedTuple):
    """A `Schedule` as integers: Python ints (constants) or int64 scalar tensors."""

    first: Any  # in 2^-24
    last: Any
    begin: Any
    end: Any


def encode_schedule(schedule: Schedule | None) -> ScheduleValues:
    """Turns a schedule into its integers; None is full strength at all steps."""
    one = schedule or Schedule(1.0, 1.0)
    return ScheduleValues(fixed(one.first), fixed(one.last), one.begin, one.end)


@exact
def at_step(values: Any, schedule: ScheduleValues, step: Any) -> Any:
    """Returns the values with the rate that a schedule gives at a step: in integers, the same to the bit everywhere."""
    first, last, begin, end, rate = (xp.cast(one, xp.int64) for one in (*schedule, values.rate))
    step, line = xp.cast(step, xp.int64), xp.maximum(end - begin, 1)
    factor = first + (last - first) * xp.clip_by_value(step - begin, 0, line) // line
    factor = xp.where(step >= end, last, factor)
    return values._replace(rate=xp.right_shift(factor * rate + _HALF, RATE_BITS))


def is_constant(value: Any) -> bool:
    """True for a value that is known while tracing."""
    return isinstance(value, int)


def last(numbers: Any) -> tuple[int, int, int]:
    """One number for each of depth, height and width, from those of the axes that a map has: the last ones."""
    depth, height, width = [0] * (3 - len(numbers)) + list(numbers)
    return depth, height, width


def fixed(rate: float) -> int:
    """A rate in counts of 2^-24."""
    return round(rate * 2**RATE_BITS)
