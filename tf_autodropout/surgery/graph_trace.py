"""What a training step of a model calls on TensorFlow: read from a graph of TensorFlow."""

import functools
from typing import Any

import keras
import tensorflow as tf

from tf_autodropout.layers import PatternDropout
from tf_autodropout.layers.keras_internals import all_layers
from tf_autodropout.surgery.tracing import Call, Trace, inputs_of_call


class GraphTrace(Trace):
    """The trace of a model that is run once on placeholders of a graph of TensorFlow.

    Args:
        model: A model that is built. Pattern layers count as the identity.
        length: What a size counts as that the model leaves open, the batch excepted; None leaves it open here too.

    Raises:
        Exception: what the model raises on placeholders.
    """

    def __init__(self, model: keras.Model, length: int | None = None) -> None:
        super().__init__(length)
        self._graph = tf.__internal__.FuncGraph("sites")  # as Keras does to find out shapes
        layers = [
            layer for layer in all_layers(model, include_self=True) if not isinstance(layer, keras.layers.InputLayer)
        ]
        args, kwargs = inputs_of_call(model)
        try:
            for layer in layers:
                self._watch(layer)
            with keras.StatelessScope(), self._graph.as_default():
                args, kwargs = keras.tree.map_structure(lambda x: _placeholder(x, length), (args, kwargs))
                model(*args, **kwargs, training=True)
        finally:
            for layer in layers:
                for name in ("call", "quantized_call"):
                    layer.__dict__.pop(name, None)
        self._index(self._graph.get_operations())

    def _watch(self, layer: Any) -> None:
        """Lets a layer report its calls. An entry of the instance comes before the method of the class."""
        for name in ("call", "quantized_call"):
            method = getattr(layer, name)
            layer.__dict__[name] = functools.partial(self._report, layer, method)

    def _report(self, layer: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, PatternDropout):
            return args[0]
        around = self._stack[-1] if self._stack else None
        call = Call(layer, around, self._tensors((args, kwargs)), self._graph.version)
        self._stack.append(call)
        try:
            outputs = method(*args, **kwargs)
        finally:
            self._stack.pop()
        call.outputs, call.last = self._tensors(outputs), self._graph.version
        self.calls.append(call)
        return outputs

    def _tensors(self, nest: Any) -> list[Any]:
        """The tensors in a nest; those inside a loop are of another graph and are left out."""
        leaves = keras.tree.flatten(nest)
        return [leaf for leaf in leaves if tf.is_symbolic_tensor(leaf) and leaf.graph is self._graph]

    def exchanges_last_axes(self, operation: Any) -> bool:
        if operation.type != "Transpose" or (order := tf.get_static_value(operation.inputs[1])) is None:
            return False
        return len(order) > 1 and int(order[-1]) == len(order) - 2


def _placeholder(spec: Any, length: int | None) -> Any:
    if not isinstance(spec, keras.KerasTensor):
        return spec
    make = tf.compat.v1.sparse_placeholder if spec.sparse else tf.compat.v1.placeholder
    return make(spec.dtype, [*spec.shape[:1], *(length if size is None else size for size in spec.shape[1:])])
