"""The kinds of masks: the one place that knows which functions draw which kind of pattern."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tf_autodropout.masks.backend import Tensor
from tf_autodropout.masks.conv import conv_draws, conv_drop, conv_probability, is_straight, straight_factors
from tf_autodropout.masks.conv_values import ConvValues, conv_cases, encode_conv, encode_conv_open
from tf_autodropout.masks.drop import Draws, Drop
from tf_autodropout.masks.drop_block import (
    DropBlockValues,
    drop_block_drop,
    drop_block_probability,
    encode_drop_block,
)
from tf_autodropout.masks.transformer import (
    TransformerValues,
    encode_transformer,
    is_shared,
    transformer_cases,
    transformer_draws,
    transformer_drop,
    transformer_probability,
)
from tf_autodropout.patterns import ConvPattern, DropBlockPattern, Pattern, TransformerPattern
from tf_autodropout.patterns.checks import shown
from tf_autodropout.patterns.kinds import ONE_OF_KINDS

Values = ConvValues | TransformerValues | DropBlockValues


class MaskKind(NamedTuple):
    """What draws one kind of pattern. `where` is the data format for patterns on maps, the token axis for others.

    Args:
        pattern: Class of the patterns.
        values: Class of their values: a NamedTuple of integers, the last one the rate.
        encode: From a pattern without fractions and the number of axes to its values.
        drop: `(values, shape, drawn, where)` to what a mask drops.
        probability: From a pattern without fractions and the sizes to the chance that a cell is dropped.
        draws: `(values, shape, words, where, dtype)` to what fixes a mask; None where the seed does.
        has_ratio: From values to whether `draws` tells what is kept: the mask is a product of small factors.
        draws_rate: True if what is drawn tells what the rate decides, so that `drop` needs no rate.
        factors: As `drop`, to the factors of a mask by few operations; none of them where that cannot be.
        encode_open: As `encode`, for fractions of sizes that are not known; None where that cannot be.
        cases: From values in a variable to the number of the kind of mask they ask for, and the values of each kind;
            None for patterns that cannot be in a variable.
    """

    pattern: type[Pattern]
    values: Any
    encode: Callable[[Any, int], Any]
    drop: Callable[[Any, tuple[Any, ...], tuple[Tensor, ...], Any], Drop]
    probability: Callable[[Any, tuple[int, ...]], float | np.ndarray]
    draws: Callable[..., Draws] | None = None
    has_ratio: Callable[[Any], bool] = lambda values: False
    draws_rate: bool = False
    factors: Callable[..., tuple[Tensor, ...]] = lambda *drawn: ()
    encode_open: Callable[[Any, tuple[Any, ...]], Any] | None = None
    cases: Callable[[Any], tuple[Tensor, list[Any]]] | None = None


MASK_KINDS = (
    MaskKind(
        ConvPattern,
        ConvValues,
        encode_conv,
        conv_drop,
        conv_probability,
        conv_draws,
        is_straight,
        draws_rate=True,
        factors=straight_factors,
        encode_open=encode_conv_open,
        cases=conv_cases,
    ),
    MaskKind(
        TransformerPattern,
        TransformerValues,
        encode_transformer,
        transformer_drop,
        transformer_probability,
        transformer_draws,
        is_shared,
        cases=transformer_cases,
    ),
    MaskKind(DropBlockPattern, DropBlockValues, encode_drop_block, drop_block_drop, drop_block_probability),
)
_OF_VALUES = {kind.values: kind for kind in MASK_KINDS}


def kind_of(values: Values) -> MaskKind:
    """Returns what draws the pattern of these values."""
    return _OF_VALUES[type(values)]


def kind_for(pattern: type[Pattern]) -> MaskKind:
    """Returns what draws the patterns of a class.

    Raises:
        TypeError: another class.
    """
    found = next((kind for kind in MASK_KINDS if issubclass(pattern, kind.pattern)), None)
    if found is None:
        raise TypeError(f"Expected {ONE_OF_KINDS}. Received: {shown(pattern)}")
    return found
