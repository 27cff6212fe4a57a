"""Layers of Keras and KerasHub that become their twins with pattern sites, and back.

A layer is adopted in place, by a change of its class: everything that holds it (the graph of a model, the list of
layers that a KerasHub task decodes with) goes on holding it, with the same variables under the same names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import keras_nlp

from tf_autodropout.layers.pattern_attention import PatternAttention
from tf_autodropout.layers.pattern_dropout import PatternDropout
from tf_autodropout.layers.pattern_transformer import PatternTransformerDecoder, PatternTransformerEncoder
from tf_autodropout.layers.site_layers import ATTENTION_SITES, TRANSFORMER_SITES, unlocked
from tf_autodropout.patterns import Pattern

_TWINS: dict[type, type] = {
    keras.layers.MultiHeadAttention: PatternAttention,
    keras_nlp.layers.TransformerEncoder: PatternTransformerEncoder,
    keras_nlp.layers.TransformerDecoder: PatternTransformerDecoder,
}
for _plain, _twin in _TWINS.items():
    _twin.__name__ = _plain.__name__  # by which Keras addresses the variables of a layer in a weights file
_PLAIN = {twin: plain for plain, twin in _TWINS.items()}


def inner_sites(layer: Any) -> Sequence[str]:
    """Returns the sites inside a layer that is or can be adopted; none for any other layer, subclasses included."""
    kind = _PLAIN.get(type(layer), type(layer))
    if kind not in _TWINS or not layer.built:
        return ()
    if kind is keras.layers.MultiHeadAttention:
        return ATTENTION_SITES if tuple(layer._attention_axes or (1,)) == (1,) else ()
    return TRANSFORMER_SITES


def is_adopted(layer: Any) -> bool:
    """True for a layer with pattern sites inside."""
    return type(layer) in _PLAIN


def adopt(layer: Any, patterns: Mapping[str, Pattern], pattern_seed: int = 0, mutable: bool = False) -> None:
    """Turns a built layer into its twin with pattern sites; it keeps its variables.

    Args:
        layer: `MultiHeadAttention`, or KerasHub's `TransformerEncoder` or `TransformerDecoder`.
        patterns: Site to `TransformerPattern`; sites left out drop nothing.
        pattern_seed: Integer from which each site derives its own seed.
        mutable: See `PatternDropout`.
    """
    layer.__class__ = _TWINS[type(layer)]
    layer.add_sites(patterns, pattern_seed, mutable)


def release(layer: Any) -> None:
    """Takes the pattern sites out of an adopted layer: the plain layer with the same variables is left."""
    with unlocked(layer):
        for one in dict.values(layer.pattern_layers):
            layer._tracker.untrack(one)
        for name in ("pattern_layers", "patterns", "pattern_seed", "mutable"):
            layer.__dict__.pop(name, None)
    layer.__class__ = _PLAIN[type(layer)]


def inner_layers(layer: Any) -> dict[str, list[PatternDropout]]:
    """Returns the pattern layers of an adopted layer by site."""
    found: dict[str, list[PatternDropout]] = {}
    for one in layer.pattern_layers.values():
        found.setdefault(one.site, []).append(one)
    return found
