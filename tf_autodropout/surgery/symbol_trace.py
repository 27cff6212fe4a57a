"""What a training step of a model calls on JAX and PyTorch: read from Keras' own symbols.

Layers are run on `keras.KerasTensor`s, and each operation of `keras.ops` tells what it takes and makes. A layer whose
code asks the backend itself, which has no symbols, counts as one operation.
"""

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import keras

from tf_autodropout.layers import PatternDropout
from tf_autodropout.layers.keras_internals import all_layers, calls_of, names_kept, readers_of
from tf_autodropout.surgery.tracing import Call, Trace, inputs_of_call

_LENGTH = 448  # of what a model leaves open: of many divisors, and seldom a size of its own
_BATCH = 2
_TYPES = {  # of TensorFlow, by which `Roles` asks
    "Add": "AddV2",
    "Cast": "Cast",
    "Conv": "Conv2D",
    "ConvertToTensor": "Identity",
    "DepthwiseConv": "DepthwiseConv2dNative",
    "Dot": "BatchMatMulV2",
    "Matmul": "BatchMatMulV2",
}
_WEIGHT, _PLACEHOLDER = "ReadVariableOp", "Placeholder"


class _Shape(tuple[int | None, ...]):
    """A shape that tells its rank, as TensorFlow's do."""

    @property
    def rank(self) -> int:
        return len(self)


class _Type:
    """The dtype of a tensor."""

    def __init__(self, dtype: Any) -> None:
        self.is_floating = keras.backend.is_float_dtype(keras.backend.standardize_dtype(dtype))


class _Symbol:
    """A tensor of the trace."""

    def __init__(self, name: str, operation: "_Operation", shape: Any, dtype: Any) -> None:
        self.name, self.op, self.shape, self.dtype = name, operation, _Shape(shape), _Type(dtype)


class _Operation:
    """An operation of the trace.

    Args:
        name: Its own.
        kind: Its type.
        inputs: What it takes: tensors and weights.
        source: The operation of Keras.
    """

    def __init__(self, name: str, kind: str, inputs: Sequence[_Symbol], source: Any = None) -> None:
        self.name, self.type, self.inputs, self.source = name, kind, list(inputs), source
        self.outputs: list[_Symbol] = []

    def make(self, shape: Any, dtype: Any) -> _Symbol:
        """Returns another output."""
        self.outputs.append(_Symbol(f"{self.name}:{len(self.outputs)}", self, shape, dtype))
        return self.outputs[-1]

    def get_attr(self, name: str) -> bytes:
        """Returns the equation of an `Einsum`."""
        equation: str = self.source if isinstance(self.source, str) else self.source.subscripts
        return equation.replace(" ", "").encode()


class SymbolTrace(Trace):
    """The trace of a model that is run once on Keras' symbols.

    Args:
        model: A model that is built. Pattern layers count as the identity.

    Raises:
        Exception: what the model raises on symbols.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(_LENGTH)
        self._made: list[_Operation] = []
        self._symbols: dict[int, _Symbol] = {}
        self._alive: list[Any] = []  # or another tensor could get the identity of one that is gone
        self._number = itertools.count()
        layers = [
            layer for layer in all_layers(model, include_self=True) if not isinstance(layer, keras.layers.InputLayer)
        ]
        args, kwargs = inputs_of_call(model)
        with names_kept(), self._recorded(layers), keras.StatelessScope():
            args, kwargs = keras.tree.map_structure(self._placeholder, (args, kwargs))
            model(*args, **kwargs, training=True)
        self._index(self._made)

    def shape(self, tensor: Any) -> tuple[int | None, ...]:
        return (None, *super().shape(tensor)[1:]) if tensor.shape else ()

    def exchanges_last_axes(self, operation: Any) -> bool:
        rank = len(operation.inputs[0].shape) if operation.inputs else 0
        match type(operation.source).__name__:
            case "Transpose":
                axes = operation.source.axes or tuple(reversed(range(rank)))
                return rank > 1 and axes[-1] % rank == rank - 2
            case "Swapaxes":
                axes = (operation.source.axis1 % rank, operation.source.axis2 % rank)
                return rank > 1 and set(axes) == {rank - 1, rank - 2}
        return False

    @contextlib.contextmanager
    def _recorded(self, layers: Sequence[Any]) -> Iterator[None]:
        """Lets layers and operations report their calls on symbols; afterwards they know of none."""
        calls = [(one, len(one)) for layer in layers for one in (calls_of(layer), readers_of(layer))]
        trace = self

        def symbolic_call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = operation.compute_output_spec(*args, **kwargs)
            trace._record(operation, (args, kwargs), outputs)
            return outputs

        try:
            for layer in layers:
                layer.__dict__["symbolic_call"] = functools.partial(self._report, layer)
            with mock.patch.object(keras.Operation, "symbolic_call", symbolic_call):
                yield
        finally:
            for layer in layers:
                layer.__dict__.pop("symbolic_call", None)
            for one, length in calls:
                del one[length:]

    def _report(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, PatternDropout):
            return args[0]
        around = self._stack[-1] if self._stack else None
        call = Call(layer, around, self._tensors((args, kwargs)), len(self._made))
        calls = len(self.calls)
        self._stack.append(call)
        try:
            outputs = layer.call(*args, **kwargs)
            made = all(id(one) in self._symbols for one in keras.tree.flatten(outputs))
        except Exception:  # whatever a layer that asks the backend says to symbols
            made = False
        finally:
            self._stack.pop()
        if not made:
            if around is None:
                raise RuntimeError(f"{type(layer).__name__} does not run on symbols")
            del self._made[call.first :], self.calls[calls:]
            outputs = type(layer).compute_output_spec(layer, *args, **kwargs)
            self._record(layer, (args, kwargs), outputs)
        call.outputs, call.last = self._tensors(outputs), len(self._made)
        self.calls.append(call)
        return outputs

    def _record(self, source: Any, arguments: Any, outputs: Any) -> None:
        kind = type(source).__name__
        if kind == "DotProductAttention":
            self._record_attention(arguments, outputs)
            return
        kind = "Softmax" if isinstance(source, keras.layers.Softmax) else _TYPES.get(kind, kind)
        operation = self._operation(kind, self._inputs(arguments), source)
        for one in keras.tree.flatten(outputs):
            self._know(one, operation.make(one.shape, one.dtype))

    def _record_attention(self, arguments: Any, outputs: Any) -> None:
        """Takes a fused attention for what it computes: a product, a softmax of it, and a product with the values."""
        args, kwargs = arguments
        named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        query, key, value = (self._inputs(named[name])[0] for name in ("query", "key", "value"))
        shape = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
        scores = self._operation("Einsum", (query, key), "nqhd,nkhd->nhqk").make(shape, outputs.dtype)
        probabilities = self._operation("Softmax", (scores,)).make(shape, outputs.dtype)
        mixed = self._operation("Einsum", (probabilities, value), "nhqk,nkhd->nqhd")
        self._know(outputs, mixed.make(outputs.shape, outputs.dtype))

    def _operation(self, kind: str, inputs: Sequence[_Symbol], source: Any = None) -> _Operation:
        operation = _Operation(f"{kind}_{next(self._number)}", kind, inputs, source)
        self._made.append(operation)
        return operation

    def _know(self, tensor: Any, symbol: _Symbol) -> None:
        self._symbols[id(tensor)] = symbol
        self._alive.append(tensor)

    def _placeholder(self, spec: Any) -> Any:
        if not isinstance(spec, keras.KerasTensor):
            return spec
        sizes = [_BATCH if spec.shape[0] is None else spec.shape[0]] if spec.shape else []
        shape = (*sizes, *(_LENGTH if size is None else size for size in spec.shape[1:]))
        tensor = keras.KerasTensor(shape, spec.dtype, sparse=spec.sparse)
        self._know(tensor, self._operation(_PLACEHOLDER, ()).make(shape, spec.dtype))
        return tensor

    def _tensors(self, nest: Any) -> list[Any]:
        leaves = keras.tree.flatten(nest)
        return [self._symbols[id(leaf)] for leaf in leaves if id(leaf) in self._symbols]

    def _inputs(self, nest: Any) -> list[_Symbol]:
        """The tensors in a nest, and the weights and constants of floating point."""
        found = []
        for leaf in keras.tree.flatten(nest):
            if id(leaf) in self._symbols:
                found.append(self._symbols[id(leaf)])
            elif isinstance(leaf, keras.Variable) or keras.ops.is_tensor(leaf) or hasattr(leaf, "__array__"):
                found.append(self._operation(_WEIGHT, ()).make(leaf.shape, leaf.dtype))
        return found
