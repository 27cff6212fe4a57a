"""Which patterns fit a site: decided here and nowhere else."""

from typing import Any

import keras

from tf_autodropout.layers.site_layers import SCORES, TRANSFORMER_SITES
from tf_autodropout.patterns import Pattern
from tf_autodropout.patterns.kinds import KINDS

BATCH_NORM, CONVOLUTION, RECURRENT, LAYER = "batch_norm", "conv", "recurrent", "layer"
OWN = "own"  # a pattern layer that somebody's code calls
_MAPS = (BATCH_NORM, CONVOLUTION)
_ON_MAPS, _ON_TOKENS = (tuple(kind for kind in KINDS if kind.ON_MAPS is there) for there in (True, False))
_ATTENDING = ("softmax", SCORES)  # sites on tensors (N, heads, queries, keys)


def fitting(kind: str, rank: int, is_map: bool) -> tuple[type[Pattern], ...]:
    """Returns the classes of the patterns that fit a site, the usual one first.

    Args:
        kind: Kind of the site.
        rank: Rank of the tensor there, with the batch.
        is_map: True if its inner axes are those of space, not tokens and heads.
    """
    if kind == OWN or rank < 2 or (rank > 5 and kind not in _ATTENDING):
        return ()
    if rank == 2 or kind in _ATTENDING:
        return _ON_TOKENS
    if kind in TRANSFORMER_SITES:
        return _ON_MAPS if is_map else _ON_TOKENS
    if kind in _MAPS:
        return (*_ON_MAPS, *_ON_TOKENS) if rank == 3 else _ON_MAPS
    return (*_ON_TOKENS, *_ON_MAPS) if rank == 3 else (*_ON_MAPS, *_ON_TOKENS)


def kind_of(layer: Any) -> str:
    """Returns the kind of the site on a layer's output, from its class alone."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return BATCH_NORM
    if is_convolution(layer):
        return CONVOLUTION
    if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
        return RECURRENT
    return LAYER


def is_convolution(layer: Any) -> bool:
    """True for a convolution of whatever rank: it has a kernel and moves it over a map."""
    return hasattr(layer, "kernel_size") and hasattr(layer, "strides") and hasattr(layer, "data_format")


def data_format(layer: Any, rank: int) -> str:
    """Returns where the channels of a layer's output are."""
    axis = getattr(layer, "axis", None)
    if isinstance(layer, keras.layers.BatchNormalization | keras.layers.GroupNormalization) and isinstance(axis, int):
        return "channels_first" if rank > 2 and axis % rank == 1 else "channels_last"
    if rank == 3 and not is_convolution(layer):
        return "channels_last"
    return getattr(layer, "data_format", None) or keras.config.image_data_format()


def token_axis(layer: Any, kind: str, rank: int) -> int:
    """Returns the axis of the tokens in a layer's output."""
    if kind in _ATTENDING:
        return rank - 1  # the keys
    if isinstance(layer, keras.layers.EinsumDense):
        tokens, outputs = layer.equation[1], layer.equation.partition("->")[2]  # "btd,dnh->bnth"
        return outputs.index(tokens) if tokens in outputs[1:] else 1
    return 1
