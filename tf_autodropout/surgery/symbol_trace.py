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
from tf_autodropout.layers.keras_internals import all_layers, calls_forgotten
from tf_autodropout.surgery.tracing import Call, Trace, inputs_of_call

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
_OPERATORS = ("__add__", "__sub__", "__mul__", "__truediv__", "__pow__", "__matmul__")
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


@contextlib.contextmanager
def _symbols_come_first() -> Iterator[None]:
    """Lets `weight * symbol` and `array * symbol` be operations of Keras, as `symbol * weight` is."""

    def deferring(method: Any) -> Any:
        @functools.wraps(method)
        def operator(self: Any, other: Any) -> Any:
            return NotImplemented if isinstance(other, keras.KerasTensor) else method(self, other)

        return operator

    def no_array(self: Any) -> Any:
        raise AttributeError("a symbol is no array")

    with contextlib.ExitStack() as patches:
        for name in _OPERATORS:
            patches.enter_context(mock.patch.object(keras.Variable, name, deferring(getattr(keras.Variable, name))))
        if hasattr(keras.KerasTensor, "__jax_array__"):
            patches.enter_context(mock.patch.object(keras.KerasTensor, "__jax_array__", property(no_array)))
        yield


class SymbolTrace(Trace):
    """The trace of a model that is run once on Keras' symbols.

    Args:
        model: A model that is built. Pattern layers count as the identity.
        length: What a size counts as that the model leaves open, the batch excepted.

    Raises:
        Exception: what the model raises on symbols.
    """

    length: int

    def __init__(self, model: keras.Model, length: int) -> None:
        super().__init__(length)
        self.opaque = 0  # layers, but for Keras' own, that are seen from outside only
        self._made: list[_Operation] = []
        self._symbols: dict[int, _Symbol] = {}
        self._alive: list[Any] = []  # or another tensor could get the identity of one that is gone
        self._number = itertools.count()
        layers = [
            layer for layer in all_layers(model, include_self=True) if not isinstance(layer, keras.layers.InputLayer)
        ]
        args, kwargs = inputs_of_call(model)
        with calls_forgotten(), self._recorded(layers), keras.StatelessScope():
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
        """Lets layers and operations report their calls on symbols."""
        trace = self

        def symbolic_call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = operation.compute_output_spec(*args, **kwargs)
            trace._record(operation, (args, kwargs), outputs)
            return outputs

        try:
            for layer in layers:
                layer.__dict__["symbolic_call"] = functools.partial(self._report, layer)
            with mock.patch.object(keras.Operation, "symbolic_call", symbolic_call), _symbols_come_first():
                yield
        finally:
            for layer in layers:
                layer.__dict__.pop("symbolic_call", None)

    def _report(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, PatternDropout):
            return args[0]
        around = self._stack[-1] if self._stack else None
        call = Call(layer, around, self._tensors((args, kwargs)), len(self._made))
        calls = len(self.calls)
        self._stack.append(call)
        try:
            outputs = keras.tree.map_structure(self._as_symbol, layer.call(*args, **kwargs))
            made = all(one is None or id(one) in self._symbols for one in keras.tree.flatten(outputs))
        except Exception:  # whatever a layer that asks the backend says to symbols
            made = False
        finally:
            self._stack.pop()
        if not made:
            self.opaque += not type(layer).__module__.startswith("keras.")
            if around is None:
                raise RuntimeError(f"{type(layer).__name__} does not run on symbols")
            del self._made[call.first :], self.calls[calls:]
            outputs = type(layer).compute_output_spec(layer, *args, **kwargs)
            self._record(layer, (args, kwargs), outputs)
        call.outputs, call.last = self._tensors(outputs), len(self._made)
        self.calls.append(call)
        return outputs

    def _as_symbol(self, tensor: Any) -> Any:
        """Returns what a layer gives; a symbol for a tensor that no input is in, of positions for one."""
        if isinstance(tensor, keras.KerasTensor) or not keras.ops.is_tensor(tensor):
            return tensor
        symbol = keras.KerasTensor(tensor.shape, keras.backend.standardize_dtype(tensor.dtype))
        self._know(symbol, self._operation("BroadcastTo", self._inputs(tensor)).make(symbol.shape, symbol.dtype))
        return symbol

    def _record(self, source: Any, arguments: Any, outputs: Any) -> None:
        kind = type(source).__name__
        if kind == "DotProductAttention":
            self._record_attention(arguments, outputs)
            return
        kind = "Softmax" if isinstance(source, keras.layers.Softmax) else _TYPES.get(kind, kind)
        operation = self._operation(kind, self._inputs(arguments), source)
        for one in keras.tree.flatten(outputs):
            if one is not None:
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
        shape = (*sizes, *(self.length if size is None else size for size in spec.shape[1:]))
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
