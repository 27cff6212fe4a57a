"""Draws what a pattern of either kind drops."""

from typing import Any

from tf_autodropout.masks.conv import conv_drop
from tf_autodropout.masks.drop import Drop
from tf_autodropout.masks.hashing import Key
from tf_autodropout.masks.transformer import transformer_drop
from tf_autodropout.masks.values import ConvValues, Values


def draw(values: Values, shape: tuple[Any, ...], key: Key, data_format: str, token_axis: int) -> Drop:
    """Draws what one mask of a pattern that is not the identity drops; see `keep_mask`."""
    if isinstance(values, ConvValues):
        return conv_drop(values, shape, key, data_format)
    return transformer_drop(values, shape, key, token_axis)
