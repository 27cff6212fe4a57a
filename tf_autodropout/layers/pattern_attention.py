"""Multi-head attention with the paper's five sites inside it."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers.site_layers import ATTENTION_SITES, attend, patterns_config, read_patterns, site_layers


@keras.saving.register_keras_serializable(package="tf_autodropout")
class PatternAttention(keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` with a pattern at query, key, value, softmax and output.

    The patterns at query, key and value act on the projections `(N, T, heads, dim)`, the one at
    softmax on the attention probabilities `(N, heads, queries, keys)` with the keys as tokens, the
    one at output on the output projection `(N, T, C)`.

    Args:
        num_heads: Number of attention heads.
        key_dim: Size of each head.
        patterns: Site to `TransformerPattern`, for any of the five sites.
        pattern_seed: Integer from which each site derives its own seed.
        mutable: Keep the patterns' values in variables, see `PatternDropout`.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(num_heads, key_dim, **kwargs)
        axes = self._attention_axes
        if axes is not None and tuple(axes) != (1,):
            raise ValueError(f"Invalid value for 'attention_axes'. Expected (1,). Received: attention_axes={axes!r}")
        self.patterns = read_patterns(patterns, ATTENTION_SITES, self.name)
        self.pattern_seed = pattern_seed
        self.mutable = mutable
        for site, layer in site_layers(
            self.patterns, ATTENTION_SITES, pattern_seed, mutable, self.dtype_policy
        ).items():
            setattr(self, f"{site}_pattern", layer)

    def _drop(self) -> dict[str, Any]:
        return {site: getattr(self, f"{site}_pattern") for site in ATTENTION_SITES}

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
        return attend(self, self._drop(), query, key, value, attention_mask, training)

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
            return self.output_pattern(result[0], training=training), result[1]
        return self.output_pattern(result, training=training)

    def get_config(self) -> dict[str, Any]:
        config = {
            "patterns": patterns_config(self.patterns, self._drop()),
            "pattern_seed": self.pattern_seed,
            "mutable": self.mutable,
        }
        return {**super().get_config(), **config}
