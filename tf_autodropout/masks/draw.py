"""Draws what a pattern of any kind drops, in two steps: small tensors that fix the mask, and the mask."""

from typing import Any

from tf_autodropout.masks.backend import DType, Tensor, xp
from tf_autodropout.masks.conv import conv_draws, conv_drop, is_straight
from tf_autodropout.masks.drop import Draws, Drop
from tf_autodropout.masks.drop_block import drop_block_drop
from tf_autodropout.masks.hashing import Words
from tf_autodropout.masks.transformer import transformer_draws, transformer_drop
from tf_autodropout.masks.values import ConvValues, DropBlockValues, TransformerValues, Values, is_constant


def draw(
    values: Values,
    shape: tuple[Any, ...],
    words: Words,
    data_format: str,
    token_axis: int,
    dtype: DType = xp.float32,
) -> Draws:
    """Draws the small tensors of one mask of a pattern that is not the identity; `dtype` is that of the ratio."""
    if isinstance(values, ConvValues):
        return conv_draws(values, shape, words, data_format, dtype)
    if isinstance(values, DropBlockValues):
        return Draws(words)
    return transformer_draws(values, shape, words, token_axis, dtype)


def drop(values: Values, shape: tuple[Any, ...], drawn: tuple[Tensor, ...], data_format: str, token_axis: int) -> Drop:
    """Returns what the mask that `draw` has fixed drops."""
    if isinstance(values, ConvValues):
        (shifts,) = drawn
        return conv_drop(values, shape, shifts, data_format)
    if isinstance(values, DropBlockValues):
        return drop_block_drop(values, shape, drawn, data_format)
    return transformer_drop(values, shape, drawn, token_axis)


def is_counted(values: Values) -> bool:
    """True where `draw` tells what is kept: where the mask is known to be a product of small factors."""
    if isinstance(values, ConvValues):
        return is_straight(values)
    return isinstance(values, TransformerValues) and is_constant(values.share_c) and bool(values.share_c)
