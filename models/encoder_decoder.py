"""The encoder-decoder Transformer for translation, with all seven pattern sites in both halves."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers import TRANSFORMER_SITES, site_seed
from tf_autodropout.models.arguments import check_transformer_sizes
from tf_autodropout.models.kernels import draw_kernels
from tf_autodropout.patterns import TransformerPattern, patterns_for
from tf_autodropout.patterns.checks import check_int

PADDING = 0  # id of the tokens after the end of a sentence

# As published: base and big in Table 3 of Vaswani et al., iwslt as fairseq's `transformer_iwslt_de_en`.
TRANSFORMER_SIZES = {
    "iwslt": {"num_layers": 6, "hidden_dim": 512, "num_heads": 4, "intermediate_dim": 1024},
    "base": {"num_layers": 6, "hidden_dim": 512, "num_heads": 8, "intermediate_dim": 2048},
    "big": {"num_layers": 6, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096},
}


def transformer(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    num_layers: int = 6,
    hidden_dim: int = 512,
    num_heads: int = 8,
    intermediate_dim: int = 2048,
    share_embeddings: bool = False,
    normalize_first: bool = False,
    sequence_length: int | None = None,
    patterns: Mapping[str, TransformerPattern] | None = None,
    seed: int = 0,
    mutable: bool = False,
    name: str = "transformer",
) -> keras.Model:
    """Builds an encoder-decoder Transformer: source and target tokens in, logits of the next target tokens out.

    The defaults are Transformer base; `TRANSFORMER_SIZES` holds the published sizes by name. Every layer of encoder
    and decoder has the sites `query`, `key`, `value`, `softmax`, `output` (self- and cross-attention alike),
    `ffn` and `residual`; one pattern per site serves them all. Id 0 is padding, after the end of a
    sentence: no token attends to padding of the source. Target input and output embeddings are tied
    (`keras_nlp.layers.ReversibleEmbedding`), positions are sines. `BeamSearch` translates with the model.

    Args:
        source_vocabulary_size: Number of token ids of the source language.
        target_vocabulary_size: Number of token ids of the target language.
        num_layers: Number of layers of the encoder, and of the decoder.
        hidden_dim: C, features per token; a multiple of `num_heads`.
        num_heads: Attention heads per layer.
        intermediate_dim: Features inside the feed-forward part.
        share_embeddings: One embedding for source, target and output; for a joint vocabulary.
        normalize_first: Norm before each part, and once more at the end of encoder and decoder, instead of
            after each part as published.
        sequence_length: Tokens of every source and target; None for any lengths.
        patterns: Site to `TransformerPattern`; sites left out drop nothing.
        seed: Seeds the initial weights and the masks.
        mutable: Keep the patterns' values in variables, see `PatternDropout`.
        name: Name of the model.

    Returns:
        `keras.Model` from `[source, target]`, int32 `(N, S)` and `(N, T)`, to float32 logits
        `(N, T, target_vocabulary_size)`; logits at `t` see the target up to `t`.

    Raises:
        ValueError: a size below 1, `hidden_dim` not a multiple of `num_heads`, an unknown site, shared
            embeddings of vocabularies that differ.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.models.encoder_decoder import TRANSFORMER_SIZES
        >>> small = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 64}
        >>> model = tad.models.transformer(900, 800, **small, patterns={"ffn": tad.members.dropout(0.1)})
        >>> model.output_shape
        (None, None, 800)
        >>> sorted(TRANSFORMER_SIZES)
        ['base', 'big', 'iwslt']

    Reference:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017, Figure 1 and Table 3;
        sites: Pham and Le, AutoDropout, AAAI 2021, Figure 4.
    """
    check_transformer_sizes(
        hidden_dim,
        num_heads,
        source_vocabulary_size=source_vocabulary_size,
        target_vocabulary_size=target_vocabulary_size,
        num_layers=num_layers,
        intermediate_dim=intermediate_dim,
    )
    if sequence_length is not None:
        check_int("sequence_length", sequence_length, 1)
    if share_embeddings and source_vocabulary_size != target_vocabulary_size:
        raise ValueError(
            "Expected vocabularies of equal size for share_embeddings=True. "
            f"Received: {source_vocabulary_size} and {target_vocabulary_size}"
        )
    chosen = patterns_for(TRANSFORMER_SITES, TransformerPattern, patterns)
    import keras_nlp  # not before it is needed

    from tf_autodropout.layers.pattern_transformer import PatternTransformerDecoder, PatternTransformerEncoder

    def settings(place: str) -> dict[str, Any]:
        return {
            "intermediate_dim": intermediate_dim,
            "num_heads": num_heads,
            "normalize_first": normalize_first,
            "patterns": chosen,
            "pattern_seed": site_seed(seed, place),
            "mutable": mutable,
            "name": place,
        }

    def embed(tokens: Any, embedding: Any, language: str) -> Any:
        # Scaled up, as the table's rows have norm 1 to serve as output weights (Section 3.4 of Vaswani et al.).
        h = keras.layers.Rescaling(hidden_dim**0.5, name=f"{language}_scale")(embedding(tokens))  # (N, T, C)
        return h + keras_nlp.layers.SinePositionEncoding(name=f"{language}_positions")(h)

    def table(vocabulary_size: int, name: str) -> Any:
        init = keras.initializers.RandomNormal(stddev=hidden_dim**-0.5, seed=site_seed(seed, name))
        return keras_nlp.layers.ReversibleEmbedding(vocabulary_size, hidden_dim, embeddings_initializer=init, name=name)

    source = keras.Input((sequence_length,), dtype="int32", name="source")
    target = keras.Input((sequence_length,), dtype="int32", name="target")
    target_table = table(target_vocabulary_size, "target_embedding")
    source_table = target_table if share_embeddings else table(source_vocabulary_size, "source_embedding")
    padding_mask = keras.ops.not_equal(source, PADDING)  # (N, S)
    h = embed(source, source_table, "source")
    for index in range(num_layers):
        h = PatternTransformerEncoder(**settings(f"encoder_layer{index}"))(h, padding_mask=padding_mask)
    if normalize_first:
        h = keras.layers.LayerNormalization(name="encoder_norm")(h)
    encoded = keras.layers.Identity(name="encoded")(h)  # (N, S, C)
    h = embed(target, target_table, "target")
    for index in range(num_layers):
        # Padding of the target needs no mask: it comes last, and no token attends to later ones.
        layer = PatternTransformerDecoder(**settings(f"decoder_layer{index}"))
        h = layer(h, encoded, encoder_padding_mask=padding_mask)
    if normalize_first:
        h = keras.layers.LayerNormalization(name="decoder_norm")(h)
    logits = target_table(h, reverse=True)  # (N, T, V)
    model = keras.Model([source, target], logits, name=name)
    draw_kernels(model, seed, as_matrices=True)
    return model
