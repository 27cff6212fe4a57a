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

from tf_autodropout.masks.backend import Tensor, xp
from tf_autodropout.patterns.checks import shown

RATE_BITS = 24  # a rate is compared as a 24-bit integer: 1.0 is then exactly "always"

Words = tuple[Tensor, ...]  # what fixes a key: `words_of` a seed, and a replica if there is one

_OWN_KEY = 2**18  # entries from which on an example has a key of its own: far below 2^32 by any batch

Key = tuple[Tensor, Tensor]  # two words (`xp.word`), scalars or such that broadcast with the counters


def random_bits(key: Key, counter: Tensor) -> Tensor:
    """Returns 32 random bits for each `counter`, words of any shape."""
    x = xp.scaled(xp.folded(counter + key[0], 16), 0x7FEB352D)
    x = xp.mixed(x, key[1])
    x = xp.scaled(xp.folded(x, 15), 0x846CA68B)
    return xp.folded(x, 16)


def fold_in(key: Key, data: Any) -> Key:
    """Derives a new key from `key` and an integer (Python or scalar tensor)."""
    data = xp.word(data)
    first = random_bits(key, data)
    return first, random_bits((key[1], first), data + xp.word(0x9E3779B9))


def make_key(seed: Any) -> Key:
    """Makes a key from an int, a pair of ints or a tensor of shape (2,).

    Raises:
        ValueError: `seed` is none of these.
    """
    return key_of(words_of(seed))


def seed_word(seed: int) -> int:
    """Returns a seed as 32 bits: itself where it has no more, else a checksum of it."""
    return seed if 0 <= seed < 2**32 else zlib.crc32(str(seed).encode())


def words_of(seed: Any) -> Tensor:
    """Returns a seed as a small tensor, which compiled functions take: integers (2,) for a pair, (3,) for an int.

    Raises:
        ValueError: `seed` is not an int, a pair of ints or a tensor of shape (2,).
    """
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool):
        return xp.word(np.array([int(seed) & 0xFFFFFFFF, int(seed) >> 32 & 0xFFFFFFFF, 1], np.uint32))
    if xp.is_tensor(seed) and seed.shape == (2,):
        return seed
    try:
        if not isinstance(seed, list | tuple | np.ndarray):
            raise TypeError
        first, second = (operator.index(word) & 0xFFFFFFFF for word in seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"Invalid value for 'seed'. Expected an int or two ints. Received: seed={shown(seed)}"
        ) from None
    return xp.word(np.array([first, second], np.uint32))


def key_of(words: Tensor, replica: Any = None) -> Key:
    """Returns the key of a seed, with the number of a replica folded into it if there is one."""
    first, second, *kind = xp.unstack(xp.word(words))
    key = fold_in((first, second), *kind or [2])
    return key if replica is None else fold_in(key, replica)


def uniform_below(key: Key, counter: Tensor, limit: Any) -> Tensor:
    """Draws int32 uniformly in `0 ... limit - 1`; the bias of the remainder is below limit / 2^31."""
    return xp.truncatemod(positive(random_bits(key, counter)), xp.cast(limit, xp.int32))


def positive(bits: Tensor) -> Tensor:
    """Returns 31 of 32 random bits as an int32 that is not negative."""
    return xp.cast(xp.shifted(bits, 1), xp.int32)


def bernoulli(key: Key, counter: Tensor, threshold: Any) -> Tensor:
    """Draws True with probability `threshold / 2^24` (see `RATE_BITS`)."""
    return is_drawn(random_bits(key, counter), threshold)


def is_drawn(bits: Tensor, threshold: Any) -> Tensor:
    """True for `threshold / 2^24` of all random bits."""
    return xp.cast(xp.shifted(bits, 32 - RATE_BITS), xp.int32) < xp.cast(threshold, xp.int32)


def counters(*sizes: Any) -> Tensor:
    """Returns `0 ... prod(sizes) - 1` as words, shaped `sizes`."""
    total: Any = 1
    for size in sizes:
        total = total * size
    return xp.word(xp.reshape(xp.range(total), sizes))


def by_example(key: Key, n: Any, entries: Any, rank: int) -> tuple[Key, Tensor]:
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
    example = xp.reshape(xp.range(n), shape)
    in_line = xp.word(example) * xp.word(entries)
    if isinstance(entries, int) and entries < _OWN_KEY:
        return key, in_line
    large = xp.cast(entries >= _OWN_KEY, xp.bool)
    first, second = (xp.where(large, new, old) for new, old in zip(fold_in(key, example), key, strict=True))
    return (first, second), xp.where(large, xp.word(0), in_line)
