"""What `keep_mask` takes for a shape."""

import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad


@pytest.mark.parametrize("shape", [8, None, "abcd", (None, 8, 8, 4), (-1, 8, 8, 4), (2.0, 8, 8, 4)])
def test_a_shape_that_is_none_is_named(shape):
    with pytest.raises(ValueError, match="Invalid value for 'shape'. Expected a sequence of sizes >= 0"):
        tad.keep_mask(tad.ConvPattern(size=2), shape, seed=0)


def test_sizes_of_numpy_are_sizes():
    pattern = tad.ConvPattern(size=2)
    mask = tad.keep_mask(pattern, np.array([2, 8, 8, 4]), seed=0)
    assert (mask.numpy() == tad.keep_mask(pattern, (2, 8, 8, 4), seed=0).numpy()).all()


@pytest.mark.parametrize("seed", [{1, 2}, b"ab", "12", 1.5, (1.0, 2.0), (1, 2, 3), None, {1: 2, 3: 4}])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="Invalid value for 'seed'"):
        tad.keep_mask(tad.ConvPattern(size=2), (2, 8, 8, 4), seed=seed)


@pytest.mark.parametrize("shape", [(0, 4, 4, 1), (2, 0, 4, 1), (2, 4, 0, 1), (2, 4, 4, 0)])
@pytest.mark.parametrize(
    "pattern",
    [
        tad.ConvPattern(size="1/2"),
        tad.ConvPattern(size=1, rotate=45.0),
        tad.ConvPattern(size=1, share_c=True),
        tad.DropBlockPattern(size=2, rate=0.1),
        tad.TransformerPattern(size=1, rate=0.5),
    ],
)
def test_tensors_without_elements(pattern, shape):
    assert tad.keep_mask(pattern, shape, 0).shape == shape
    assert tad.PatternDropout(pattern)(tf.zeros(shape), training=True).shape == shape


@pytest.mark.parametrize("shape", [(1, 2**40, 4, 1), (2**20, 2**20, 2**20, 1), (1, 10**400, 4, 1)])
def test_a_shape_beyond_any_machine_is_refused(shape):
    with pytest.raises(ValueError, match="Invalid value for 'shape'"):
        tad.keep_mask(tad.ConvPattern(size=1), shape, 0)


def test_seeds_beyond_32_bits_differ_and_what_is_no_seed_is_refused():
    def mask(seed):
        return tad.keep_mask(tad.members.dropout(0.5), (1, 64, 8), seed).numpy()

    def dropped(seed):
        return tad.PatternDropout(tad.members.dropout(0.5), seed=seed)(tf.ones((1, 64, 8)), training=True).numpy()

    for of in (mask, dropped):
        one, other = of(0), of(2**32)
        assert (one != other).any()
        assert (one == of(0)).all()
    for seed in ({1, 2}, b"ab", 1.0, "12", None, True, (1, 2, 3), (1.0, 2)):
        with pytest.raises(ValueError, match="Invalid value for 'seed'"):
            mask(seed)
