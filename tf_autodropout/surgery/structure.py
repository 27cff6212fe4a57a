"""Every layer of a model, wherever it is: in its graph, or behind another layer, in Python code.

A layer has a path to show, made of names, and a key that finds it again in another copy of the model. Names are no
keys: Keras numbers layers as they are made (`dense_3` here may be `dense_7` in a copy), and KerasHub puts the name of
the model before them or not. So a key counts the layers of a class in the order of the network. Patterns put in do not
change it.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from tf_autodropout.layers import PatternDropout
from tf_autodropout.layers.adoption import is_adopted, plain_type
from tf_autodropout.layers.keras_internals import BOOKKEEPING, attributes_of, maker, sublayers
from tf_autodropout.surgery.graph import calls, is_nested, why_closed


class Spot(NamedTuple):
    """A layer, or an operation of a graph, and where it is.

    Args:
        layer: The layer.
        path: Names of what is around it and its own, separated by `/`, to be shown.
        key: The same for every copy of a model.
        owner: The model whose graph it is called in; None for a layer that Python code calls.
        around: The layer that holds it, None for the model itself.
    """

    layer: Any
    path: str
    key: str
    owner: keras.Model | None
    around: Any


def spots(model: keras.Model) -> Iterator[Spot]:
    """Yields every layer of a model once, each before those inside it, in the order of the network."""
    known = {id(model)}
    if why_closed(model) is None:
        yield from _in_graph(model, "", "", known)
    else:
        yield from _inside(model, "", "", known)


def _in_graph(model: keras.Model, path: str, key: str, known: set[int]) -> Iterator[Spot]:
    keys = dict(_keyed(_in_order(model)))
    for node in calls(model):
        operation = node.operation
        if id(operation) in known or isinstance(operation, PatternDropout):  # a layer called twice is one place
            continue
        known.add(id(operation))
        own_path, own_key = f"{path}{operation.name}", f"{key}{keys[id(operation)]}"
        yield Spot(operation, own_path, own_key, model, model)
        if is_nested(operation):
            yield from _in_graph(operation, f"{own_path}/", f"{own_key}/", known)
        elif isinstance(operation, keras.layers.Layer):
            yield from _inside(operation, f"{own_path}/", f"{own_key}/", known)


def _inside(layer: Any, path: str, key: str, known: set[int]) -> Iterator[Spot]:
    """The layers that a layer holds and calls in Python code, and those that they hold."""
    attributes = dict(_attributes(layer))
    children = [child for child in _children(layer) if id(child) not in known and not _is_ours(child, layer)]
    names = [_shown_name(child, attributes) for child in children]
    for child, name, own_key in zip(children, names, dict(_keyed(children)).values(), strict=True):
        if id(child) in known:
            continue
        known.add(id(child))
        own_path = f"{path}{name}" if names.count(name) == 1 else f"{path}{own_key}"
        yield Spot(child, own_path, f"{key}{own_key}", None, layer)
        yield from _inside(child, f"{own_path}/", f"{key}{own_key}/", known)


def _children(layer: Any) -> list[Any]:
    if is_nested(layer):
        return [one for one in _in_order(layer) if isinstance(one, keras.layers.Layer)]
    return list({id(one): one for one in sublayers(layer)}.values())


def _is_ours(child: Any, layer: Any) -> bool:
    """True for a pattern layer that an adopted layer has been given."""
    return isinstance(child, PatternDropout) and is_adopted(layer)


def _in_order(model: keras.Model) -> list[Any]:
    """The operations of a graph, each after those it depends on, whatever layers of one input stand in between."""
    if isinstance(model, keras.Sequential):
        return [layer for layer in model.layers if not isinstance(layer, PatternDropout)]
    belonging = {id(node) for node in calls(model)}
    done: dict[int, Any] = {}
    seen: set[int] = set()
    todo = [(maker(tensor), False) for tensor in model.outputs[::-1]]
    while todo:
        node, ready = todo.pop()
        if ready:
            done.setdefault(id(node.operation), node.operation)
        elif id(node) not in seen and id(node) in belonging:
            seen.add(id(node))
            todo.append((node, True))
            todo += [(maker(tensor), False) for tensor in reversed(node.input_tensors)]
    return [one for one in done.values() if not isinstance(one, PatternDropout)]


def _keyed(layers: list[Any]) -> Iterator[tuple[int, str]]:
    """Yields the identity of each layer with its key among the others: its class, counted where there are more."""
    count: dict[str, Iterator[int]] = {}
    for layer in layers:
        kind = plain_type(layer).__name__
        number = next(count.setdefault(kind, itertools.count()))
        yield id(layer), f"{kind}#{number}" if number else kind


def _shown_name(layer: Any, attributes: dict[int, str]) -> str:
    """The name of a layer, if its author gave it one, else that of the attribute that holds it."""
    given = not re.fullmatch(rf"{_snake_case(plain_type(layer).__name__)}(_\d+)?", layer.name)
    return layer.name if given else attributes.get(id(layer), layer.name)


def _snake_case(name: str) -> str:
    """A class name as Keras makes layer names of it."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _attributes(layer: Any) -> Iterator[tuple[int, str]]:
    """Yields the identity of each layer that an attribute holds, in lists and dictionaries too, with its name."""
    for name, value in reversed(attributes_of(layer).items()):  # the first attribute of a layer comes last and counts
        if name not in BOOKKEEPING and not name.startswith("_self_"):
            yield from _held(name.strip("_"), value)


def _held(name: str, value: Any) -> Iterator[tuple[int, str]]:
    if isinstance(value, keras.layers.Layer):
        yield id(value), name
    elif isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield from _held(f"{name}/{place}", one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _held(f"{name}/{key}", one)
