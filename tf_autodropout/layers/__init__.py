"""Keras layers: thin shells around `tf_autodropout.masks`.

What stands on KerasHub is in `pattern_transformer` and `relative_attention` and is not imported here: who only wants
`PatternDropout` does not wait for KerasHub.
"""

from tf_autodropout.layers.monte_carlo import Prediction, monte_carlo
from tf_autodropout.layers.pattern_attention import PatternAttention
from tf_autodropout.layers.pattern_dropout import PatternDropout, assign_patterns, pattern_layers
from tf_autodropout.layers.site_layers import ATTENTION_SITES, TRANSFORMER_SITES
from tf_autodropout.patterns.seeding import site_seed

__all__ = [
    "ATTENTION_SITES",
    "TRANSFORMER_SITES",
    "PatternAttention",
    "PatternDropout",
    "Prediction",
    "assign_patterns",
    "monte_carlo",
    "pattern_layers",
    "site_seed",
]
