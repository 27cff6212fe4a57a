"""Argument checks shared by the pattern classes: one wording for every error."""

import math
import numbers
from typing import Any

LONGEST = 2**30  # cells a pattern may span: masks count in int32
_SHOWN = 200  # characters
WHOLE = LONGEST  # a size that covers every map and every sequence


def invalid(name: str, expected: str, received: Any) -> ValueError:
    """Builds the one kind of error this package raises for a bad value."""
    return ValueError(f"Invalid value for '{name}'. Expected {expected}. Received: {name}={shown(received)}")


def shown(value: Any) -> str:
    """Returns a value as an error message shows it, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, endless nesting
        return f"a value of type {type(value).__name__} too large to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def printable(text: str) -> str:
    r"""Returns a text as a terminal may show it: control characters but ends of lines are escaped.

    Example:
        >>> from tf_autodropout.patterns.checks import printable
        >>> print(printable("site \x1b]52;c;aGk=\x07"))
        site \x1b]52;c;aGk=\x07
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def check_site_name(site: Any) -> None:
    """Raises unless `site` can be the name of a site: a text that files, tables and terminals can hold."""
    if not isinstance(site, str) or not site or not site.isprintable():
        raise ValueError(f"Expected site names to be non-empty strings. Received: {shown(site)}")


def check_int(name: str, value: Any, minimum: int) -> int:
    """Returns `value` as a Python int, at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise invalid(name, f"an integer >= {minimum}", value)
    return int(value)


def check_float(name: str, value: Any) -> float:
    """Returns `value` as a finite Python float."""
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
    except OverflowError:  # an integer beyond any float
        number = math.inf
    if not math.isfinite(number):
        raise invalid(name, "a finite number", value)
    return number


def check_rate(name: str, value: Any) -> float:
    """Returns `value` as a probability."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value <= 1:  # type: ignore[operator]
        raise invalid(name, f"0 <= {name} <= 1", value)
    return float(value)


def check_bool(name: str, value: Any) -> bool:
    """Returns `value` as a Python bool; 0 and 1 of NumPy are not booleans."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise invalid(name, "True or False", value)
    return bool(value)


def check_factor(value: Any) -> float:
    """Returns a resolution factor for `.scale`."""
    factor = check_float("factor", value)
    if factor <= 0:
        raise invalid("factor", "a number > 0", value)
    return factor


def scaled_length(length: int, factor: float) -> int:
    """Scales a count of cells, half up; what was there stays at least one cell, what covers all does so."""
    if length == WHOLE:
        return WHOLE
    return max(1, math.floor(min(length * factor + 0.5, WHOLE))) if length else 0
