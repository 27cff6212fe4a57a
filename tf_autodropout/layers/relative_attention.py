"""Attention of Transformer-XL: relative positions, a memory of earlier tokens, and the paper's five sites."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from tf_autodropout.layers.registration import registered
from tf_autodropout.layers.site_layers import (
    ATTENTION_SITES,
    SCORES,
    read_patterns,
    read_schedule,
    site_layers,
    sites_config,
)
from tf_autodropout.patterns import Schedule
from tf_autodropout.patterns.checks import check_int
from tf_autodropout.patterns.seeding import site_seed


@registered
class RelativeAttention(keras.layers.Layer):
    """Causal self-attention over a segment and what is remembered of the tokens before it.

    A query at position `i` scores a key at position `j <= i` with four terms, the last two without the query:
    `q_i . k_j + q_i . r_(i-j) + u . k_j + v . r_(i-j)`, divided by `sqrt(key_dim)`. `r` is a projection of the
    sine encoding of the distance; `u` and `v` are trained, one of each a head. The projections have no biases.

    The patterns at query, key and value act on the projections `(N, T, heads, dim)`, with the memory among the
    tokens of key and value; the one at softmax on the attention probabilities `(N, heads, queries, keys)` with
    the keys as tokens, the one at output on the output projection `(N, T, C)`.

    Args:
        num_heads: Number of attention heads.
        key_dim: Size of each head.
        patterns: Site to `TransformerPattern`, for any of the five sites, and `scores`, before the softmax.
        pattern_seed: Integer from which each site derives its own seed.
        mutable: Keep the patterns' values in variables, see `PatternDropout`.
        schedule: Schedule of all its patterns, see `PatternDropout`.
        kernel_initializer: Of all projections; each derives its own seed from that of a seeded one.

    Call arguments:
        inputs: Segment `(N, T, C)`.
        memory: `(N, M, C)`, the inputs of the M tokens before the segment, the oldest first. No gradient
            flows into it.
        remembered: Integers `(N,)`: how many of the M tokens, counted from the last, are there. What is
            before them is not attended to.
        training: Python boolean.

    Output shape:
        `(N, T, C)`.

    Raises:
        ValueError: a size below 1, an unknown site.

    Example:
        >>> import keras
        >>> from tf_autodropout.layers.relative_attention import RelativeAttention
        >>> x, memory, remembered = keras.Input((16, 64)), keras.Input((32, 64)), keras.Input((), dtype="int32")
        >>> RelativeAttention(4, 16)(x, memory, remembered).shape
        (None, 16, 64)

    Reference:
        Dai et al., Transformer-XL, ACL 2019, Section 3.3; sites: Pham and Le, AutoDropout, AAAI 2021, Figure 4.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        patterns: Mapping[str, Any] | None = None,
        pattern_seed: int = 0,
        mutable: bool = False,
        schedule: Schedule | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.key_dim = check_int("num_heads", num_heads, 1), check_int("key_dim", key_dim, 1)
        sites = (*ATTENTION_SITES, SCORES)
        self.patterns = read_patterns(patterns, sites, self.name)
        self.pattern_seed = pattern_seed
        self.mutable = mutable
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.scores_pattern = None
        for site, layer in site_layers(
            self.patterns, sites, pattern_seed, mutable, self.dtype_policy, read_schedule(schedule, self.name)
        ).items():
            setattr(self, f"{site}_pattern", layer)
        for name in ("query", "key", "value", "position"):
            setattr(self, f"{name}_dense", self._dense("ntc,chd->nthd", (None, num_heads, key_dim), name))
        import keras_hub  # the layers that need no KerasHub do without

        # In float32: bfloat16 counts to 256 only.
        self.distances = keras_hub.layers.SinePositionEncoding(dtype="float32", name="distances")
        self.softmax = keras.layers.Softmax(dtype=self.dtype_policy, name="softmax")

    def build(self, inputs_shape: Any, memory_shape: Any = None, remembered_shape: Any = None) -> None:
        features = inputs_shape[-1]
        for name in ("query", "key", "value", "position"):
            getattr(self, f"{name}_dense").build((None, None, features))
        self.output_dense = self._dense("nthd,hdc->ntc", (None, features), "output")
        self.output_dense.build((None, None, self.num_heads, self.key_dim))
        per_head = (self.num_heads, self.key_dim)
        self.content_bias = self.add_weight(name="content_bias", shape=per_head, initializer="zeros")  # u
        self.position_bias = self.add_weight(name="position_bias", shape=per_head, initializer="zeros")  # v

    def call(self, inputs: Any, memory: Any, remembered: Any, training: bool | None = None) -> Any:
        length, reach = ops.shape(inputs)[1], ops.shape(memory)[1]
        source = ops.concatenate([ops.stop_gradient(ops.cast(memory, inputs.dtype)), inputs], 1)  # (N, K, C), K = M + T
        query = self.query_pattern(self.query_dense(inputs), training=training)  # (N, T, heads, dim)
        key = self.key_pattern(self.key_dense(source), training=training)  # (N, K, heads, dim)
        value = self.value_pattern(self.value_dense(source), training=training)
        position = self.position_dense(ops.flip(self.distances(source[:1]), 1))  # (1, K, heads, dim), K - 1 ... 0

        # The definition's four terms, two by two: (a) + (c), then (b) + (d).
        content = ops.einsum("nqhd,nkhd->nhqk", query + ops.cast(self.content_bias, query.dtype), key)
        distance = ops.einsum("nqhd,khd->nhqk", query + ops.cast(self.position_bias, query.dtype), position[0])
        scores = (content + _shift(distance)) * self.key_dim**-0.5  # (N, heads, T, K)

        if self.scores_pattern is not None:
            scores = self.scores_pattern(scores, training=training)
        places = ops.arange(length + reach)
        causal = places[None, :] <= ops.arange(length)[:, None] + reach  # (T, K)
        there = places[None, :] >= reach - ops.expand_dims(remembered, 1)  # (N, K)
        probabilities = self.softmax(scores, mask=ops.logical_and(causal[None, None], there[:, None, None]))
        probabilities = self.softmax_pattern(probabilities, training=training)
        context = ops.einsum("nhqk,nkhd->nqhd", probabilities, value)
        return self.output_pattern(self.output_dense(context), training=training)

    def compute_output_shape(self, inputs_shape: Any, memory_shape: Any = None, remembered_shape: Any = None) -> Any:
        return inputs_shape

    def _dense(self, equation: str, output_shape: tuple[int | None, ...], name: str) -> keras.layers.EinsumDense:
        start = self.kernel_initializer.get_config()
        if isinstance(start.get("seed"), int):  # one seed for all would make the projections equal
            start["seed"] = site_seed(start["seed"], name)
        return keras.layers.EinsumDense(
            equation,
            output_shape,
            kernel_initializer=type(self.kernel_initializer).from_config(start),
            dtype=self.dtype_policy,
            name=f"{name}_dense",
        )

    def get_config(self) -> dict[str, Any]:
        config = {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
        layers = {site: getattr(self, f"{site}_pattern") for site in (*ATTENTION_SITES, SCORES)}
        there = {site: layer for site, layer in layers.items() if layer is not None}
        return {**super().get_config(), **config, **sites_config(self, there)}


def _shift(scores: Any) -> Any:
    """Moves scores by distance `(N, heads, T, K)`, the longest distance first, to the places of their keys.

    Row `i` moves left by `T - 1 - i`. A column of zeros before the first makes each row one longer, and to read the
    entries with the old length again is to shift them; what comes in at the right end is in the future of its query.
    """
    n, heads, length, keys = ops.shape(scores)
    scores = ops.pad(scores, [[0, 0], [0, 0], [0, 0], [1, 0]])  # (N, heads, T, K + 1)
    scores = ops.reshape(scores, (n, heads, keys + 1, length))
    return ops.reshape(scores[:, :, 1:], (n, heads, length, keys))
