"""Masks: pure functions from pattern values, a shape and a seed to what is kept."""

from tf_autodropout.masks.apply import apply_mask, apply_pattern
from tf_autodropout.masks.hashing import bernoulli, fold_in, make_key, random_bits
from tf_autodropout.masks.keep_mask import check_shape, check_sizes, keep_mask
from tf_autodropout.masks.values import encode, unpack

__all__ = [
    "apply_mask",
    "apply_pattern",
    "bernoulli",
    "check_shape",
    "check_sizes",
    "encode",
    "fold_in",
    "keep_mask",
    "make_key",
    "random_bits",
    "unpack",
]
