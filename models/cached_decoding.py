"""Decoding one token at a time: keys and values of earlier tokens and of the source are kept."""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tf_autodropout.models.encoder_decoder import PADDING


@dataclass
class Memory:
    """What a decoder has seen so far.

    Args:
        target: Keys and values of the target, a tensor `(N, 2, T, heads, dim)` for each layer.
        source: Keys and values of the source, likewise.
        encoded: Output of the encoder `(N, S, C)`.
        padding_mask: Where the source has tokens, boolean `(N, S)`.
    """

    target: list[Any]
    source: list[Any]
    encoded: Any
    padding_mask: Any

    def repeat(self, count: int) -> "Memory":
        """Returns the memory of `count` decoders for each sentence, side by side."""
        return Memory(
            *([tf.repeat(x, count, 0) for x in part] for part in (self.target, self.source)),
            *(tf.repeat(x, count, 0) for x in (self.encoded, self.padding_mask)),
        )


class CachedDecoder:
    """Runs a model of `transformer` token by token, with the caches of KerasHub's decoder layers.

    Args:
        model: Made by `tad.models.transformer`, also when saved and loaded.

    Raises:
        ValueError: another kind of model.

    Example:
        >>> import tensorflow as tf, tf_autodropout as tad
        >>> from tf_autodropout.models.cached_decoding import CachedDecoder
        >>> model = tad.models.transformer(50, 50, num_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=16)
        >>> decoder = CachedDecoder(model)
        >>> memory = decoder.read(tf.constant([[4, 9, 0]]), start=1, length=5)
        >>> decoder.step(tf.constant([1]), 0, memory).shape
        TensorShape([1, 50])
    """

    def __init__(self, model: keras.Model) -> None:
        layers = {layer.name: layer for layer in model.layers}
        missing = [name for name in ("source", "target", "encoded", "target_embedding") if name not in layers]
        if missing:
            raise ValueError(
                f"Expected a model made by tad.models.transformer. '{model.name}' has no layer '{missing[0]}'"
            )
        self._encode = keras.Model(layers["source"].output, layers["encoded"].output)
        self._table, self._scale = layers["target_embedding"], layers["target_scale"]
        self._positions, self._norm = layers["target_positions"], layers.get("decoder_norm")
        self._layers = [layer for name, layer in layers.items() if name.startswith("decoder_layer")]

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids of the target language."""
        return int(self._table.input_dim)

    def read(self, source: tf.Tensor, start: int, length: int) -> Memory:
        """Encodes the source.

        Args:
            source: int32 `(N, S)`, padded with 0.
            start: Id of the token that every target starts with.
            length: T, most tokens to be decoded.
        """
        encoded = self._encode(source, training=False)  # (N, S, C)
        mask = tf.not_equal(source, PADDING)
        n, s = tf.shape(source)[0], tf.shape(source)[1]

        def empty(layer: Any, tokens: Any) -> tf.Tensor:
            heads = layer.num_heads
            return tf.zeros((n, 2, tokens, heads, encoded.shape[-1] // heads), encoded.dtype)

        memory = Memory([empty(x, length) for x in self._layers], [empty(x, s) for x in self._layers], encoded, mask)
        # A first step fills the cache of the source; what it leaves at place 0 of the target, `step` writes again.
        self._run(tf.fill((n,), start), 0, memory, source_place=0)
        return memory

    def step(self, tokens: tf.Tensor, place: Any, memory: Memory) -> tf.Tensor:
        """Returns logits `(N, V)` of the token after `place`, and keeps what this step has seen in `memory`.

        Args:
            tokens: int32 `(N,)`, the tokens at `place`.
            place: Index of the step, 0 for the start token.
            memory: Of `read` and of all earlier steps.
        """
        return self._run(tokens, place, memory, source_place=None)

    def _run(self, tokens: tf.Tensor, place: Any, memory: Memory, source_place: int | None) -> tf.Tensor:
        h = self._scale(self._table(tokens[:, None]))  # (N, 1, C)
        h = h + self._positions(h, start_index=place)
        for index, layer in enumerate(self._layers):
            h, memory.target[index], memory.source[index] = layer(
                h,
                memory.encoded,
                encoder_padding_mask=memory.padding_mask,
                self_attention_cache=memory.target[index],
                self_attention_cache_update_index=place,
                cross_attention_cache=memory.source[index],
                cross_attention_cache_update_index=source_place,
                training=False,
            )
        if self._norm is not None:
            h = self._norm(h)
        return self._table(h, reverse=True)[:, 0]
