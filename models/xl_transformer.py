"""Transformer-XL: a language model that remembers the segments before, with all seven pattern sites."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers import ATTENTION_SITES, TRANSFORMER_SITES, PatternDropout, site_seed
from tf_autodropout.layers.relative_attention import RelativeAttention
from tf_autodropout.layers.segment_memory import SegmentMemory
from tf_autodropout.models.arguments import check_transformer_sizes
from tf_autodropout.patterns import TransformerPattern, patterns_for
from tf_autodropout.patterns.checks import check_int

# The published size for Penn Treebank is 24 M parameters; how it is made up was never published, so the numbers
# are ours. WikiText-2 has the same body: 34 M parameters, 13.6 M of them in its larger vocabulary.
_BODY = {"num_layers": 12, "hidden_dim": 410, "num_heads": 10, "intermediate_dim": 1000}
PTB = {"vocabulary_size": 10_000, "segment_length": 70, "memory_length": 70} | _BODY
WIKITEXT_2 = {"vocabulary_size": 33_278, "segment_length": 70, "memory_length": 70} | _BODY


def transformer_xl(
    vocabulary_size: int,
    segment_length: int | None = None,
    memory_length: int | None = None,
    num_layers: int = 4,
    hidden_dim: int = 128,
    num_heads: int = 4,
    intermediate_dim: int = 512,
    patterns: Mapping[str, TransformerPattern] | None = None,
    seed: int = 0,
    mutable: bool = False,
    name: str = "transformer_xl",
) -> keras.Model:
    """Builds a Transformer-XL language model: tokens and memory in, logits and new memory out.

    The model keeps no state: whoever calls it hands the memory of one segment to the next. The weights do not
    depend on the two lengths; a model built without them takes segments and memories of any length, such as a
    longer memory to evaluate with.

    Every layer has the sites `query`, `key`, `value`, `softmax`, `output`, `ffn` (the feed-forward output) and
    `residual` (both skip connections); one pattern per site serves all layers. Input and output embeddings are
    tied (`keras_nlp.layers.ReversibleEmbedding`); each layer has its own `u` and `v`; the norms come after the
    parts, as in the paper. `PTB` and `WIKITEXT_2` of this module are the sizes for the two data sets.

    Args:
        vocabulary_size: Number of token ids.
        segment_length: T, tokens per segment; None for any.
        memory_length: M, tokens remembered, which may be 0; None for any.
        num_layers: Number of Transformer layers.
        hidden_dim: C, features per token; a multiple of `num_heads`.
        num_heads: Attention heads per layer.
        intermediate_dim: Features inside the feed-forward part.
        patterns: Site to `TransformerPattern`; sites left out drop nothing.
        seed: Seeds the initial weights and the masks.
        mutable: Keep the patterns' values in variables, see `PatternDropout`.
        name: Name of the model.

    Returns:
        `keras.Model` from `tokens`, int32 `(N, T)`, `memory`, `(N, layers, M, C)`, and `remembered`, int32 `(N,)`,
        to `logits`, float32 `(N, T, vocabulary_size)`, and the new `memory` and `remembered`. A text begins with
        zeros for both.

    Raises:
        ValueError: a size below 1, `hidden_dim` not a multiple of `num_heads`, an unknown site.

    Example:
        >>> import tensorflow as tf, tf_autodropout as tad
        >>> model = tad.models.transformer_xl(1000, num_layers=2, patterns={"ffn": tad.members.dropout(0.1)})
        >>> state = {"memory": tf.zeros((1, 2, 32, 128)), "remembered": tf.zeros((1,), tf.int32)}
        >>> for segment in tf.split(tf.range(48)[None], 3, axis=1):  # three of 16 tokens
        ...     outputs = model({"tokens": segment} | state)
        ...     state = {key: outputs[key] for key in state}
        >>> outputs["logits"].shape, int(outputs["remembered"][0])
        (TensorShape([1, 16, 1000]), 32)

    Reference:
        Dai et al., Transformer-XL, ACL 2019; sites: Pham and Le, AutoDropout, AAAI 2021, Figure 4.
    """
    check_transformer_sizes(
        hidden_dim,
        num_heads,
        vocabulary_size=vocabulary_size,
        num_layers=num_layers,
        intermediate_dim=intermediate_dim,
    )
    if segment_length is not None:
        check_int("segment_length", segment_length, 1)
    if memory_length is not None:
        check_int("memory_length", memory_length, 0)
    chosen = patterns_for(TRANSFORMER_SITES, TransformerPattern, patterns)

    def init(*place: Any) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=site_seed(seed, "weights", *place))

    def drop(site: str, x: Any, *place: Any) -> Any:
        layer = PatternDropout(
            chosen.get(site, TransformerPattern()),
            seed=site_seed(seed, site, *place),
            site=site,
            mutable=mutable,
            name="_".join(map(str, (*place, site))),
        )
        return layer(x)

    def add_and_norm(h: Any, x: Any, *place: Any) -> Any:
        h = keras.layers.Add(name="_".join((*place, "add")))([drop("residual", h, *place), x])
        return keras.layers.LayerNormalization(name="_".join((*place, "norm")))(h)

    import keras_nlp  # not before it is needed

    tokens = keras.Input((segment_length,), dtype="int32", name="tokens")
    memory = keras.Input((num_layers, memory_length, hidden_dim), name="memory")
    remembered = keras.Input((), dtype="int32", name="remembered")
    embedding = keras_nlp.layers.ReversibleEmbedding(
        vocabulary_size,
        hidden_dim,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=hidden_dim**-0.5, seed=site_seed(seed, "tokens")),
        name="embedding",
    )
    # The tied table is small for the logits' sake; the layers want features of deviation 1.
    h = keras.layers.Rescaling(hidden_dim**0.5, name="embedding_scale")(embedding(tokens))  # (N, T, C)
    states = []
    for index in range(num_layers):
        place = f"layer{index}"
        states.append(h)
        attention = RelativeAttention(
            num_heads,
            hidden_dim // num_heads,
            patterns={site: chosen[site] for site in ATTENTION_SITES if site in chosen},
            pattern_seed=site_seed(seed, place),
            mutable=mutable,
            kernel_initializer=init(place, "attention"),
            name=f"{place}_attention",
        )
        h = add_and_norm(h, attention(h, memory[:, index], remembered), place, "attention")
        x = keras.layers.Dense(
            intermediate_dim, "relu", kernel_initializer=init(place, "ffn_in"), name=f"{place}_ffn_in"
        )(h)
        x = keras.layers.Dense(hidden_dim, kernel_initializer=init(place, "ffn_out"), name=f"{place}_ffn_out")(x)
        h = add_and_norm(h, drop("ffn", x, place), place, "ffn")
    logits = embedding(h, reverse=True)  # (N, T, V)
    new_memory, count = SegmentMemory(name="segment_memory")(memory, remembered, states)
    return keras.Model(
        {"tokens": tokens, "memory": memory, "remembered": remembered},
        {"logits": logits, "memory": new_memory, "remembered": count},
        name=name,
    )
