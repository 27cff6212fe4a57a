"""One branch for each kind of mask, so that the kinds do not pay for each other when values are variables."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tf_autodropout.masks.backend import xp
from tf_autodropout.masks.values import IDENTITY, ConvValues, Values, is_constant


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
    shared = xp.cast(values.share_c, xp.int32)
    if isinstance(values, ConvValues):
        turned = xp.reduce_any([xp.not_equal(now, entry) for now, entry in zip(values.matrix, IDENTITY, strict=True)])
        long = xp.logical_and(turned, xp.equal(values.word_w, 0))
        case = shared + 2 * xp.cast(turned, xp.int32) + 2 * xp.cast(long, xp.int32)
        without_words = values._replace(word_d=0, word_h=0, word_w=0)
        straight = without_words.with_matrix(IDENTITY)
        kinds: list[Values] = [
            one._replace(share_c=share) for one in (straight, values, without_words) for share in (0, 1)
        ]
    else:
        case = shared
        kinds = [values._replace(share_c=share) for share in (0, 1)]
    nothing = xp.logical_or(values.is_identity, xp.equal(values.rate, 0))
    case = xp.where(nothing, 0, case + 1)
    return xp.switch_case(case, [partial(function, kind) for kind in (None, *kinds)])
