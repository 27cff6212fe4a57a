"""The blocks of a model, found by what holds what: an answer of its own to whether patterns reach all of them."""

from collections.abc import Iterator
from typing import Any

import keras

from tf_autodropout.surgery.graph import calls, is_nested
from tf_autodropout.surgery.survey import survey

_BORDERS = ("Add", "Concatenate")  # and poolings: what ends a block of a graph


def blocks_without_site(model: keras.Model) -> list[str]:
    """The names of the blocks in which no pattern is recommended.

    A block is two layers with kernels or more, and a normalization, where the model has any: a perceptron that ends or
    feeds a network is none. Its layers are those in one layer of the author's, the innermost of which there are
    several, or those in a graph between two additions, concatenations or poolings.
    """
    reached: set[int] = set()
    for site, place in survey(model).rows():
        if site.recommended:
            reached.add(id(place.layer))
            reached |= {id(layer) for layer in (_all(place.layer) if place.inside else ())}
    blocks = list(_blocks(model))
    normalized = [(name, layers) for name, layers in blocks if any("Norm" in type(one).__name__ for one in layers)]
    return [name for name, layers in normalized or blocks if not reached & {id(layer) for layer in layers}]


def _blocks(model: Any) -> Iterator[tuple[str, list[Any]]]:
    """The name and the layers of each block."""
    if not is_nested(model):
        yield from _inside(model)
        return
    segment: list[Any] = []
    for node in calls(model):
        layer = node.operation
        kind = type(layer).__name__
        if is_nested(layer) or _is_composite(layer) or kind in _BORDERS or "Pooling" in kind:
            yield from _segment(segment)
            segment = []
            yield from _blocks(layer) if is_nested(layer) else _inside(layer)
        else:
            segment.append(layer)
    yield from _segment(segment)


def _segment(layers: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    if sum(map(_has_kernel, layers)) >= 2:
        yield f"{layers[0].name} to {layers[-1].name}", layers


def _inside(layer: Any) -> Iterator[tuple[str, list[Any]]]:
    parts = [one for one in dict.fromkeys(getattr(layer, "_layers", ())) if _is_composite(one) or is_nested(one)]
    kinds = [type(one) for one in parts]
    if any(kinds.count(kind) > 1 or is_nested(one) for kind, one in zip(kinds, parts, strict=True)):
        for one in parts:
            for name, layers in _blocks(one):
                yield f"{layer.name}/{name}", layers
    elif _is_composite(layer):
        yield layer.name, _all(layer)


def _is_composite(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Layer) and sum(map(_has_kernel, _all(layer)[1:])) >= 2


def _has_kernel(layer: Any) -> bool:
    if not isinstance(layer, keras.layers.Layer) or "Embedding" in type(layer).__name__:
        return False
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    return any(len(variable.shape) >= 2 for variable in own)


def _all(layer: Any) -> list[Any]:
    return list(layer._flatten_layers()) if isinstance(layer, keras.layers.Layer) else [layer]
