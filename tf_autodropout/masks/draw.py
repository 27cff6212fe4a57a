"""Draws what a pattern of any kind drops, in two steps: small tensors that fix the mask, and the mask."""

from typing import Any

from tf_autodropout.masks.backend import DType, Tensor, xp
from tf_autodropout.masks.drop import Draws, Drop
from tf_autodropout.masks.hashing import Words
from tf_autodropout.masks.kinds import MaskKind, Values, kind_of


def draw(
    values: Values,
    shape: tuple[Any, ...],
    words: Words,
    data_format: str,
    token_axis: int,
    dtype: DType = xp.float32,
) -> Draws:
    """Draws the small tensors of one mask of a pattern that is not the identity; `dtype` is that of the ratio."""
    kind = kind_of(values)
    if kind.draws is None:
        return Draws(words)
    return kind.draws(values, shape, words, _where(kind, data_format, token_axis), dtype)


def drop(values: Values, shape: tuple[Any, ...], drawn: tuple[Tensor, ...], data_format: str, token_axis: int) -> Drop:
    """Returns what the mask that `draw` has fixed drops."""
    kind = kind_of(values)
    return kind.drop(values, shape, drawn, _where(kind, data_format, token_axis))


def drop_small(
    values: Values, shape: tuple[Any, ...], drawn: tuple[Tensor, ...], data_format: str, token_axis: int
) -> Drop:
    """Returns what `drop` does, by as few operations as it can be done."""
    kind = kind_of(values)
    factors = kind.factors(values, shape, drawn, _where(kind, data_format, token_axis))
    return Drop(factors, None) if factors else drop(values, shape, drawn, data_format, token_axis)


def is_counted(values: Values) -> bool:
    """True where `draw` tells what is kept: where the mask is known to be a product of small factors."""
    return kind_of(values).has_ratio(values)


def needs_rate(values: Values) -> bool:
    """True where `drop` needs the rate: where what `draw` has drawn does not tell what the rate decides."""
    return not (kind_of(values).draws_rate or is_counted(values))


def _where(kind: MaskKind, data_format: str, token_axis: int) -> str | int:
    return data_format if kind.pattern.ON_MAPS else token_axis
