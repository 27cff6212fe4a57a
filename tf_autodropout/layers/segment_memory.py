"""What a Transformer-XL carries from one segment of a text to the next."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tf_autodropout.layers.registration import registered


@registered
class SegmentMemory(keras.layers.Layer):
    """Appends the inputs of each layer to the memory and forgets what is older than its length.

    Call arguments:
        memory: `(N, layers, M, C)`, the oldest token first.
        remembered: Integers `(N,)`: how many of the M tokens, counted from the last, are there.
        states: For each layer its inputs `(N, T, C)` of this segment.

    Output shape:
        The new memory and the new count, of the shapes they came with.

    Example:
        >>> import numpy as np
        >>> from tf_autodropout.layers.segment_memory import SegmentMemory
        >>> segment = np.ones((1, 2, 8))  # two tokens
        >>> memory, remembered = SegmentMemory()(np.zeros((1, 1, 3, 8)), np.array([0]), [segment])
        >>> np.array(memory)[0, 0, :, 0], np.array(remembered)
        (array([0., 1., 1.], dtype=float32), array([2], dtype=int32))

    Reference:
        Dai et al., Transformer-XL, ACL 2019, Section 3.2.
    """

    def call(self, memory: Any, remembered: Any, states: Sequence[Any]) -> tuple[Any, Any]:
        length, reach = ops.shape(states[0])[1], ops.shape(memory)[2]
        appended = ops.concatenate([memory, ops.stack(states, 1)], 2)  # (N, layers, M + T, C)
        count = ops.minimum(ops.cast(remembered, "int32") + length, reach)
        return ops.stop_gradient(appended[:, :, length:]), count

    def compute_output_spec(self, memory: Any, remembered: Any, states: Any) -> tuple[Any, Any]:
        count = keras.KerasTensor(remembered.shape, dtype="int32")
        return keras.KerasTensor(memory.shape, dtype=self.compute_dtype), count
