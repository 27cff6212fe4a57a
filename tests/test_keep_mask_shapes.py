"""What `keep_mask` takes for a shape."""

import numpy as np
import pytest

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
