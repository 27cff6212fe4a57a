"""Layers that become their twins with pattern sites, and back.

A layer is adopted in place, by a change of its class: everything that holds it (the graph of a model, the block that
calls it, the list of layers that a KerasHub task decodes with) goes on holding it, with the same variables under the
same names. Three classes have twins with several sites inside; for any other class one is made that has a site on its
output (`Patterned`).
"""

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from tf_autodropout.layers.keras_internals import attention_axes, unlocked, untrack
from tf_autodropout.layers.pattern_attention import PatternAttention
from tf_autodropout.layers.pattern_dropout import PatternDropout
from tf_autodropout.layers.patterned import OUTPUT, Patterned, twin_of
from tf_autodropout.layers.site_layers import ATTENTION_SITES, SCORES, TRANSFORMER_SITES
from tf_autodropout.patterns import Pattern, Schedule

_OF_KERAS: dict[type, type] = {keras.layers.MultiHeadAttention: PatternAttention}
PatternAttention.__name__ = "MultiHeadAttention"  # by which Keras addresses the variables of a layer in a weights file


def _twins() -> dict[type, type]:
    """Class to twin. Those of KerasHub come with it: before anything has imported it, no layer is of its classes."""
    return _all_twins() if "keras_hub" in sys.modules else _OF_KERAS


@functools.cache
def _all_twins() -> dict[type, type]:
    from tf_autodropout.layers.pattern_transformer import TWINS

    return {**_OF_KERAS, **TWINS}


def inner_sites(layer: Any) -> Sequence[str]:
    """Returns the sites inside a layer that has or can have several; none for any other layer, subclasses included."""
    kind = plain_type(layer)
    if kind not in _twins() or not layer.built:
        return ()
    if kind is keras.layers.MultiHeadAttention:
        return (*ATTENTION_SITES, SCORES) if attention_axes(layer) == (1,) else ()
    return (*TRANSFORMER_SITES, SCORES)


def plain_type(layer: Any) -> type:
    """Returns the class of a layer, or for an adopted one the class that it had before."""
    kind = type(layer)
    if issubclass(kind, Patterned):
        return kind.plain
    return next((plain for plain, twin in _twins().items() if twin is kind), kind)


def is_adopted(layer: Any) -> bool:
    """True for a layer with pattern sites inside."""
    return plain_type(layer) is not type(layer)


def adopt(
    layer: Any,
    patterns: Mapping[str, Pattern],
    pattern_seed: int = 0,
    mutable: bool = False,
    schedule: Schedule | None = None,
    **where: Any,
) -> None:
    """Turns a built layer into its twin with pattern sites; it keeps its variables.

    Args:
        layer: Any layer.
        patterns: Site to pattern. The one site of most layers is `""`, their output; `MultiHeadAttention` and
            KerasHub's `TransformerEncoder` and `TransformerDecoder` have others inside, and those left out drop
            nothing. A softmax has `scores` as well.
        pattern_seed: Integer from which each site derives its own seed.
        mutable: See `PatternDropout`.
        schedule: See `PatternDropout`.
        **where: `site`, `token_axis` and `data_format` of `PatternDropout`, for the site on the output.
    """
    if is_adopted(layer):
        release(layer)
    inside = OUTPUT not in patterns and bool(inner_sites(layer))
    layer.__class__ = _twins()[type(layer)] if inside else twin_of(type(layer))
    layer.add_sites(patterns, pattern_seed, mutable, schedule, **({} if inside else where))


def release(layer: Any) -> None:
    """Takes the pattern sites out of an adopted layer: the plain layer with the same variables is left."""
    with unlocked(layer):
        for one in dict.values(layer.pattern_layers):
            untrack(layer, one)
        for name in ("pattern_layers", "patterns", "pattern_seed", "mutable"):
            layer.__dict__.pop(name, None)
    layer.__class__ = plain_type(layer)


@contextmanager
def as_plain(layers: Sequence[Any]) -> Iterator[None]:
    """Lets adopted layers pass as plain ones, while a config is written."""
    kinds = [type(layer) for layer in layers]
    for layer in layers:
        layer.__class__ = plain_type(layer)
    try:
        yield
    finally:
        for layer, kind in zip(layers, kinds, strict=True):
            layer.__class__ = kind


def inner_layers(layer: Any) -> dict[str, list[PatternDropout]]:
    """Returns the pattern layers of an adopted layer by site; `""` is its output."""
    if isinstance(layer, Patterned):
        return {site: [one] for site, one in layer.pattern_layers.items()}
    found: dict[str, list[PatternDropout]] = {}
    for one in layer.pattern_layers.values():
        found.setdefault(one.site, []).append(one)
    return found
