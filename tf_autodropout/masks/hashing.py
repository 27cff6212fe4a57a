"""Stateless random bits by an integer hash of (key, counter).

Why not `tf.random`: its generators cost 10 to 100 times more under XLA on a CPU, and their bits may
differ between XLA and TensorFlow kernels. An integer hash is the same everywhere, to the bit.

The mixer is the 32-bit xor-shift-multiply of C. Wellons ("lowbias32", 2018, public domain
constants: bias 0.17 over all input/output bit pairs), with the second half of a 64-bit key put in
between its two multiplications, so that two keys never give shifted copies of one sequence.
"""

import numbers
import operator
from typing import Any

import tensorflow as tf

RATE_BITS = 24  # a rate is compared as a 24-bit integer: 1.0 is then exactly "always"

Key = tuple[tf.Tensor, tf.Tensor]  # two uint32 scalars


def _u32(value: int) -> tf.Tensor:
    return tf.constant(value & 0xFFFFFFFF, tf.uint32)


def _fold_down(x: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(bits)))


def random_bits(key: Key, counter: tf.Tensor) -> tf.Tensor:
    """Returns 32 random bits for each `counter` (uint32, any shape)."""
    x = _fold_down(counter + key[0], 16) * _u32(0x7FEB352D)
    x = tf.bitwise.bitwise_xor(x, key[1])
    x = _fold_down(x, 15) * _u32(0x846CA68B)
    return _fold_down(x, 16)


def _as_u32(value: Any) -> tf.Tensor:
    if isinstance(value, int):
        return _u32(value)
    return tf.cast(value, tf.uint32)


def fold_in(key: Key, data: Any) -> Key:
    """Derives a new key from `key` and an integer (Python or scalar tensor)."""
    data = _as_u32(data)
    first = random_bits(key, data)
    return first, random_bits((key[1], first), data + _u32(0x9E3779B9))


def make_key(seed: Any) -> Key:
    """Makes a key from an int, a pair of ints or a tensor of shape (2,).

    Raises:
        ValueError: `seed` is none of these.
    """
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool):
        seed = int(seed)
        return fold_in((_u32(seed), _u32(seed >> 32)), 1)
    if tf.is_tensor(seed) and seed.shape == (2,):
        first, second = tf.unstack(seed)
        return fold_in((_as_u32(first), _as_u32(second)), 2)
    try:
        first, second = (operator.index(word) for word in seed)
    except (TypeError, ValueError):
        raise ValueError(f"Invalid value for 'seed'. Expected an int or two ints. Received: seed={seed!r}") from None
    return fold_in((_u32(first), _u32(second)), 2)


def uniform_below(key: Key, counter: tf.Tensor, limit: Any) -> tf.Tensor:
    """Draws int32 uniformly in `0 ... limit - 1`; the bias of the remainder is below limit / 2^31."""
    return tf.truncatemod(positive_bits(key, counter), tf.cast(limit, tf.int32))


def positive_bits(key: Key, counter: tf.Tensor) -> tf.Tensor:
    """Returns 31 random bits for each `counter` as an int32 that is not negative."""
    return tf.cast(tf.bitwise.right_shift(random_bits(key, counter), _u32(1)), tf.int32)


def bernoulli(key: Key, counter: tf.Tensor, threshold: Any) -> tf.Tensor:
    """Draws True with probability `threshold / 2^24` (see `RATE_BITS`)."""
    bits = tf.bitwise.right_shift(random_bits(key, counter), _u32(32 - RATE_BITS))
    return tf.cast(bits, tf.int32) < tf.cast(threshold, tf.int32)


def counters(*sizes: Any) -> tf.Tensor:
    """Returns `0 ... prod(sizes) - 1` as uint32, shaped `sizes`."""
    total: Any = 1
    for size in sizes:
        total = total * size
    return tf.cast(tf.reshape(tf.range(total), sizes), tf.uint32)
