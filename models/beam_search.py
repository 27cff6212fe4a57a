"""Beam search with an encoder-decoder Transformer."""

from typing import Any

import keras
import tensorflow as tf

from tf_autodropout.models.cached_decoding import CachedDecoder, Memory
from tf_autodropout.models.encoder_decoder import PADDING
from tf_autodropout.patterns.checks import check_float, check_int

_NEVER = -1e9  # log-probability of what must not be chosen


class BeamSearch:
    """Translates with a model of `transformer`.

    At each step the `num_beams` likeliest beginnings of a sentence go on with all tokens; of the likeliest
    `num_beams` results those that end are translations, and the likeliest that do not end go on. A
    sentence is done when `num_beams` translations of it are known. The one with the highest score wins:
    its log-probability divided by `((5 + length) / 6) ** alpha`, the end token counted. One beam is greedy
    search. (`keras_nlp.samplers.BeamSampler` neither scores by length nor lets an ended sentence rest.)

    The search is compiled, once for each shape of the source; the model's weights may change in between.

    Args:
        model: Made by `tad.models.transformer`.
        max_length: Most tokens of a translation, the end token included; the last one is always the end.
        num_beams: Number of beams.
        alpha: Strength of the length normalization; 0 is none.
        start: Id of the token before the first.
        end: Id of the token after the last.
        jit_compile: Compile with XLA.

    Call arguments:
        source: int32 `(N, S)`, padded with 0 at the end.

    Returns:
        Tokens, int32 `(N, max_length)`, end token included, 0 after it, and scores, float32 `(N,)`.

    Raises:
        ValueError: a number out of range, a model of another kind, a source that is not `(N, S)`.

    Example:
        >>> import tensorflow as tf, tf_autodropout as tad
        >>> model = tad.models.transformer(50, 50, num_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=16)
        >>> search = tad.models.BeamSearch(model, max_length=10, num_beams=2)
        >>> tokens, scores = search(tf.constant([[4, 9, 2, 0], [5, 6, 7, 2]]))
        >>> tokens.shape
        TensorShape([2, 10])

    Reference:
        Wu et al., Google's Neural Machine Translation System, 2016, Equation 14 (length normalization);
        Vaswani et al., Attention Is All You Need, NeurIPS 2017, Section 6.1 (4 beams, alpha 0.6).
    """

    def __init__(
        self,
        model: keras.Model,
        max_length: int = 64,
        num_beams: int = 4,
        alpha: float = 0.6,
        start: int = 1,
        end: int = 2,
        jit_compile: bool = False,
    ) -> None:
        self._decoder = CachedDecoder(model)
        size = self._decoder.vocabulary_size
        self._length = check_int("max_length", max_length, 1)
        self._beams = check_int("num_beams", num_beams, 1)
        self._alpha = check_float("alpha", alpha)
        self._start, self._end = check_int("start", start, 0), check_int("end", end, 0)
        for name, token in (("start", start), ("end", end)):
            if token >= size or token == PADDING:
                raise ValueError(f"Invalid value for '{name}'. Expected 1 <= {name} < {size}. Received: {name}={token}")
        self._search = tf.function(self._make_search, jit_compile=jit_compile)

    def __call__(self, source: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Translates a batch of sentences."""
        source = tf.convert_to_tensor(source, tf.int32)
        if len(source.shape) != 2:
            raise ValueError(f"Invalid value for 'source'. Expected shape (N, S). Received: shape {source.shape}")
        # Asked for by its shape: TensorFlow warns when a function is called with one new shape after another.
        return self._search.get_concrete_function(tf.TensorSpec(source.shape, tf.int32))(source)

    def _make_search(self, source: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        n, beams, length = source.shape[0], self._beams, self._length
        memory = self._decoder.read(source, self._start, length).repeat(beams)
        kept, encoded, mask = memory.source, memory.encoded, memory.padding_mask
        ids = tf.range(self._decoder.vocabulary_size)

        def undone(place: tf.Tensor, count: tf.Tensor, *state: Any) -> tf.Tensor:
            return (place < length) & tf.reduce_any(count < beams)

        def step(place: tf.Tensor, count: tf.Tensor, best: Any, score: Any, tokens: Any, total: Any, cache: Any) -> Any:
            previous = tf.where(place > 0, tf.gather(tokens, tf.maximum(place - 1, 0), axis=2), self._start)
            memory = Memory(list(cache), kept, encoded, mask)
            logits = self._decoder.step(tf.reshape(previous, [-1]), place, memory)  # (N K, V)
            barred = (ids == PADDING) | ((ids != self._end) & (place == length - 1))
            logp = tf.where(barred, _NEVER, tf.nn.log_softmax(tf.cast(logits, tf.float32)))
            # The 2 K likeliest of each beam hold the 2 K likeliest of all; K of those do not end.
            wide = min(2 * beams, logp.shape[-1])
            logp, token = tf.math.top_k(logp, wide)  # (N K, 2 K)
            flat = tf.reshape(tf.reshape(total, [-1, 1]) + logp, [n, beams * wide])
            candidate, index = tf.math.top_k(flat, min(2 * beams, beams * wide))  # (N, 2 K)
            token = tf.gather(tf.reshape(token, [n, beams * wide]), index, batch_dims=1)
            parent = index // wide
            ends = token == self._end
            sequences = tf.gather(tokens, parent, batch_dims=1)  # (N, 2 K, T)
            sequences = tf.where(tf.range(length) == place, token[:, :, None], sequences)

            # Those that end, among the K likeliest and while the sentence is not done.
            new = (ends & (candidate > _NEVER / 2))[:, :beams] & (count < beams)[:, None]
            size = (5.0 + tf.cast(place + 1, tf.float32)) / 6.0
            scores = tf.where(new, candidate[:, :beams] / size**self._alpha, -float("inf"))  # (N, K)
            winner = tf.argmax(scores, 1)
            gain = tf.gather(scores, winner, batch_dims=1)
            best = tf.where((gain > score)[:, None], tf.gather(sequences, winner, batch_dims=1), best)
            score = tf.maximum(gain, score)
            count = count + tf.reduce_sum(tf.cast(new, tf.int32), 1)

            # Those that go on.
            total, chosen = tf.math.top_k(tf.where(ends, 2 * _NEVER, candidate), beams)  # (N, K)
            tokens = tf.gather(sequences, chosen, batch_dims=1)
            parent = tf.gather(parent, chosen, batch_dims=1)
            row = tf.reshape(tf.range(n)[:, None] * beams + parent, [-1])
            cache = tuple(tf.gather(x, row) for x in memory.target)
            return place + 1, count, best, score, tokens, total, cache

        # All beams begin alike: only the first one counts in the first step.
        total = tf.where(tf.range(beams) == 0, 0.0, _NEVER)
        state = (
            tf.constant(0),
            tf.zeros((n,), tf.int32),
            tf.zeros((n, length), tf.int32),
            tf.fill((n,), -float("inf")),
            tf.zeros((n, beams, length), tf.int32),
            tf.tile(total[None], [n, 1]),
            tuple(memory.target),
        )
        _, _, best, score, *_ = tf.while_loop(undone, step, state)
        return best, score
