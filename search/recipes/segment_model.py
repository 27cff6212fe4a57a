"""Transformer-XL in plain `fit`: the memory is in variables."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class SegmentModel(keras.Model):
    """Hands the memory of a Transformer-XL from one segment of its streams to the next.

    Inputs are a dictionary of `tokens`, int32 `(N, T)`, and `first`, booleans `(N,)`, True where a stream begins;
    outputs are logits `(N, T, V)`. `streams` and `segments` of this module make them.

    Args:
        network: Of `tad.models.transformer_xl`, for any lengths.
        batch_size: N, streams read side by side while training.
        memory_length: M, tokens remembered while training.
        evaluation_memory_length: M while evaluating.

    Example:
        >>> import numpy as np, tf_autodropout as tad
        >>> from tf_autodropout.search.recipes.segment_model import SegmentModel
        >>> network = tad.models.transformer_xl(50, num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=16)
        >>> model = SegmentModel(network, 2, 8, 16)
        >>> model({"tokens": np.zeros((2, 8), "int32"), "first": np.array([True, True])}).shape
        TensorShape([2, 8, 50])

    Reference:
        Dai et al., Transformer-XL, ACL 2019, Section 3.2.
    """

    def __init__(
        self, network: keras.Model, batch_size: int, memory_length: int, evaluation_memory_length: int
    ) -> None:
        super().__init__(name=f"{network.name}_segments")
        self.network = network
        _, layers, _, features = network.input["memory"].shape
        self._states = {}
        for training, length in ((True, memory_length), (False, evaluation_memory_length)):
            name = "training" if training else "evaluation"
            memory = self.add_weight(
                name=f"{name}_memory",
                shape=(batch_size, layers, length, features),
                initializer="zeros",
                dtype=network.compute_dtype,
                trainable=False,
            )
            count = self.add_weight(
                name=f"{name}_remembered", shape=(batch_size,), initializer="zeros", dtype="int32", trainable=False
            )
            self._states[training] = (memory, count)
        self.built = True  # as the network: a checkpoint can be loaded before the first step

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        memory, remembered = self._states[bool(training)]
        first = ops.cast(inputs["first"], "bool")
        outputs = self.network(
            {
                "tokens": inputs["tokens"],
                "memory": ops.where(first[:, None, None, None], 0, memory),
                "remembered": ops.where(first, 0, remembered),
            },
            training=training,
        )
        memory.assign(ops.cast(outputs["memory"], memory.dtype))
        remembered.assign(ops.cast(outputs["remembered"], "int32"))
        return outputs["logits"]


def segments(tokens: np.ndarray, length: int, batch_size: int, first_step: int = 0, endless: bool = True) -> Any:
    """Cuts a text into streams that are read side by side, segment after segment.

    Args:
        tokens: int32 `(tokens,)`. What does not fill the streams is left out.
        length: T, tokens per segment.
        batch_size: N, number of streams.
        first_step: The step to begin with.
        endless: Begin anew at the end; False for one pass.

    Returns:
        `tf.data.Dataset` of inputs as for `SegmentModel` and targets `(N, T)`, the tokens that follow.

    Raises:
        ValueError: fewer tokens than one segment of each stream.
    """
    each = (len(tokens) - 1) // (length * batch_size)  # segments of a stream
    if each < 1:
        raise ValueError(f"Expected at least {length * batch_size + 1} tokens. Received: {len(tokens)}")
    text = tf.constant(tokens, tf.int32)
    starts = tf.range(batch_size) * each * length

    def batch(step: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        place = tf.cast(step % each, tf.int32)
        window = tf.gather(text, starts[:, None] + place * length + tf.range(length + 1)[None, :])  # (N, T + 1)
        inputs = {"tokens": window[:, :-1], "first": tf.fill((batch_size,), place == 0)}
        return inputs, window[:, 1:]

    last = 1 << 48 if endless else each
    return tf.data.Dataset.range(first_step, last).map(batch).prefetch(tf.data.AUTOTUNE)
