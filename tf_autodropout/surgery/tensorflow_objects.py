"""How objects of TensorFlow are copied with a model, see `copying`."""

from typing import Any

import tensorflow as tf

_MODULES = ("tensorflow", "tensorflow_text")
FUNCTIONS = (tf.types.experimental.PolymorphicFunction,)  # that hold one of Python
VARIABLES = (tf.Variable,)


def is_foreign(kind: type) -> bool:
    """True for a class of TensorFlow."""
    return kind.__module__.split(".")[0] in _MODULES


def wrapped(x: Any) -> Any:
    """Returns a list, tuple or dict as TensorFlow holds those that belong to a layer."""
    return tf.__internal__.tracking.wrap(x)


def teach(copier: type) -> None:
    """Teaches the copier of models the classes of TensorFlow.

    Args:
        copier: Its class, whose `_new` dispatches on classes.
    """
    register = copier._new.register  # type: ignore[attr-defined]

    @register(tf.Tensor)
    @register(tf.saved_model.experimental.TrackableResource)
    def constant(self: Any, x: Any) -> Any:
        return x

    @register(FUNCTIONS[0])
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


def finish(operation: Any) -> None:
    """Does what a copied layer still needs: nothing here."""
