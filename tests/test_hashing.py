"""The random bits: against an independent NumPy version, and by statistics.

Statistical tests use fixed seeds. A z-score beyond `LIMIT` has probability 2e-9; the tests look at up to 10^4 of them.
"""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tf_autodropout.masks import bernoulli, fold_in, make_key, random_bits
from tf_autodropout.masks.division import divided
from tf_autodropout.masks.hashing import counters, uniform_below

LIMIT = 6.0
LEVEL = 1e-4
N = 1 << 15
COUNTERS = np.arange(N, dtype=np.uint32)


def numpy_bits(key, counter):
    """lowbias32 of key[0] + counter, with key[1] put in between the multiplications; uint32 arithmetic."""
    with np.errstate(over="ignore"):
        x = np.asarray(counter, np.uint32) + np.uint32(key[0])
        x ^= x >> np.uint32(16)
        x = x * np.uint32(0x7FEB352D) ^ np.uint32(key[1])
        x ^= x >> np.uint32(15)
        x = x * np.uint32(0x846CA68B)
        return x ^ (x >> np.uint32(16))


def as_key(first, second):
    return tf.constant(first, tf.uint32), tf.constant(second, tf.uint32)


def words(key):
    return tuple(int(word) for word in key)


def unpacked(bits):
    """(n, 32) array of the single bits of n words."""
    return (np.asarray(bits)[:, None] >> np.arange(32, dtype=np.uint32) & 1).astype(np.float32)


def worst_bias(bits):
    """Largest z-score, over the 32 bits, of the count of ones."""
    ones = unpacked(bits).sum(0)
    return np.abs((ones - len(bits) / 2) / np.sqrt(len(bits) / 4)).max()


def worst_correlation(first, second):
    """Largest z-score, over the 32 x 32 pairs, of the agreement of a bit of `first` with a bit of `second`."""
    a, b = (2 * unpacked(bits) - 1 for bits in (first, second))
    return np.abs(a.T @ b / np.sqrt(len(a))).max()


KEYS = [(0, 0), (1, 0), (0, 1), (0xFFFFFFFF, 0xFFFFFFFF), (123456789, 0x9E3779B9)]


@pytest.mark.parametrize("key", KEYS)
def test_bits_equal_numpy_in_eager_graph_and_xla(key):
    counter = np.concatenate([COUNTERS[:1000], np.array([2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)])
    wanted = numpy_bits(key, counter)
    assert (random_bits(as_key(*key), tf.constant(counter)).numpy() == wanted).all()
    for jit_compile in (False, True):
        function = tf.function(lambda a, b, c: random_bits((a, b), c), jit_compile=jit_compile)
        assert (function(*as_key(*key), tf.constant(counter)).numpy() == wanted).all()


def test_keys_are_the_same_in_eager_graph_and_xla():
    def derive(seed):
        return fold_in(fold_in(make_key(seed), 3), seed[1])

    for seed in ([0, 0], [5, -7], [-1, 2**31 - 1]):
        seed = tf.constant(seed)
        wanted = words(derive(seed))
        for jit_compile in (False, True):
            assert words(tf.function(derive, jit_compile=jit_compile)(seed)) == wanted


def test_lowbias32_is_what_a_zero_key_gives():
    # Known values of the published function: its inverse pairs 0 with 0, and avalanche flips about half of the bits.
    zero = as_key(0, 0)
    assert int(random_bits(zero, tf.constant(0, tf.uint32))) == 0
    x = 1
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    x ^= x >> 16
    assert int(random_bits(zero, tf.constant(1, tf.uint32))) == x


KEYS_IN_USE = [make_key(seed) for seed in (0, 1, 2**40, -3)]
KEYS_IN_USE += [fold_in(make_key((7, step)), replica) for step in (0, 1) for replica in (0, 1)]


@pytest.mark.parametrize("index", range(len(KEYS_IN_USE)))
def test_every_bit_is_fair(index):
    bits = random_bits(KEYS_IN_USE[index], COUNTERS).numpy()
    assert worst_bias(bits) < LIMIT
    assert len(np.unique(bits)) == N  # another counter never gives the same word under one key


@pytest.mark.parametrize("index", range(len(KEYS_IN_USE)))
@pytest.mark.parametrize("distance", [1, 2, 64, 4096])
def test_neighbouring_counters_are_uncorrelated(index, distance):
    bits = random_bits(KEYS_IN_USE[index], COUNTERS).numpy()
    assert worst_correlation(bits[:-distance], bits[distance:]) < LIMIT
    assert worst_bias(bits[:-distance] ^ bits[distance:]) < LIMIT


def pairs_of_keys():
    for seed in (0, 1, 41, 2**20):
        yield f"seeds {seed}, {seed + 1}", make_key(seed), make_key(seed + 1)
    yield "seed and pair", make_key(5), make_key((5, 0))
    yield "words swapped", make_key((3, 4)), make_key((4, 3))
    yield "high word", make_key(1), make_key(1 + 2**32)
    for step in (0, 1, 1000):
        first, second = (make_key(tf.constant([99, at])) for at in (step, step + 1))
        yield f"steps {step}, {step + 1}", first, second
        yield f"steps {step}, {step + 1}, folded", fold_in(first, 1), fold_in(second, 1)
    yield "replicas", fold_in(make_key((99, 0)), 0), fold_in(make_key((99, 0)), 1)
    yield "purposes", fold_in(make_key((99, 0)), 1), fold_in(make_key((99, 0)), 2)
    yield "folded and not", make_key(99), fold_in(make_key(99), 0)


PAIRS = list(pairs_of_keys())


@pytest.mark.parametrize(("first", "second"), [pair[1:] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_other_keys_are_uncorrelated(first, second):
    a, b = (random_bits(key, COUNTERS).numpy() for key in (first, second))
    assert worst_correlation(a, b) < LIMIT
    assert worst_bias(a ^ b) < LIMIT
    assert worst_correlation(a[:-1], b[1:]) < LIMIT  # nor is one a shifted copy of the other
    assert worst_correlation(a[1:], b[:-1]) < LIMIT


@pytest.mark.parametrize("what", ["seed", "step"])
def test_one_counter_over_many_seeds_or_steps(what):
    many, fixed = COUNTERS, np.full(N, 12, np.uint32)
    pair = (tf.constant(many), tf.constant(fixed)) if what == "seed" else (tf.constant(fixed), tf.constant(many))
    key = fold_in(fold_in(pair, 2), 0)  # as `make_key` of a pair, for N pairs at once, and then a replica
    assert words(tuple(word[3] for word in key)) == words(
        fold_in(make_key((3, 12) if what == "seed" else (12, 3)), 0),
    )
    for counter in (0, 1):
        for purpose in (1, 2, 3):
            bits = random_bits(fold_in(key, purpose), tf.constant(counter, tf.uint32)).numpy()
            assert worst_bias(bits) < LIMIT
            assert worst_correlation(bits[:-1], bits[1:]) < LIMIT


def test_no_two_of_many_keys_are_equal():
    keys = [make_key(seed) for seed in range(300)]
    keys += [make_key((seed, step)) for seed in range(15) for step in range(15)]
    keys += [fold_in(make_key(0), data) for data in range(300)]
    assert len({words(key) for key in keys}) == len(keys)


def test_fold_in_takes_python_and_tensor_integers_alike():
    key = make_key(3)
    wanted = words(fold_in(key, 7))
    for data in (tf.constant(7), tf.constant(7, tf.int64), tf.constant(7, tf.uint32), np.int64(7)):
        assert words(fold_in(key, data)) == wanted


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 64, 1000])
def test_uniform_below(limit):
    drawn = uniform_below(make_key(limit), COUNTERS, limit)
    assert drawn.dtype == tf.int32
    counts = np.bincount(drawn.numpy(), minlength=limit)
    assert len(counts) == limit
    if limit > 1:
        assert scipy.stats.chisquare(counts).pvalue > LEVEL
        pairs = drawn.numpy()[:-1:2] * limit + drawn.numpy()[1::2]
        if limit**2 * 5 <= N // 2:
            assert scipy.stats.chisquare(np.bincount(pairs, minlength=limit**2)).pvalue > LEVEL


def test_uniform_below_takes_a_limit_from_a_variable():
    wanted = uniform_below(make_key(1), COUNTERS, 9).numpy()
    for dtype in (tf.int32, tf.int64):
        assert (uniform_below(make_key(1), COUNTERS, tf.Variable(9, dtype=dtype)).numpy() == wanted).all()


@pytest.mark.parametrize("seed", range(4))
def test_thresholds_at_the_ends_are_exact(seed):
    many = counters(1 << 20)
    assert not bernoulli(make_key(seed), many, 0).numpy().any()
    assert bernoulli(make_key(seed), many, 1 << 24).numpy().all()
    assert not bernoulli(make_key(seed), many, tf.constant(0, tf.int64)).numpy().any()
    assert bernoulli(make_key(seed), many, tf.constant(1 << 24, tf.int64)).numpy().all()


def test_a_threshold_counts_the_values_below_it():
    zero = as_key(0, 0), tf.constant(0, tf.uint32)  # its word is 0, see above
    assert not bernoulli(*zero, 0).numpy()
    assert bernoulli(*zero, 1).numpy()


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_bernoulli(rate):
    drawn = bernoulli(make_key(17), COUNTERS, round(rate * 2**24)).numpy()
    assert drawn.dtype == bool
    assert scipy.stats.binomtest(int(drawn.sum()), N, rate).pvalue > LEVEL
    both = int((drawn[::2] & drawn[1::2]).sum())
    assert scipy.stats.binomtest(both, N // 2, rate**2).pvalue > LEVEL


def test_bernoulli_is_monotonous_in_the_threshold():
    few, more = (bernoulli(make_key(1), COUNTERS, threshold).numpy() for threshold in (1 << 20, 1 << 23))
    assert (few <= more).all()
    assert few.sum() < more.sum()


def test_counters_count():
    assert counters(3).numpy().tolist() == [0, 1, 2]
    assert counters(2, 3).numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert counters(2, 3).dtype == tf.uint32
    assert (tf.function(lambda n: counters(n, 3))(tf.constant(2)).numpy() == counters(2, 3).numpy()).all()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_divided_is_integer_division(jit_compile):
    rng = np.random.default_rng(0)
    by = np.array([1, 2, 3, 5, 7, 64, 65, 1000, 2**16 - 1, 2**16, 2**30 + 1, 2**31 - 2, 2**31 - 1])
    near = (np.arange(1, 50)[:, None] * by).clip(0, 2**31 - 1)
    x = np.concatenate([near - 1, near, (near + 1).clip(0, 2**31 - 1), rng.integers(0, 2**31, (5000, len(by)))])
    quotient, rest = tf.function(divided, jit_compile=jit_compile)(tf.constant(x, tf.int32), tf.constant(by, tf.int32))
    assert (quotient.numpy() == x // by).all()
    assert (rest.numpy() == x % by).all()
