"""Objects of TensorFlow: tensors, tables and tokenizers, which are shared; variables and functions, which are not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_autodropout.surgery.objects import Objects


class Own(Objects):
    """Those of TensorFlow."""

    MODULES = ("tensorflow", "tensorflow_text")
    FUNCTIONS = (tf.types.experimental.PolymorphicFunction,)
    VARIABLES = (tf.Variable,)

    def wrapped(self, x: Any) -> Any:
        return tf.__internal__.tracking.wrap(x)

    def teach(self, copier: type) -> None:
        register = copier._new.register  # type: ignore[attr-defined]

        @register(tf.Tensor)
        @register(tf.saved_model.experimental.TrackableResource)
        def constant(self: Any, x: Any) -> Any:
            return x

        @register(self.FUNCTIONS[0])
        def traced(self: Any, x: Any) -> Any:
            return x._clone(self.copied(x.python_function)) if self.has_state(x.python_function) else x

        @register(tf.Variable)
        def variable(self: Any, x: Any) -> Any:
            return tf.Variable(
                x,
                trainable=x.trainable,
                name=x.name.split(":")[0],
                dtype=x.dtype,
                synchronization=x.synchronization,
                aggregation=x.aggregation,
                shape=x.shape,
            )

        @register(tf.__internal__.tracking.TrackableReference)
        def checkpoint_reference(self: Any, x: Any) -> Any:
            return type(x)(name=x.name, ref=self.copied(x.ref))

    def copied(self, value: Any) -> tf.Tensor:
        return tf.convert_to_tensor(value)

    def in_strategy(self) -> bool:
        inside: bool = tf.distribute.has_strategy()
        return inside

    def as_spec(self, value: np.ndarray, spec: Any) -> Any:
        tensor = tf.constant(value) if spec.dtype == "string" else tf.cast(value, spec.dtype)
        if spec.sparse:
            return tf.sparse.from_dense(tensor)
        return tf.RaggedTensor.from_tensor(tensor) if spec.ragged else tensor

    def to_arrays(self, nest: Any) -> list[np.ndarray]:
        return [np.asarray(one) for one in tf.nest.flatten(nest, expand_composites=True)]

    def call_on_symbols(self, function: Callable[..., Any], specs: Any) -> None:
        specs = tf.nest.map_structure(lambda one: tf.TensorSpec(tuple(one.shape), one.dtype), specs)
        tf.function(function, autograph=False).get_concrete_function(specs)
