"""`PatternDropout`: the Keras layer for any pattern. The maths is in `tf_autodropout.masks`."""

import json
import numbers
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.masks import apply_pattern, check_shape, encode
from tf_autodropout.masks.values import InVariable, Values
from tf_autodropout.patterns import (
    ConvPattern,
    Pattern,
    PatternSet,
    TransformerPattern,
    pattern_from_dict,
    pattern_to_dict,
)
from tf_autodropout.patterns.checks import check_bool, check_int


@keras.saving.register_keras_serializable(package="tf_autodropout")
class PatternDropout(keras.layers.Layer):
    """Drops a structured pattern while training, and is the identity at inference.

    Every training step draws a new mask `m` from the pattern and returns
    `inputs * (Size(m) / Sum(m)) * m`.

    Args:
        pattern: `ConvPattern` for `(N, H, W, C)`, `TransformerPattern` for `(N, T, C)`.
        seed: Integer. `None` draws one from Keras' global random state, so
            `keras.utils.set_random_seed` makes it reproducible.
        data_format: `"channels_last"`, `"channels_first"` or `None` for the Keras setting. Used
            by `ConvPattern`.
        token_axis: Axis of the tokens, for `TransformerPattern` on other shapes than `(N, T, C)`.
        site: Name of the place in the network, the key of a `PatternSet`. Default: the layer's name.
        on_skip: True where the layer sits on a skip connection: then a `ConvPattern` acts only if
            its `residual` is True.
        mutable: True keeps the pattern's values in a variable, so that `assign` exchanges the
            pattern under a compiled training step without a new trace.

    Call arguments:
        inputs: Floating-point tensor.
        training: Python boolean. Anything but True returns `inputs` itself.

    Input shape:
        `(N, H, W, C)` (either data format) or `(N, T, C)`.

    Output shape:
        Same as input.

    Raises:
        TypeError: `pattern` is not a pattern, an input that is not floating-point.
        ValueError: an input of the wrong rank, an unknown data format, a seed that is no integer, a flag that is no
            boolean.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> inputs = keras.Input((32, 32, 16))
        >>> outputs = tad.PatternDropout(tad.ConvPattern(size=4, rotate=30))(inputs)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Equation 1.
    """

    def __init__(
        self,
        pattern: Pattern,
        seed: int | None = None,
        data_format: str | None = None,
        token_axis: int = 1,
        site: str | None = None,
        on_skip: bool = False,
        mutable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._pattern = _check_pattern(pattern)
        self.seed = keras.random.SeedGenerator(None).state.numpy()[0].item() if seed is None else _check_seed(seed)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        check_shape(pattern, 4, self.data_format, 1)
        self.token_axis = check_int("token_axis", token_axis, 1)
        self.site = self.name if site is None else site
        self.on_skip = check_bool("on_skip", on_skip)
        self.mutable = check_bool("mutable", mutable)
        self.supports_masking = True
        self._values: Any = None
        # (seed, step): the mask of a step is a pure function of these two and of the replica.
        self.seed_state = self.add_weight(
            name="seed_state",
            shape=(2,),
            dtype="int32",
            trainable=False,
            initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(_seed_words(self.seed), dtype),
        )
        if mutable:
            vector = self._encoded()
            self._values = self.add_weight(
                name="values",
                shape=(len(vector),),
                dtype="int64",
                trainable=False,
                initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(np.array(vector), dtype),
            )
        self._build_at_init()

    @property
    def pattern(self) -> Pattern:
        """The pattern this layer applies now."""
        return self._pattern

    def assign(self, pattern: Pattern) -> None:
        """Exchanges the pattern of a mutable layer; a compiled step goes on with the new one.

        Raises:
            TypeError: a pattern of another kind.
            ValueError: the layer is not mutable.
        """
        if not self.mutable:
            raise ValueError(f"Layer '{self.name}' has a fixed pattern. Build it with mutable=True to assign another.")
        if type(_check_pattern(pattern)) is not type(self._pattern):
            raise TypeError(
                f"Site '{self.site}' needs a {type(self._pattern).__name__}. Received: {type(pattern).__name__}"
            )
        self._pattern = pattern
        self._values.assign(np.array(self._encoded(), np.int64))

    def reseed(self, seed: int) -> None:
        """Starts the layer's random sequence anew from `seed`."""
        self.seed = _check_seed(seed)
        self.seed_state.assign(_seed_words(self.seed))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        check_shape(self._pattern, len(inputs.shape), self.data_format, self.token_axis)
        if not tf.as_dtype(inputs.dtype).is_floating:  # the scale of Eq. 1 has no integers
            raise TypeError(f"Layer '{self.name}' needs a floating-point tensor. Received: dtype={inputs.dtype}")
        if not training:
            return inputs
        if not self.mutable and self._acting().is_identity:
            return inputs
        replica = tf.distribute.get_replica_context()
        number = replica.replica_id_in_sync_group if replica else 0
        values = InVariable(type(self._pattern), self._values) if self.mutable else self._encoded()
        return apply_pattern(inputs, values, self._next_seed(), number, self.data_format, self.token_axis)

    def _next_seed(self) -> tf.Tensor:
        """(seed, step) of this call; moves on to the next step."""
        state = tf.convert_to_tensor(self.seed_state)
        self.seed_state.assign(state + tf.constant([0, 1]))
        return state

    def _acting(self) -> Pattern:
        """The pattern as it acts here: on a skip connection only by its residual token."""
        pattern = self._pattern
        if self.on_skip and isinstance(pattern, ConvPattern) and not pattern.residual:
            return replace(pattern, size=0)
        return pattern

    def _encoded(self) -> Values:
        return encode(self._acting())

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        if self.mutable:  # the values do not tell the pattern: a rotation is in them as a matrix only
            store["pattern"] = np.frombuffer(json.dumps(pattern_to_dict(self._pattern)).encode(), np.uint8)

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables({name: store[name] for name in store.keys() if name != "pattern"})  # noqa: SIM118
        if self.mutable:
            self._pattern = pattern_from_dict(json.loads(np.array(store["pattern"]).tobytes()), "weights")

    def compute_output_shape(self, input_shape: Any) -> Any:
        check_shape(self._pattern, len(input_shape), self.data_format, self.token_axis)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = {
            "pattern": pattern_to_dict(self._pattern),
            "seed": self.seed,
            "data_format": self.data_format,
            "token_axis": self.token_axis,
            "site": self.site,
            "on_skip": self.on_skip,
            "mutable": self.mutable,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PatternDropout":
        return cls(**config | {"pattern": pattern_from_dict(config["pattern"], "PatternDropout")})


def pattern_layers(model: keras.Model) -> dict[str, list[PatternDropout]]:
    """Returns the pattern layers of a model by site."""
    found: dict[str, list[PatternDropout]] = {}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, PatternDropout) and layer not in found.get(layer.site, []):
            found.setdefault(layer.site, []).append(layer)
    return found


def assign_patterns(model: keras.Model, patterns: PatternSet) -> None:
    """Gives every site of a mutable model its pattern; sites the set does not name get none.

    Raises:
        ValueError: the set names sites that the model does not have, or that are not mutable.
    """
    everywhere = pattern_layers(model)
    layers = {site: twins for site, twins in everywhere.items() if all(layer.mutable for layer in twins)}
    if unknown := sorted(patterns.keys() - layers.keys()):
        raise ValueError(
            f"The PatternSet names {len(unknown)} site(s) that are not mutable sites of this model: "
            f"{', '.join(unknown[:5])}. "
            f"Mutable sites: {', '.join(list(layers)[:10])}"
        )
    for site, twins in layers.items():
        for layer in twins:
            layer.assign(patterns.get(site, type(layer.pattern)()))


def _check_pattern(pattern: Any) -> Pattern:
    if not isinstance(pattern, ConvPattern | TransformerPattern):
        raise TypeError(f"Expected 'pattern' to be a ConvPattern or TransformerPattern. Received: pattern={pattern!r}")
    return pattern


def _check_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise ValueError(f"Invalid value for 'seed'. Expected an integer or None. Received: seed={seed!r}")
    return int(seed)


def _seed_words(seed: int) -> np.ndarray:
    """(seed, step 0) as int32 words; any integer is a seed."""
    return np.array([seed & 0xFFFFFFFF, 0], np.uint32).view(np.int32)
