"""Stateless random bits by an integer hash of (key, counter).

Why not `tf.random`: its generators cost 10 to 100 times more under XLA on a CPU, and their bits may
differ between XLA and TensorFlow kernels. An integer hash is the same everywhere, to the bit.

The mixer is the 32-bit xor-shift-multiply of C. Wellons ("lowbias32", 2018, public domain
constants: bias 0.17 over all input/output bit pairs), with the second half of a 64-bit key put in
between its two multiplications, so that two keys never give shifted copies of one sequence.
"""

import numbers
import operator
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from tf_autodropout.patterns.checks import shown

RATE_BITS = 24  # a rate is compared as a 24-bit integer: 1.0 is then exactly "always"

Words = tuple[tf.Tensor, ...]  # what fixes a key: `words_of` a seed, and a replica if there is one

_OWN_KEY = 2**18  # entries from which on an example has a key of its own: far below 2^32 by any batch

Key = tuple[tf.Tensor, tf.Tensor]  # two of uint32, scalars or such that broadcast with the counters


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
    return key_of(words_of(seed))


def seed_word(seed: int) -> int:
    """Returns a seed as 32 bits: itself where it has no more, else a checksum of it."""
    return seed if 0 <= seed < 2**32 else zlib.crc32(str(seed).encode())


def words_of(seed: Any) -> tf.Tensor:
    """Returns a seed as a small tensor, which compiled functions take: integers (2,) for a pair, (3,) for an int.

    Raises:
        ValueError: `seed` is not an int, a pair of ints or a tensor of shape (2,).
    """
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool):
        return tf.constant([int(seed) & 0xFFFFFFFF, int(seed) >> 32 & 0xFFFFFFFF, 1], tf.uint32)
    if tf.is_tensor(seed) and seed.shape == (2,):
        return seed
    try:
        if not isinstance(seed, list | tuple | np.ndarray):
            raise TypeError
        first, second = (operator.index(word) & 0xFFFFFFFF for word in seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"Invalid value for 'seed'. Expected an int or two ints. Received: seed={shown(seed)}"
        ) from None
    return tf.constant([first, second], tf.uint32)


def key_of(words: tf.Tensor, replica: Any = None) -> Key:
    """Returns the key of a seed, with the number of a replica folded into it if there is one."""
    first, second, *kind = tf.unstack(tf.cast(words, tf.uint32))
    key = fold_in((first, second), *kind or [2])
    return key if replica is None else fold_in(key, replica)


def uniform_below(key: Key, counter: tf.Tensor, limit: Any) -> tf.Tensor:
    """Draws int32 uniformly in `0 ... limit - 1`; the bias of the remainder is below limit / 2^31."""
    return tf.truncatemod(positive(random_bits(key, counter)), tf.cast(limit, tf.int32))


def positive(bits: tf.Tensor) -> tf.Tensor:
    """Returns 31 of 32 random bits as an int32 that is not negative."""
    return tf.cast(tf.bitwise.right_shift(bits, _u32(1)), tf.int32)


def bernoulli(key: Key, counter: tf.Tensor, threshold: Any) -> tf.Tensor:
    """Draws True with probability `threshold / 2^24` (see `RATE_BITS`)."""
    return is_drawn(random_bits(key, counter), threshold)


def is_drawn(bits: tf.Tensor, threshold: Any) -> tf.Tensor:
    """True for `threshold / 2^24` of all random bits."""
    return tf.cast(tf.bitwise.right_shift(bits, _u32(32 - RATE_BITS)), tf.int32) < tf.cast(threshold, tf.int32)


def counters(*sizes: Any) -> tf.Tensor:
    """Returns `0 ... prod(sizes) - 1` as uint32, shaped `sizes`."""
    total: Any = 1
    for size in sizes:
        total = total * size
    return tf.cast(tf.reshape(tf.range(total), sizes), tf.uint32)


def by_example(key: Key, n: Any, entries: Any, rank: int) -> tuple[Key, tf.Tensor]:
    """Returns the key and the first counter of each example, which broadcast over a tensor of this rank.

    Counters end at 2^32. So examples with many entries count from 0, each with a key of its own; those of small ones go
    on from each other. What an example is depends on its own size only, so that the mask does not depend on what is
    known of the batch.

    Args:
        key: Key of the whole tensor.
        n: Number of examples.
        entries: Counters that an example needs, an int or a scalar tensor.
        rank: Rank of the tensor; examples are on axis 0.
    """
    shape = [-1] + [1] * (rank - 1)
    example = tf.reshape(tf.range(n), shape)
    in_line = tf.cast(example, tf.uint32) * tf.cast(entries, tf.uint32)
    if isinstance(entries, int) and entries < _OWN_KEY:
        return key, in_line
    large = tf.cast(entries >= _OWN_KEY, tf.bool)
    first, second = (tf.where(large, new, old) for new, old in zip(fold_in(key, example), key, strict=True))
    return (first, second), tf.where(large, _u32(0), in_line)
