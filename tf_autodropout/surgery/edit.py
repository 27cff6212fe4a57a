"""Edits of a model in place: its graph gets other edges, its layers and its class stay what they are.

Nothing is called anew but the layers put in. So every tensor that a model keeps (the levels of a feature pyramid),
every list of layers (those that a KerasHub task decodes with) and every model around it stay right.
"""

from collections.abc import Sequence
from typing import Any

import keras

from tf_autodropout.layers import PatternDropout
from tf_autodropout.layers.keras_internals import (
    replace_input,
    replace_output,
    sublayers,
    take_graph,
    track,
    untrack,
)
from tf_autodropout.surgery.graph import Addition, calls, first_floating


def insert_after(model: keras.Model, layer: Any, inserted: Any) -> None:
    """Puts a layer behind every call of another one in the graph of `model`; `refresh` must follow.

    Of several outputs the first floating-point one goes through it.
    """
    if isinstance(model, keras.Sequential):
        held = sublayers(model)
        held.insert(held.index(layer) + 1, inserted)
        return
    for node in calls(model):
        if node.operation is layer:
            tensor = first_floating(node.output_tensors)
            _redirect(model, tensor, inserted(tensor))


def insert_on_skip(addition: Addition, inserted: Any) -> None:
    """Puts a layer at the end of a skip connection; `refresh` must follow."""
    tensor = addition.node.input_tensors[addition.skip]
    replace_input(addition.node, addition.skip, tensor, inserted(tensor))


def take_out(model: keras.Model, layers: Sequence[Any]) -> None:
    """Takes layers of one input and one output out of the graph of `model`; `refresh` must follow."""
    if isinstance(model, keras.Sequential):
        sublayers(model)[:] = [layer for layer in sublayers(model) if layer not in layers]
        return
    for node in calls(model):
        if node.operation in layers:
            _redirect(model, node.output_tensors[0], node.input_tensors[0])


def refresh(model: keras.Model) -> None:
    """Makes a model take notice of the edits of its graph."""
    if isinstance(model, keras.Sequential):
        model.add(model.pop(rebuild=False))  # Keras' own way to build it anew
        return
    # A model of the edited graph tells what belongs to it, and in which order.
    fresh = keras.Model(model.inputs, model.outputs)
    take_graph(model, fresh)
    model.output_names = _output_names(model, fresh)
    for layer in fresh.layers:
        track(model, layer)
    place = {id(layer): index for index, layer in enumerate(sublayers(fresh))}
    for layer in list(sublayers(model)):
        if isinstance(layer, PatternDropout) and id(layer) not in place:
            untrack(model, layer)
    sublayers(model).sort(key=lambda layer: place.get(id(layer), len(place)))


def _output_names(model: keras.Model, fresh: keras.Model) -> list[str]:
    """The names that losses and metrics go by: a pattern behind an output leaves it its name."""
    there = {operation.name for operation in fresh.operations}
    names = zip(model.output_names, fresh.output_names, strict=True)
    return [old if old in there else new for old, new in names]


def _redirect(model: keras.Model, old: Any, new: Any) -> None:
    """Lets all that read one tensor read another one."""
    for node in calls(model):
        for index, tensor in enumerate(node.input_tensors):
            if tensor is old:
                replace_input(node, index, old, new)
    replace_output(model, old, new)
