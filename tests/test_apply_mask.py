"""Equation 1: `h * (Size(m) / Sum(m)) * m`."""

import numpy as np
import pytest
import tensorflow as tf

from tf_autodropout.masks import apply_mask

DTYPES = [tf.float16, tf.bfloat16, tf.float32, tf.float64]


def equation_1(h, mask):
    """In float64, with the mask broadcast to `h`."""
    mask = np.broadcast_to(np.asarray(mask, np.float64), h.shape)
    return h * (mask.size / mask.sum()) * mask if mask.sum() else np.zeros(h.shape)


def random_mask(shape, keep=0.6):
    return np.random.default_rng(1).random(shape) < keep


def random_tensor(shape):
    return np.random.default_rng(2).standard_normal(shape)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 8, 8, 3), (2, 3, 4, 5, 6)])
def test_against_numpy(shape):
    h, mask = random_tensor(shape), random_mask(shape)
    for kind in (bool, np.int32, np.float32):
        result = apply_mask(tf.constant(h, tf.float32), tf.constant(mask.astype(kind)))
        assert result.numpy() == pytest.approx(equation_1(h, mask), rel=1e-5)


@pytest.mark.parametrize("mask_shape", [(2, 1, 1, 3), (2, 8, 8, 1), (1, 1, 1, 3), (8, 1), (3,), (1,), ()])
def test_a_mask_that_broadcasts_counts_as_the_full_one(mask_shape):
    h, mask = random_tensor((2, 8, 8, 3)), random_mask(mask_shape)
    mask = mask if mask.any() else np.ones(mask_shape, bool)
    result = apply_mask(tf.constant(h, tf.float32), tf.constant(mask)).numpy()
    assert result.shape == h.shape
    assert result == pytest.approx(equation_1(h, mask), rel=1e-5)


def test_the_ratio_is_that_of_the_whole_tensor():
    # Eq. 1 counts over the batch: not per example as (4/1, 4/3), but 8/4 for all.
    mask = tf.constant([[1, 0, 0, 0], [1, 1, 1, 0]])
    assert apply_mask(tf.ones((2, 4)), mask).numpy().tolist() == [[2, 0, 0, 0], [2, 2, 2, 0]]


def test_the_mean_is_preserved():
    mask = random_mask((8, 16, 16, 4), keep=0.3)
    assert apply_mask(tf.ones(mask.shape), tf.constant(mask)).numpy().mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_kept_is_zeros(dtype):
    for mask in (tf.zeros((2, 3)), tf.zeros((2, 1), tf.bool), tf.zeros((), tf.int32)):
        result = apply_mask(tf.constant([[1, 2, 3], [4, 5, 6]], dtype), mask)
        assert tf.cast(result, tf.float32).numpy().tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_everything_kept_is_the_identity(dtype):
    h = tf.cast(random_tensor((3, 7)), dtype)
    assert (apply_mask(h, tf.ones((3, 1))) == h).numpy().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_and_value(dtype):
    h, mask = random_tensor((4, 6)), random_mask((4, 6))
    h = tf.cast(h, dtype)
    result = apply_mask(h, tf.constant(mask))
    assert result.dtype == dtype
    precision = {tf.float16: 2e-3, tf.bfloat16: 2e-2}.get(dtype, 1e-6)
    wanted = equation_1(tf.cast(h, tf.float64).numpy(), mask)
    assert tf.cast(result, tf.float64).numpy() == pytest.approx(wanted, rel=precision)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask_dtype", [tf.bool, tf.bfloat16, tf.float16, tf.float32])
def test_counts_beyond_a_small_dtype(dtype, mask_dtype):
    # 3 * 2^17 cells, every third kept: bfloat16 counts to 256 in ones and float16 to 65504 at all.
    mask = tf.cast(tf.reshape(tf.range(3 << 17) % 3 == 0, (8, -1)), mask_dtype)
    result = tf.cast(apply_mask(tf.ones(mask.shape, dtype), mask), tf.float32).numpy()
    assert set(np.unique(result)) == {0.0, 3.0}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_ratio_beyond_a_small_dtype_makes_no_nan(dtype):
    mask = tf.range(1 << 17) == 0  # the ratio, 131072, is more than float16 holds
    result = tf.cast(apply_mask(tf.zeros(1 << 17, dtype), mask), tf.float32).numpy()
    assert (result == 0).all()


def test_an_uneven_count_in_bfloat16():
    size, kept = (1 << 17) + 3, 70001
    mask = tf.range(size) < kept
    result = apply_mask(tf.ones(size, tf.bfloat16), mask)
    wanted = tf.cast(tf.constant(size / kept), tf.bfloat16)
    assert (result[:kept] == wanted).numpy().all()
    assert (result[kept:] == 0).numpy().all()


@pytest.mark.parametrize("mask_shape", [(3, 4), (3, 1), (4,)])
def test_the_gradient_is_the_scaled_mask(mask_shape):
    h, mask = tf.Variable(random_tensor((3, 4)), dtype=tf.float32), random_mask(mask_shape)
    weights = tf.constant(random_tensor((3, 4)), tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(weights * apply_mask(h, tf.constant(mask)))
    full = np.broadcast_to(mask, (3, 4))
    assert tape.gradient(loss, h).numpy() == pytest.approx(weights.numpy() * full * full.size / full.sum(), rel=1e-5)


def test_the_gradient_of_nothing_kept_is_zero():
    h = tf.Variable([1.0, 2.0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(apply_mask(h, tf.zeros(2)))
    assert tape.gradient(loss, h).numpy().tolist() == [0, 0]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_graph_and_xla(jit_compile):
    h, mask = random_tensor((3, 4, 5)), random_mask((3, 1, 5))
    function = tf.function(apply_mask, jit_compile=jit_compile)
    result = function(tf.constant(h, tf.float32), tf.constant(mask)).numpy()
    assert result == pytest.approx(equation_1(h, mask), rel=1e-5)
    assert function(tf.ones((2, 2)), tf.zeros((2, 2))).numpy().tolist() == [[0, 0], [0, 0]]
