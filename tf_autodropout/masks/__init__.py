"""Masks: pure functions from pattern values, a shape and a seed to what is kept."""

from tf_autodropout.masks.apply import apply_mask, apply_pattern, apply_to_scores
from tf_autodropout.masks.encoding import encode, encode_for, encode_vector, unpack
from tf_autodropout.masks.hashing import bernoulli, fold_in, make_key, random_bits, seed_word
from tf_autodropout.masks.keep_mask import check_shape, check_sizes, keep_mask
from tf_autodropout.masks.probability import drop_probability, is_silent
from tf_autodropout.masks.values import encode_schedule

__all__ = [
    "apply_mask",
    "apply_pattern",
    "apply_to_scores",
    "bernoulli",
    "check_shape",
    "check_sizes",
    "drop_probability",
    "encode",
    "encode_for",
    "encode_schedule",
    "encode_vector",
    "fold_in",
    "is_silent",
    "keep_mask",
    "make_key",
    "random_bits",
    "seed_word",
    "unpack",
]
