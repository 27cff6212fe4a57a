"""KerasHub's Transformer layers with the paper's seven sites inside them.

While training, and where patterns are sampled or watched, they run the calls below; at inference, and with a cache,
KerasHub's own: the identity to the bit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import keras_hub
from keras import ops

from tf_autodropout.layers.keras_internals import output_projected, projected
from tf_autodropout.layers.pattern_dropout import PatternDropout
from tf_autodropout.layers.recording import current_observer
from tf_autodropout.layers.registration import registered
from tf_autodropout.layers.sampling import current_sample
from tf_autodropout.layers.site_layers import (
    ATTENTION_SITES,
    SCORES,
    TRANSFORMER_SITES,
    attend,
    hold,
    read_patterns,
    read_schedule,
    site_layers,
    sites_config,
)
from tf_autodropout.patterns import Schedule


class _SevenSites(keras.layers.Layer):
    """What encoder and decoder have in common; comes before KerasHub's class among the bases."""

    def __init__(
        self,
        *args: Any,
        patterns: Mapping[str, Any] | None = None,
        pattern_seed: int = 0,
        mutable: bool = False,
        schedule: Schedule | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.add_sites(patterns, pattern_seed, mutable, read_schedule(schedule, self.name))

    def add_sites(
        self, patterns: Mapping[str, Any] | None, pattern_seed: int, mutable: bool, schedule: Schedule | None = None
    ) -> None:
        """Makes the pattern layers; see `adopt` for why this is not done in `__init__`."""
        self.patterns = read_patterns(patterns, (*TRANSFORMER_SITES, SCORES), self.name)
        self.pattern_seed, self.mutable = pattern_seed, mutable
        layers: dict[str, PatternDropout] = {}
        for part, sites in self._parts().items():
            made = site_layers(self.patterns, sites, pattern_seed, mutable, self.dtype_policy, schedule, part)
            layers |= {f"{part}_{site}": layer for site, layer in made.items()}
        hold(self, layers)

    def _parts(self) -> dict[str, Sequence[str]]:
        raise NotImplementedError

    def _drop(self, part: str) -> dict[str, PatternDropout]:
        layers = {site: self.pattern_layers.get(f"{part}_{site}") for site in self._parts()[part]}
        return {site: layer for site, layer in layers.items() if layer is not None}

    def _residual_block(self, x: Any, part: str, norm: Any, inner: Callable[[Any], Any], training: Any) -> Any:
        skip = self._drop(part)["residual"](x, training=training)
        x = inner(norm(x) if self.normalize_first else x) + skip  # (N, T, C)
        return x if self.normalize_first else norm(x)

    def _attend(self, attention: Any, dropout: Any, x: Any, source: Any, part: str, mask: Any, training: Any) -> Any:
        drop = self._drop(part)
        query, key, value = projected(attention, x, source)
        context, _ = attend(attention, drop, query, key, value, mask, training=training)
        x = drop["output"](output_projected(attention, context), training=training)
        return dropout(x, training=training)

    def _feed_forward_block(self, x: Any, training: Any) -> Any:
        def inner(x: Any) -> Any:
            x = self._feedforward_output_dense(self._feedforward_intermediate_dense(x))
            x = self._drop("feedforward")["ffn"](x, training=training)
            return self._feedforward_dropout(x, training=training)

        return self._residual_block(x, "feedforward", self._feedforward_layer_norm, inner, training)

    def get_config(self) -> dict[str, Any]:
        # One pattern serves all parts: any layer of a site tells it.
        layers = {layer.site: layer for layer in self.pattern_layers.values()}
        return {**super().get_config(), **sites_config(self, layers)}


_ATTENTION_PART = (*ATTENTION_SITES, SCORES, "residual")
_FEED_FORWARD_PART = ("ffn", "residual")


@registered
class PatternTransformerEncoder(_SevenSites, keras_hub.layers.TransformerEncoder):
    """`keras_hub.layers.TransformerEncoder` with the seven sites of the paper and the same variables.

    Args:
        *args: As for `keras_hub.layers.TransformerEncoder`.
        patterns: Site to `TransformerPattern`, for any of query, key, value, softmax, output, ffn, residual, and for
            scores, before the softmax.
        pattern_seed: Integer from which each site derives its own seed.
        mutable: Keep the patterns' values in variables, see `PatternDropout`.
        schedule: Schedule of all its patterns, see `PatternDropout`.
        **kwargs: As for `keras_hub.layers.TransformerEncoder`.

    Raises:
        ValueError: an unknown site.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> from tf_autodropout.layers.pattern_transformer import PatternTransformerEncoder
        >>> layer = PatternTransformerEncoder(128, 4, patterns={"ffn": tad.members.word_dropout(0.1)})
        >>> layer(keras.Input((16, 32))).shape
        (None, 16, 32)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figure 4.
    """

    def _parts(self) -> dict[str, Sequence[str]]:
        return {"self_attention": _ATTENTION_PART, "feedforward": _FEED_FORWARD_PART}

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Any:
        if not _patterns_matter(training) or return_attention_scores:
            return super().call(inputs, padding_mask, attention_mask, training, return_attention_scores)
        mask = _attention_mask(inputs, padding_mask, attention_mask)
        x = self._residual_block(
            inputs,
            "self_attention",
            self._self_attention_layer_norm,
            lambda x: self._attend(
                self._self_attention_layer, self._self_attention_dropout, x, x, "self_attention", mask, training
            ),
            training,
        )
        return self._feed_forward_block(x, training)


@registered
class PatternTransformerDecoder(_SevenSites, keras_hub.layers.TransformerDecoder):
    """`keras_hub.layers.TransformerDecoder` with the seven sites of the paper and the same variables.

    One pattern for a site serves self-attention and cross-attention.

    Args:
        *args: As for `keras_hub.layers.TransformerDecoder`.
        patterns: Site to `TransformerPattern`, for any of query, key, value, softmax, output, ffn, residual, and for
            scores, before the softmax.
        pattern_seed: Integer from which each site derives its own seed.
        mutable: Keep the patterns' values in variables, see `PatternDropout`.
        schedule: Schedule of all its patterns, see `PatternDropout`.
        **kwargs: As for `keras_hub.layers.TransformerDecoder`.

    Raises:
        ValueError: an unknown site.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> from tf_autodropout.layers.pattern_transformer import PatternTransformerDecoder
        >>> layer = PatternTransformerDecoder(128, 4, patterns={"softmax": tad.members.dropout(0.1)})
        >>> layer(keras.Input((16, 32))).shape
        (None, 16, 32)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figure 4.
    """

    def _parts(self) -> dict[str, Sequence[str]]:
        return {
            "self_attention": _ATTENTION_PART,
            "cross_attention": _ATTENTION_PART,
            "feedforward": _FEED_FORWARD_PART,
        }

    # Keras matches the arguments of `build` and `call` by name, so the signature is spelled out.
    def call(
        self,
        decoder_sequence: Any,
        encoder_sequence: Any = None,
        decoder_padding_mask: Any = None,
        decoder_attention_mask: Any = None,
        encoder_padding_mask: Any = None,
        encoder_attention_mask: Any = None,
        self_attention_cache: Any = None,
        self_attention_cache_update_index: Any = None,
        cross_attention_cache: Any = None,
        cross_attention_cache_update_index: Any = None,
        use_causal_mask: bool = True,
        training: bool | None = None,
    ) -> Any:
        crosses = self._cross_attention_layer is not None
        plain = not _patterns_matter(training) or self_attention_cache is not None
        if plain or crosses != (encoder_sequence is not None):
            return super().call(
                decoder_sequence,
                encoder_sequence,
                decoder_padding_mask=decoder_padding_mask,
                decoder_attention_mask=decoder_attention_mask,
                encoder_padding_mask=encoder_padding_mask,
                encoder_attention_mask=encoder_attention_mask,
                self_attention_cache=self_attention_cache,
                self_attention_cache_update_index=self_attention_cache_update_index,
                cross_attention_cache=cross_attention_cache,
                cross_attention_cache_update_index=cross_attention_cache_update_index,
                use_causal_mask=use_causal_mask,
                training=training,
            )
        mask = _attention_mask(decoder_sequence, decoder_padding_mask, decoder_attention_mask)
        if use_causal_mask:
            place = ops.arange(ops.shape(decoder_sequence)[1])
            causal = place[None, :, None] >= place[None, None, :]  # (1, queries, keys)
            mask = causal if mask is None else ops.logical_and(mask, causal)
        x = self._residual_block(
            decoder_sequence,
            "self_attention",
            self._self_attention_layer_norm,
            lambda x: self._attend(
                self._self_attention_layer, self._self_attention_dropout, x, x, "self_attention", mask, training
            ),
            training,
        )
        if crosses:
            source_mask = _attention_mask(encoder_sequence, encoder_padding_mask, encoder_attention_mask)
            x = self._residual_block(
                x,
                "cross_attention",
                self._cross_attention_layer_norm,
                lambda x: self._attend(
                    self._cross_attention_layer,
                    self._cross_attention_dropout,
                    x,
                    encoder_sequence,
                    "cross_attention",
                    source_mask,
                    training,
                ),
                training,
            )
        return self._feed_forward_block(x, training)


TWINS: dict[type, type] = {
    keras_hub.layers.TransformerEncoder: PatternTransformerEncoder,
    keras_hub.layers.TransformerDecoder: PatternTransformerDecoder,
}
for _plain, _twin in TWINS.items():
    _twin.__name__ = _plain.__name__  # by which Keras addresses the variables of a layer in a weights file


def _patterns_matter(training: bool | None) -> bool:
    return bool(training) or current_sample() is not None or current_observer() is not None


def _attention_mask(x: Any, padding_mask: Any, attention_mask: Any) -> Any:
    """The tokens that each token may see, boolean (N, 1 or queries, keys), or None for all."""
    padding = padding_mask if padding_mask is not None else getattr(x, "_keras_mask", None)
    masks = [None if padding is None else ops.expand_dims(padding, 1), attention_mask]
    both = [ops.cast(mask, "bool") for mask in masks if mask is not None]
    return None if not both else both[0] if len(both) == 1 else ops.logical_and(*both)
