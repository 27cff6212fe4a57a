"""What a training step of a model calls: every layer wherever it is, and the operations between them.

The model is run once on placeholders: those of a graph on TensorFlow (`graph_trace`), Keras' own elsewhere
(`symbol_trace`). Nothing is computed, no variable changes, and no layer keeps a trace of it. All other files ask
`Trace`, whose operations go by TensorFlow's names.
"""

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from tf_autodropout.layers.keras_internals import graph_of, inputs_of
from tf_autodropout.masks.backend import NAME
from tf_autodropout.surgery.graph import why_closed

_READS = ("ReadVariableOp", "VarHandleOp", "Const", "ResourceGather")
_CONTRACTIONS = ("Einsum", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
_CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
# Module, class and the lengths to try. Keras' symbols have none that are open: of many divisors and seldom a size of a
# model, or else short enough for one that encodes few positions.
_KINDS: dict[str, tuple[str, str, tuple[int | None, ...]]] = {
    "tensorflow": ("graph_trace", "GraphTrace", (None, 64)),
    "others": ("symbol_trace", "SymbolTrace", (448, 64, 16)),
}


@dataclass(eq=False)
class Call:
    """One call of a layer.

    Args:
        layer: The layer.
        around: The call that it is a part of; None for that of the model.
        inputs: The tensors among its arguments.
        outputs: The tensors that it returns.
        first: Number of the first operation that it runs.
        last: Number of the operation after its last one.
    """

    layer: Any
    around: "Call | None"
    inputs: list[Any]
    first: int
    outputs: list[Any] = field(default_factory=list)
    last: int = 0

    def floating(self) -> Any:
        """Returns the first floating-point tensor that it returns: the one that a pattern acts on."""
        return next((tensor for tensor in self.outputs if tensor.dtype.is_floating), None)

    def is_inside(self, other: "Call") -> bool:
        """True if this call is the other one or a part of it."""
        call: Call | None = self
        while call is not None and call is not other:
            call = call.around
        return call is not None


class Trace:
    """The calls and operations of one training step.

    Args:
        length: What a size counts as that the model leaves open, the batch excepted; None for sizes that are open in
            the trace too.
    """

    opaque = 0  # layers whose code is not seen

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.calls: list[Call] = []
        self._stack: list[Call] = []

    def _index(self, operations: Sequence[Any]) -> None:
        """Makes the tables that the questions below are answered from, of all operations in their order."""
        self._operations = operations
        self._place = {operation.name: place for place, operation in enumerate(self._operations)}
        self._readers: dict[str, list[Any]] = {}
        for operation in self._operations:
            for tensor in operation.inputs:
                self._readers.setdefault(tensor.name, []).append(operation)
        self.of_layer: dict[int, list[Call]] = {}
        self._makers: dict[str, list[Call]] = {}
        self._takers: dict[str, list[Call]] = {}
        for call in self.calls:
            self.of_layer.setdefault(id(call.layer), []).append(call)
            for tensor in call.outputs:
                self._makers.setdefault(tensor.name, []).append(call)
            for tensor in call.inputs:
                self._takers.setdefault(tensor.name, []).append(call)
        self._around: list[Call | None] = [None] * len(self._operations)
        for call in sorted(self.calls[::-1], key=lambda call: (call.first, -call.last)):  # the outer ones first
            self._around[call.first : call.last] = [call] * (call.last - call.first)

    def shape(self, tensor: Any) -> tuple[int | None, ...]:
        """Returns the shape of a tensor, with None for sizes that the model leaves open."""
        return tuple(None if size == self.length else size for size in tensor.shape)

    def operations(self, *kinds: str) -> Iterator[Any]:
        """Yields the operations of some kinds in the order of the step."""
        return (operation for operation in self._operations if operation.type in kinds)

    def contractions(self) -> Iterator[Any]:
        """Yields the products of two tensors neither of which is a weight."""
        for operation in self.operations(*_CONTRACTIONS):
            if len(operation.inputs) == 2 and not any(map(self.is_weight, operation.inputs)):
                yield operation

    def is_product_with_weight(self, operation: Any) -> bool:
        """True for a product or convolution with a kernel."""
        return operation.type in (*_CONTRACTIONS, *_CONVOLUTIONS) and any(map(self.is_weight, operation.inputs))

    def is_weight(self, tensor: Any) -> bool:
        """True for a variable or constant, or one that has been cast or brought into shape."""
        while tensor.op.type in ("Cast", "Reshape", "Transpose", "Identity", "ExpandDims", "Squeeze"):
            tensor = tensor.op.inputs[0]
        return tensor.op.type in _READS

    def around(self, operation: Any) -> Call | None:
        """Returns the innermost call that runs an operation."""
        return self._around[self._place[operation.name]]

    def makers(self, tensor: Any) -> Sequence[Call]:
        """Returns the calls that return a tensor, from the inside to the outside."""
        return self._makers.get(tensor.name, ())

    def takers(self, tensor: Any) -> Sequence[Call]:
        """Returns the calls that a tensor is an argument of."""
        return self._takers.get(tensor.name, ())

    def readers(self, tensor: Any) -> Sequence[Any]:
        """Returns the operations that read a tensor."""
        return self._readers.get(tensor.name, ())

    def place(self, tensor: Any) -> int:
        """Returns the number of the operation that makes a tensor: it depends on those before only."""
        return self._place[tensor.op.name]

    def sources(self, tensor: Any) -> list[Any]:
        """Returns the floating-point tensors, no weights, that a tensor is computed from: no shapes, no masks."""
        return [one for one in tensor.op.inputs if one.dtype.is_floating and not self.is_weight(one)]

    def depends(self, tensor: Any, on: Any) -> bool:
        """True if a tensor is computed from another one, or is it."""
        limit, seen, todo = self.place(on), set(), [tensor]
        while todo:
            one = todo.pop()
            if one.name == on.name:
                return True
            if one.name not in seen and self.place(one) > limit:
                seen.add(one.name)
                todo += [source for source in one.op.inputs if source.dtype.is_floating]
        return False

    def key_operand(self, product: Any, turned: bool) -> int:
        """Returns which factor of a product of queries and keys holds the keys: that of the last axis of the scores.

        Args:
            product: The operation.
            turned: True if the last two axes of its result are exchanged before the softmax.
        """
        if product.type != "Einsum":
            return 0 if turned else 1
        equation = product.get_attr("equation").decode()
        factors, scores = equation.split("->")
        return 0 if scores[-2 if turned else -1] in factors.split(",")[0] else 1

    def exchanges_last_axes(self, operation: Any) -> bool:
        """True for a transposition after which the last axis is the last but one, as Keras' `einsum` makes them."""
        raise NotImplementedError


def trace_of(model: keras.Model) -> Trace:
    """Returns the trace of a model; where it takes no open sizes (chunks, a loop in Python), with a length assumed.

    Raises:
        Exception: what the model raises on placeholders.
    """
    module, kind, lengths = _KINDS["tensorflow" if NAME == "tensorflow" else "others"]
    made = getattr(importlib.import_module(f"tf_autodropout.surgery.{module}"), kind)
    found: list[Trace] = []
    for length in lengths:
        with contextlib.suppress(Exception):  # whatever somebody's code raises
            found.append(made(model, length))
            if not found[-1].opaque:
                break
    return min(found, key=lambda trace: trace.opaque) if found else made(model, lengths[-1])


def inputs_of_call(model: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a model as Keras tensors."""
    if why_closed(model) is None:
        return (inputs_of(graph_of(model)),), {}
    config = model.get_build_config() or {}
    if "shapes_dict" in config:
        return (), {name.removesuffix("_shape"): _tensors_of(shape) for name, shape in config["shapes_dict"].items()}
    return (_tensors_of(config["input_shape"]),), {}


def _tensors_of(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {name: _tensors_of(one) for name, one in shape.items()}
    if isinstance(shape, list | tuple) and any(isinstance(one, list | tuple | dict) for one in shape):
        return type(shape)(_tensors_of(one) for one in shape)
    return keras.KerasTensor(tuple(shape), "float32")
