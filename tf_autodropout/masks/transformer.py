"""What a `TransformerPattern` drops on `(N, T, C)`, or with the tokens on any other axis."""

from typing import Any

import tensorflow as tf

from tf_autodropout.masks.drop import Drop
from tf_autodropout.masks.hashing import Key, bernoulli, counters, fold_in, uniform_below
from tf_autodropout.masks.values import TransformerValues


def transformer_drop(values: TransformerValues, shape: tuple[Any, ...], key: Key, token_axis: int) -> Drop:
    """Draws what one mask drops.

    Args:
        values: The pattern, constants or scalar tensors; `share_c` a constant.
        shape: Axis 0 is the example, `token_axis` the token, all others together are C.
        key: Random key of this layer, step and replica.
        token_axis: Axis of the tokens: 1 for `(N, T, C)`, 3 for attention `(N, heads, T, keys)`.

    Returns:
        `Drop`, which broadcasts to `shape`.
    """
    rank = len(shape)
    n, t = shape[0], shape[token_axis]
    size, stride = (tf.cast(value, tf.int32) for value in (values.size, values.stride))
    period = tf.maximum(size + stride, 1)
    start = uniform_below(fold_in(key, 1), counters(n), period)  # (N,)
    start = tf.where(size >= t, 0, start)
    past = tf.range(t)[None, :] - start[:, None]  # (N, T) tokens since the start
    affected = tf.logical_and(past >= 0, tf.math.floormod(past, period) < size)
    block = tf.math.floordiv(past, period)
    draw = tf.where(tf.cast(values.share_t, tf.bool), block, tf.range(t)[None, :])  # (N, T)
    draw = draw + t * tf.range(n)[:, None]

    feature_sizes = [1 if axis in (0, token_axis) or values.share_c else shape[axis] for axis in range(rank)]
    features: Any = 1
    for axis in range(rank):
        features = features * (1 if axis in (0, token_axis) else shape[axis])

    def on_tokens(x: tf.Tensor) -> tf.Tensor:  # (N, T) -> broadcasts over C
        return tf.reshape(x, [n if axis == 0 else t if axis == token_axis else 1 for axis in range(rank)])

    # As many features as there are, shared or not: both draw the same for the first one.
    counter = tf.cast(on_tokens(draw * features), tf.uint32) + counters(*feature_sizes)
    drawn = bernoulli(fold_in(key, 2), counter, values.rate)
    return Drop(drawn, on_tokens(affected), n * t * (1 if values.share_c else features))
