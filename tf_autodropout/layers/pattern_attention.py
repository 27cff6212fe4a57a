"""Multi-head attention with the paper's five sites inside it."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers.registration import registered
from tf_autodropout.layers.site_layers import (
    ATTENTION_SITES,
    SCORES,
    attend,
    hold,
    read_patterns,
    read_schedule,
    site_layers,
    sites_config,
)
from tf_autodropout.patterns import Schedule


@registered
class PatternAttention(keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` with a pattern at query, key, value, softmax and output.

    The patterns at query, key and value act on the projections `(N, T, heads, dim)`, the one at
    softmax on the attention probabilities `(N, heads, queries, keys)` with the keys as tokens, the
    one at output on the output projection `(N, T, C)`. A sixth, scores, acts before the softmax (DropKey).

    Args:
        num_heads: Number of attention heads.
        key_dim: Size of each head.
        patterns: Site to `TransformerPattern`, for any of these sites.
        pattern_seed: Integer from which each site derives its own seed.
        mutable: Keep the patterns' values in variables, see `PatternDropout`.
        schedule: Schedule of all its patterns, see `PatternDropout`.
        **kwargs: As for `keras.layers.MultiHeadAttention`.

    Raises:
        ValueError: an unknown site.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> from tf_autodropout.layers import PatternAttention
        >>> x = keras.Input((32, 64))
        >>> word = tad.TransformerPattern(size=1, share_c=True, rate=0.1)
        >>> y = PatternAttention(4, 16, patterns={"value": word})(x, x, use_causal_mask=True)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figure 4.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        patterns: Mapping[str, Any] | None = None,
        pattern_seed: int = 0,
        mutable: bool = False,
        schedule: Schedule | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_heads, key_dim, **kwargs)
        axes = self._attention_axes
        if axes is not None and tuple(axes) != (1,):
            raise ValueError(f"Invalid value for 'attention_axes'. Expected (1,). Received: attention_axes={axes!r}")
        self.add_sites(patterns, pattern_seed, mutable, read_schedule(schedule, self.name))

    def add_sites(
        self, patterns: Mapping[str, Any] | None, pattern_seed: int, mutable: bool, schedule: Schedule | None = None
    ) -> None:
        """Makes the pattern layers; see `adopt` for why this is not done in `__init__`."""
        sites = (*ATTENTION_SITES, SCORES)
        self.patterns = read_patterns(patterns, sites, self.name)
        self.pattern_seed, self.mutable = pattern_seed, mutable
        hold(self, site_layers(self.patterns, sites, pattern_seed, mutable, self.dtype_policy, schedule))

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        # The hook that Keras offers to subclasses; `call` passes the causal mask in attention_mask.
        return attend(self, self.pattern_layers, query, key, value, attention_mask, training)

    # Keras matches the arguments of `build` and `call` by name, so the signature is spelled out.
    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        result = super().call(
            query,
            value,
            key,
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
            return_attention_scores=return_attention_scores,
            training=training,
            use_causal_mask=use_causal_mask,
        )
        if return_attention_scores:
            return self.pattern_layers["output"](result[0], training=training), result[1]
        return self.pattern_layers["output"](result, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **sites_config(self, self.pattern_layers)}
