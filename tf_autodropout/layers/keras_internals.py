"""The private names of Keras: all that this package uses are in this file and in no other.

Keras has no public way to read or edit the graph of a model, to give a sublayer to a layer that is built, or to copy
either object by object. Each function here is one such question, so that a release of Keras that has it elsewhere is
answered here. The file is among `layers`, not in `surgery`, because layers that hold pattern layers ask too and may not
import what stands above them. A subclass calls the protected methods of its own base where it is (`PatternAttention`).
"""

import collections
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import keras
from keras.src.backend.common import global_state
from keras.src.layers import layer as layer_module
from keras.src.ops.function import make_node_key
from keras.src.ops.node import Node
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.utils.tracking import Tracker

__all__ = ["KerasSaveable", "Node", "Tracker"]  # classes that have no public name

BOOKKEEPING = ("_layers", "_functional", "_metrics", "_nodes", "_operations")  # attributes that hold layers once more
CALLS = ("_inbound_nodes", "_outbound_nodes")  # attributes of an operation: the calls of it, and those that read them
HISTORY = "_keras_history"  # attribute of a tensor: the call that makes it
_GRAPH = ("_nodes", "_nodes_by_depth", "_operations", "_operations_by_depth")

# Layers and what they hold.


def sublayers(layer: Any) -> list[Any]:
    """Returns the layers that a layer holds: the list itself, in the order in which they are saved."""
    held: list[Any] = getattr(layer, "_layers", [])
    return held


def all_layers(model: Any, include_self: bool = False) -> list[Any]:
    """Returns the layers of a model wherever they are, each as often as it is held."""
    return list(model._flatten_layers(include_self=include_self, recursive=True))


def attributes_of(layer: Any) -> dict[str, Any]:
    """Returns what the attributes of a layer hold: on PyTorch a module has other modules in a table of their own.

    That table does not tell when an attribute was set: those that are layers come before lists of layers there.
    """
    if keras.backend.backend() != "torch":
        return vars(layer)
    modules: dict[str, Any] = layer._modules
    return {**modules, **{name: value for name, value in vars(layer).items() if name != "_modules"}}


@contextmanager
def unlocked(layer: Any) -> Iterator[None]:
    """Lets a layer that is built take up or give away sublayers, as Keras does for LoRA."""
    locked = layer._tracker.locked
    layer._tracker.unlock()
    try:
        yield
    finally:
        if locked:
            layer._tracker.lock()


def track(layer: Any, held: Any) -> None:
    """Counts a layer among the sublayers of another one."""
    layer._tracker.track(held)


def untrack(layer: Any, held: Any) -> None:
    """Counts a layer no longer among the sublayers of another one."""
    layer._tracker.untrack(held)


def hold_parameters(layer: Any) -> None:
    """Lets a layer, on PyTorch, have the values of its variables as the parameters of a module."""
    if hasattr(layer, "_torch_params"):
        layer._track_variables()


def own_variables(layer: Any) -> list[Any]:
    """Returns the variables that a layer itself has, without those of its sublayers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def save_with_layer(layer: Any, variable: Any, name: str) -> None:
    """Lets a SavedModel of TensorFlow hold a variable that Keras does not count among the weights of a layer."""
    if hasattr(layer, "_track_trackable"):
        layer._track_trackable(variable, name)


def let_hear_training(model: Any, hears: bool) -> None:
    """Tells Keras whether the `call` of a model that is built takes `training`."""
    model._call_has_training_arg = hears
    model._call_has_context_arg = {**model._call_has_context_arg, "training": hears}


def unpickled(file: Any) -> keras.Model:
    """Makes the model that Keras has pickled."""
    model: keras.Model = keras.Model._unpickle_model(file)
    return model


@contextmanager
def calls_forgotten() -> Iterator[None]:
    """Lets layers keep nothing of the calls on symbols inside, and operations take no numbers of later names."""
    names = dict(global_state.get_global_attribute("object_name_uids", default={}))
    try:
        with mock.patch.object(layer_module, "Node"):
            yield
    finally:
        global_state.set_global_attribute("object_name_uids", collections.defaultdict(int, names))


# Graphs.


def graph_of(model: Any) -> Any:
    """Returns the Functional model that holds the graph of a model, or None: of a Sequential one it is inside."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    return graph if hasattr(graph, "_nodes_by_depth") else None


def nodes_of(graph: Any) -> list[Any]:
    """Returns the calls in a graph, inputs included, each after those that it depends on."""
    return [node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in graph._nodes_by_depth[depth]]


def inputs_of(graph: Any) -> Any:
    """Returns the inputs of a graph in the structure in which it takes them."""
    return graph._inputs_struct


def calls_of(operation: Any) -> list[Any]:
    """Returns the calls of a layer or operation, of all graphs that it is in: the list itself."""
    calls: list[Any] = operation._inbound_nodes
    return calls


def maker(tensor: Any) -> Any:
    """Returns the call that makes a tensor of a graph; None for one that belongs to no graph."""
    history = getattr(tensor, HISTORY, None)
    if history is None or history.operation is None:
        return None
    return history.operation._inbound_nodes[history.node_index]


def maker_index(tensor: Any) -> int:
    """Returns which output of the call that makes it a tensor is."""
    index: int = tensor._keras_history.tensor_index
    return index


def replace_input(node: Any, index: int, old: Any, new: Any) -> None:
    """Lets a call read another tensor as one of its inputs."""
    count = iter(range(len(node.input_tensors)))

    def replaced(x: Any) -> Any:
        return new if isinstance(x, keras.KerasTensor) and next(count) == index else x

    args, kwargs = node.arguments.convert(replaced)
    node.arguments = type(node.arguments)(*args, **kwargs)
    for tensor, change in ((old, list.remove), (new, list.append)):
        if (made := maker(tensor)) is not None:
            change(made.operation._outbound_nodes, node)


def replace_output(model: Any, old: Any, new: Any) -> None:
    """Lets a model return another tensor wherever it returns `old`."""
    outputs = keras.tree.map_structure(lambda tensor: new if tensor is old else tensor, model._outputs_struct)
    object.__setattr__(model, "_outputs_struct", outputs)  # as Keras sets them: not tracked as state
    object.__setattr__(model, "_outputs", keras.tree.flatten(outputs))


def take_graph(model: Any, other: Any) -> None:
    """Gives a model the graph of another one with the same inputs and outputs."""
    for name in _GRAPH:
        object.__setattr__(model, name, getattr(other, name))


# What a copy sets that no constructor takes.


def put_calls_in_order(operation: Any, nodes: list[Any]) -> None:
    """Sets the calls of an operation; their outputs say the place of their call in this order."""
    operation._inbound_nodes[:] = nodes
    for index, node in enumerate(nodes):
        for tensor in node.outputs:
            tensor._keras_history = tensor._keras_history._replace(node_index=index)


def name_calls_anew(graph: Any) -> None:
    """Sets the keys of the calls of a graph, which the identities of its operations are in."""
    keys = [make_node_key(node.operation, calls_of(node.operation).index(node)) for node in nodes_of(graph)]
    graph.__dict__["_nodes"] = set(keys)


def take_identities(tracker: Any, old: Any, made: Mapping[int, Any]) -> None:
    """Sets which objects a tracker knows by their identities: the copies of those that another one knows."""
    tracker.stored_ids = {name: {id(made[one]) for one in ids if one in made} for name, ids in old.stored_ids.items()}


def has_value(variable: Any) -> bool:
    """False for a variable of Keras that is built later."""
    return variable._value is not None


def state_beside_value(variable: Any) -> dict[str, Any]:
    """Returns the attributes of a variable but its value: its path, its regularizer."""
    return {name: value for name, value in vars(variable).items() if name not in ("_value", "_initializer")}


def learning_rate_of(optimizer: Any) -> Any:
    """Returns the variable or schedule of an optimizer's learning rate."""
    return optimizer._learning_rate


def clipped_by(optimizer: Any, gradients: list[Any]) -> list[Any]:
    """Returns gradients as an optimizer clips them."""
    clipped: list[Any] = optimizer._clip_gradients(gradients)
    return clipped


def slot_key(variable: Any) -> Any:
    """Returns the key under which an optimizer keeps what belongs to a variable."""
    return keras.optimizers.Optimizer._var_key(None, variable)


# `MultiHeadAttention`.


def attention_axes(attention: Any) -> tuple[int, ...]:
    """Returns the axes that an attention layer attends over."""
    return tuple(attention._attention_axes or (1,))


def projected(attention: Any, x: Any, source: Any) -> tuple[Any, Any, Any]:
    """Returns the queries of `x`, and the keys and values of `source`."""
    return attention._query_dense(x), attention._key_dense(source), attention._value_dense(source)


def output_projected(attention: Any, context: Any) -> Any:
    """Returns the output projection of the heads' results."""
    return attention._output_dense(context)


def scaled_queries(attention: Any, query: Any) -> Any:
    """Returns projected queries over the square root of the size of a head."""
    return query * attention._inverse_sqrt_key_dim


def masked_softmax(attention: Any, scores: Any, mask: Any) -> Any:
    """Returns the probabilities of scores `(N, heads, queries, keys)`."""
    return attention._masked_softmax(scores, mask)


def with_own_dropout(attention: Any, probabilities: Any, training: bool | None) -> Any:
    """Returns probabilities with the layer's own `dropout` on them."""
    return attention._dropout_layer(probabilities, training=training)
