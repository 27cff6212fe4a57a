"""A small causal Transformer language model with all seven pattern sites."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers import ATTENTION_SITES, TRANSFORMER_SITES, PatternAttention, PatternDropout, site_seed
from tf_autodropout.models.arguments import check_transformer_sizes
from tf_autodropout.models.kernels import draw_kernels
from tf_autodropout.patterns import TransformerPattern, patterns_for


def transformer_lm(
    vocabulary_size: int,
    sequence_length: int,
    num_layers: int = 2,
    hidden_dim: int = 64,
    num_heads: int = 4,
    intermediate_dim: int = 256,
    patterns: Mapping[str, TransformerPattern] | None = None,
    seed: int = 0,
    mutable: bool = False,
    name: str = "transformer_lm",
) -> keras.Model:
    """Builds a pre-norm causal Transformer language model, tokens in, logits out.

    Every layer has the sites `query`, `key`, `value`, `softmax`, `output`, `ffn` (the feed-forward
    output) and `residual` (both skip connections); one pattern per site serves all layers. Input
    and output embeddings are tied (`keras_nlp.layers.ReversibleEmbedding`).

    Args:
        vocabulary_size: Number of token ids.
        sequence_length: T, tokens per example.
        num_layers: Number of Transformer layers.
        hidden_dim: C, features per token; a multiple of `num_heads`.
        num_heads: Attention heads per layer.
        intermediate_dim: Features inside the feed-forward part.
        patterns: Site to `TransformerPattern`; sites left out drop nothing.
        seed: Seeds the initial weights and the masks.
        mutable: Keep the patterns' values in variables, see `PatternDropout`.
        name: Name of the model.

    Returns:
        `keras.Model` from int32 `(N, T)` to float32 logits `(N, T, vocabulary_size)`.

    Raises:
        ValueError: a size below 1, `hidden_dim` not a multiple of `num_heads`, an unknown site.

    Example:
        >>> import tf_autodropout as tad
        >>> pattern = tad.TransformerPattern(size=1, rate=0.1)
        >>> model = tad.models.transformer_lm(1000, 32, patterns={"ffn": pattern, "residual": pattern})
        >>> model.output_shape
        (None, 32, 1000)

    Reference:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017 (with the norm before each part);
        sites: Pham and Le, AutoDropout, AAAI 2021, Figure 4.
    """
    check_transformer_sizes(
        hidden_dim,
        num_heads,
        vocabulary_size=vocabulary_size,
        sequence_length=sequence_length,
        num_layers=num_layers,
        intermediate_dim=intermediate_dim,
    )
    chosen = patterns_for(TRANSFORMER_SITES, TransformerPattern, patterns)

    def drop(site: str, x: Any, *place: Any) -> Any:
        layer = PatternDropout(
            chosen.get(site, TransformerPattern()),
            seed=site_seed(seed, site, *place),
            site=site,
            mutable=mutable,
            name="_".join(map(str, (*place, site))),
        )
        return layer(x)

    import keras_nlp  # not before it is needed

    tokens = keras.Input((sequence_length,), dtype="int32", name="tokens")
    embedding = keras_nlp.layers.ReversibleEmbedding(
        vocabulary_size,
        hidden_dim,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=hidden_dim**-0.5, seed=site_seed(seed, "tokens")),
        name="embedding",
    )
    positions = keras_nlp.layers.PositionEmbedding(
        sequence_length,
        initializer=keras.initializers.RandomNormal(stddev=hidden_dim**-0.5, seed=site_seed(seed, "positions")),
        name="positions",
    )
    h = embedding(tokens)  # (N, T, C)
    h = h + positions(h)
    for index in range(num_layers):
        place = f"layer{index}"
        x = keras.layers.LayerNormalization(name=f"{place}_attention_norm")(h)
        attention = PatternAttention(
            num_heads,
            hidden_dim // num_heads,
            patterns={site: chosen[site] for site in ATTENTION_SITES if site in chosen},
            pattern_seed=site_seed(seed, place),
            mutable=mutable,
            name=f"{place}_attention",
        )
        x = attention(x, x, use_causal_mask=True)
        h = keras.layers.Add(name=f"{place}_attention_add")([drop("residual", h, place, "attention"), x])
        x = keras.layers.LayerNormalization(name=f"{place}_ffn_norm")(h)
        x = keras.layers.Dense(intermediate_dim, "gelu", name=f"{place}_ffn_in")(x)
        x = keras.layers.Dense(hidden_dim, name=f"{place}_ffn_out")(x)
        x = drop("ffn", x, place)
        h = keras.layers.Add(name=f"{place}_ffn_add")([drop("residual", h, place, "ffn"), x])
    h = keras.layers.LayerNormalization(name="final_norm")(h)
    logits = embedding(h, reverse=True)  # (N, T, V)
    model = keras.Model(tokens, logits, name=name)
    draw_kernels(model, seed)
    return model
