"""A child that reads texts segment after segment and carries a memory: Transformer-XL."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.search.children.child import Child, Split


def segments(tokens: np.ndarray, length: int, streams: int) -> Split:
    """Cuts a text into segments, and these into streams that are read side by side.

    Args:
        tokens: int32 `(tokens,)`.
        length: T, tokens per segment.
        streams: Number of streams, the batch size. Stream b begins where stream b - 1 ends.

    Returns:
        Inputs are the `tokens` `(N, T)` and whether a segment is the `first` of its stream, `(N,)`; targets are
        the tokens that follow each, `(N, T)`. Fewer than T + 1 tokens are left over at the end.
    """
    text, count = tf.constant(tokens, tf.int32), (len(tokens) - 1) // length
    each = -(-count // streams)

    def examples(index: tf.Tensor) -> tuple[Any, tf.Tensor]:
        window = tf.gather(text, length * index[:, None] + tf.range(length + 1)[None, :])  # (N, T + 1)
        return {"tokens": window[:, :-1], "first": index % each == 0}, window[:, 1:]

    return Split(examples, count)


class SegmentChild(Child):
    """A `Child` whose model hands a memory from one segment of a stream to the next.

    Each step reads the next segment of every stream; the memory is empty where a stream begins: at the start of
    each trial, epoch and evaluation.

    Args:
        model: As of `transformer_xl`, for any memory length, built with `mutable=True`.
        optimizer: See `Child`.
        loss: See `Child`.
        train: Of `segments`, with `batch_size` streams; the segments must fill them.
        steps: See `Child`.
        batch_size: Streams read side by side.
        memory_length: M, tokens remembered while training.
        evaluation_memory_length: M while evaluating.
        evaluation_batch_size: Streams while evaluating, the `batch_size` of `evaluate`.
        **kwargs: See `Child`.

    Raises:
        ValueError: training segments that do not fill the streams.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        train: Split,
        steps: int,
        batch_size: int,
        memory_length: int,
        evaluation_memory_length: int,
        evaluation_batch_size: int,
        **kwargs: Any,
    ) -> None:
        if tf.distribute.has_strategy():
            kwargs["jit_compile"] = False  # XLA does not compile a replica's own variables: the memory
        super().__init__(model, optimizer, loss, train, steps, batch_size, **kwargs)
        if train.count % batch_size:
            raise ValueError(f"Expected {batch_size} streams of equal length. Received: {train.count} segments")
        layers, features = model.input["memory"].shape[1], model.input["memory"].shape[3]
        self._state = {
            True: _empty((batch_size, layers, memory_length, features)),
            False: _empty((evaluation_batch_size, layers, evaluation_memory_length, features)),
        }

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        epoch = self._evaluation_order(self._train.count, self.batch_size)
        return np.resize(epoch, (self.steps, self.batch_size)).astype(np.int32)

    def _evaluation_order(self, count: int, batch_size: int) -> np.ndarray:
        return super()._evaluation_order(count, batch_size).reshape(batch_size, -1).T

    def _logits(self, inputs: Any, training: bool) -> tf.Tensor:
        memory, remembered = self._state[training]
        first = inputs["first"]
        outputs = self.model(
            {
                "tokens": inputs["tokens"],
                # What a diverged trial has left may be NaN, and 0 * NaN is: so it is not only not attended to.
                "memory": tf.where(first[:, None, None, None], 0.0, memory),
                "remembered": tf.where(first, 0, remembered),
            },
            training=training,
        )
        memory.assign(tf.cast(outputs["memory"], tf.float32))
        remembered.assign(outputs["remembered"])
        return outputs["logits"]


def _empty(shape: tuple[int, int, int, int]) -> tuple[tf.Variable, tf.Variable]:
    """Memory and count of each stream; under a strategy every replica has those of its own streams."""
    streams = shape[0] // tf.distribute.get_strategy().num_replicas_in_sync
    own = {
        "trainable": False,
        "synchronization": tf.VariableSynchronization.ON_READ,
        "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
    }
    return tf.Variable(tf.zeros((streams, *shape[1:])), **own), tf.Variable(tf.zeros((streams,), tf.int32), **own)
