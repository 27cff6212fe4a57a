"""The controller: a causal Transformer that writes a PatternSet as a sequence of tokens."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import keras_nlp
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tf_autodropout.layers import site_seed

_NEVER = -1e9  # logit of an index beyond a decision's values


class Controller(keras.layers.Layer):
    """The policy `P(r; theta)`: one categorical distribution a token, each given all tokens before.

    The output projection and the bias of each decision start at zero: an untrained controller is
    uniform random search.

    Args:
        vocabulary_sizes: Number of values of each decision, `L` numbers.
        hidden_dim: Features per token.
        num_layers: Transformer layers.
        num_heads: Attention heads per layer.
        seed: Seeds the initial weights.

    Raises:
        ValueError: no decisions, or one without values.

    Example:
        >>> from tf_autodropout.search.searchers.controller import Controller
        >>> controller = Controller([6, 5, 4])
        >>> tokens, log_prob = controller.sample(2, seed=(0, 1))
        >>> tokens.shape, log_prob.shape
        (TensorShape([2, 3]), TensorShape([2]))

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, "Search Algorithm". The sizes are ours: the paper's
        are in an appendix that is not public.
    """

    def __init__(
        self,
        vocabulary_sizes: Sequence[int],
        hidden_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(name="controller")
        if not vocabulary_sizes or min(vocabulary_sizes) < 1:
            raise ValueError(
                f"Invalid value for 'vocabulary_sizes'. Expected one or more sizes >= 1. Received: {vocabulary_sizes!r}"
            )
        self._length, self._widest = len(vocabulary_sizes), max(vocabulary_sizes)
        self._cache_shape = (2, self._length, num_heads, hidden_dim // num_heads)
        self._allowed = np.arange(self._widest)[None, :] < np.array(vocabulary_sizes)[:, None]  # (L, V)
        # Every value of every decision has an embedding of its own; 0 is the start of the sequence.
        self._first_id = np.array([1, *itertools.accumulate(vocabulary_sizes, initial=1)][1:-1], np.int32)  # (L,)
        normal = {
            name: keras.initializers.RandomNormal(stddev=hidden_dim**-0.5, seed=site_seed(seed, name))
            for name in ("tokens", "positions")
        }
        self._tokens = keras.layers.Embedding(1 + sum(vocabulary_sizes), hidden_dim, normal["tokens"], name="tokens")
        self._positions = keras.layers.Embedding(self._length, hidden_dim, normal["positions"], name="positions")
        self._decoders = [
            keras_nlp.layers.TransformerDecoder(
                intermediate_dim=4 * hidden_dim,
                num_heads=num_heads,
                activation="gelu",
                normalize_first=True,
                kernel_initializer=keras.initializers.GlorotUniform(seed=site_seed(seed, "decoder", index)),
                name=f"decoder{index}",
            )
            for index in range(num_layers)
        ]
        self._norm = keras.layers.LayerNormalization(name="norm")
        self._logits = keras.layers.Dense(self._widest, kernel_initializer="zeros", use_bias=False, name="logits")
        self._bias = self.add_weight(name="bias", shape=(self._length, self._widest), initializer="zeros")
        self._compiled_sample = tf.function(self._sample, jit_compile=True)
        self.log_prob_and_entropy(np.zeros((1, self._length), np.int32))  # builds the variables

    @property
    def bias(self) -> keras.Variable:
        """The logits' bias of each decision, `(L, V)`."""
        return self._bias

    def sample(self, count: int, seed: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws sequences of tokens in one compiled loop with a key/value cache.

        Args:
            count: Number of sequences, n. Another count means another compilation.
            seed: Two ints; the same seed and weights give the same sequences.

        Returns:
            Tokens, int32 `(n, L)`, and their log-probabilities, float32 `(n,)`.
        """
        return self._compiled_sample(count, tf.constant(list(seed), tf.int32))

    def log_prob_and_entropy(self, tokens: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores given sequences by teacher forcing.

        Args:
            tokens: int32 `(n, L)`.

        Returns:
            Log-probability of each sequence, `(n,)`, and the entropy of its distributions, summed
            over the sequence, `(n,)`. Differentiable with respect to the weights.
        """
        tokens = tf.convert_to_tensor(tokens, tf.int32)
        before = tf.pad(self._first_id[None, :-1] + tokens[:, :-1], [[0, 0], [1, 0]])  # (n, L)
        h = self._tokens(before) + self._positions(tf.range(self._length))[None]
        for decoder in self._decoders:
            h = decoder(h)
        policy = self._distribution(h, self._bias, self._allowed)
        return tf.reduce_sum(policy.log_prob(tokens), -1), tf.reduce_sum(policy.entropy(), -1)

    def _distribution(self, h: tf.Tensor, bias: Any, allowed: Any) -> tfp.distributions.Categorical:
        logits = self._logits(self._norm(h)) + bias
        return tfp.distributions.Categorical(logits=tf.where(allowed, logits, _NEVER))

    def _sample(self, count: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        caches = tuple(tf.zeros((count, *self._cache_shape)) for _ in self._decoders)
        tokens = tf.zeros((count, self._length), tf.int32)
        before, log_prob = tf.zeros((count,), tf.int32), tf.zeros((count,))
        bias, allowed = tf.convert_to_tensor(self._bias), tf.constant(self._allowed)
        first_id = tf.constant(self._first_id)
        for position in tf.range(self._length):
            h = self._tokens(before[:, None]) + self._positions(position)[None, None]  # (n, 1, C)
            updated = []
            for cache, decoder in zip(caches, self._decoders, strict=True):
                h, cache = decoder(h, self_attention_cache=cache, self_attention_cache_update_index=position)
                updated.append(cache)
            caches = tuple(updated)
            policy = self._distribution(h[:, 0], tf.gather(bias, position), tf.gather(allowed, position))
            draw = policy.sample(seed=tf.random.experimental.stateless_fold_in(seed, position))
            log_prob += policy.log_prob(draw)
            tokens = tf.where(tf.range(self._length)[None, :] == position, draw[:, None], tokens)
            before = tf.gather(first_id, position) + draw
        return tokens, log_prob
