"""The graph of a Keras model: what can be read, in which order, and where its skip connections are."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras

from tf_autodropout.layers.keras_internals import graph_of, maker, nodes_of


class Addition(NamedTuple):
    """An Add of the two branches of a residual block, one of them a skip connection.

    Args:
        node: The call of `keras.layers.Add`, or the addition of `x + y`.
        skip: Which of its two inputs is the skip connection, 0 or 1.
        main: Identities of the operations of the other branch.
        shortcut: Identities of the operations on the skip connection: none, or a projection.
    """

    node: Any
    skip: int
    main: frozenset[int]
    shortcut: frozenset[int]


class Graph:
    """The calls in a Sequential or Functional model, and its residual blocks.

    Args:
        model: The model; `why_closed` must be None.
    """

    def __init__(self, model: keras.Model) -> None:
        self.nodes = list(calls(model))
        self._place = {id(node): place for place, node in enumerate(self.nodes)}
        self._before: list[int] = []  # of each node a bit set: the places of all it depends on, its own included
        self._first = {id(node.operation): node for node in self.nodes[::-1]}
        self._readers: dict[int, list[Any]] = {}
        for node in self.nodes:
            for tensor in node.input_tensors:
                self._readers.setdefault(id(tensor), []).append(node.operation)
        self.additions: list[Addition] = []
        for place, node in enumerate(self.nodes):
            reach = [self._reach(tensor) for tensor in node.input_tensors]
            self._before.append(1 << place)
            for one in reach:
                self._before[-1] |= one
            if addition := self._addition(node, reach):
                self.additions.append(addition)

    def first_call(self, operation: Any) -> Any:
        """Returns the first call of an operation."""
        return self._first[id(operation)]

    def readers(self, node: Any) -> list[Any]:
        """Returns the operations that read what a call returns."""
        return [reader for tensor in node.output_tensors for reader in self._readers.get(id(tensor), ())]

    def depends(self, node: Any, on: Any) -> bool:
        """True if a call depends on another one of the same graph, or is it."""
        return bool(self._before[self._place[id(node)]] >> self._place[id(on)] & 1)

    def source(self, tensor: Any) -> Any:
        """Returns the call in this graph that makes a tensor; None for an input."""
        node = maker(tensor)
        return node if id(node) in self._place else None

    def _reach(self, tensor: Any) -> int:
        node = self.source(tensor)
        return 0 if node is None else self._before[self._place[id(node)]]

    def _addition(self, node: Any, reach: list[int]) -> Addition | None:
        """Returns the residual block that a call closes.

        The inputs of an Add may stand in either order. Their branches are what only one of them depends on; the
        branch with fewer weighted layers is the skip connection. An Add of more than two inputs, of inputs of
        different shapes, or of branches with equally many weighted layers closes none.
        """
        if not _is_addition(node.operation) or len(reach) != 2:
            return None
        if len({tuple(tensor.shape) for tensor in node.input_tensors}) > 1:
            return None
        branches = [[self.nodes[place] for place in _bits(one & ~other)] for one, other in (reach, reach[::-1])]
        weighted = [sum(has_kernel(call.operation) for call in branch) for branch in branches]
        if weighted[0] == weighted[1]:
            return None
        skip = 0 if weighted[0] < weighted[1] else 1
        main, shortcut = (frozenset(id(call.operation) for call in branches[k]) for k in (1 - skip, skip))
        return Addition(node, skip, main, shortcut)


def is_nested(layer: Any) -> bool:
    """True for a model whose graph can be read: Sequential, or Functional of whatever class."""
    return isinstance(layer, keras.Model) and why_closed(layer) is None


def why_closed(model: keras.Model) -> str | None:
    """Returns why the graph of a model cannot be read, or None."""
    if isinstance(model, keras.Sequential):
        if not model.built or graph_of(model) is None:
            return "it is not built. Give it an Input as first layer, or call model.build(input_shape)."
        return None
    if graph_of(model) is not None:
        return None
    return (
        f"{type(model).__name__} is a subclassed model: its graph is Python code, which cannot be read. Build it with "
        "the Functional API, or put PatternDropout layers into its `call`."
    )


def has_kernel(operation: Any) -> bool:
    """True for a layer with a weight of rank 2 or more."""
    weights = operation.weights if isinstance(operation, keras.layers.Layer) else []
    return any(len(weight.shape) >= 2 for weight in weights)


def first_floating(tensors: Sequence[Any]) -> Any:
    """Returns the first floating-point tensor: the one that a pattern acts on; None if there is none."""
    return next((one for one in tensors if keras.backend.is_float_dtype(one.dtype)), None)


def calls(model: keras.Model) -> Iterator[Any]:
    """Yields the calls in a model, each after those that it depends on; inputs are left out."""
    for node in nodes_of(graph_of(model)):
        if node.operation is not None and not node.is_input:
            yield node


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _is_addition(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Add) or type(operation).__name__ == "Add"
