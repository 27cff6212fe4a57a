"""One branch for each kind of mask, so that the kinds do not pay for each other when values are variables."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tf_autodropout.masks.backend import xp
from tf_autodropout.masks.kinds import Values, kind_of
from tf_autodropout.masks.values import is_constant


def by_case(values: Values, function: Callable[[Values | None], Any]) -> Any:
    """Returns `function(values)`, or `function(None)` for a pattern that drops nothing.

    Variable values are handed on with what decides the shape of the computation as constants
    (`share_c`, no rotation or shear where there is none, no words where a profile is too long for one):
    each case is a branch of one switch, and a step runs only the branch that its values ask for.

    Args:
        values: The pattern, constants or scalar tensors.
        function: Must return tensors of the same shapes and dtypes in all cases.
    """
    if is_constant(values.is_identity):
        nothing = values.is_identity or (is_constant(values.rate) and values.rate == 0)
        return function(None if nothing else values)
    cases = kind_of(values).cases
    assert cases is not None  # else the values are constants
    case, kinds = cases(values)
    nothing = xp.logical_or(values.is_identity, xp.equal(values.rate, 0))
    case = xp.where(nothing, 0, case + 1)
    return xp.switch_case(case, [partial(function, kind) for kind in (None, *kinds)])
