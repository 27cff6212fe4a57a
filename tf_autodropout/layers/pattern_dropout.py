"""`PatternDropout`: the Keras layer for any pattern. The maths is in `tf_autodropout.masks`."""

import functools
import json
import numbers
import warnings
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tf_autodropout.layers.keras_internals import all_layers, save_with_layer
from tf_autodropout.layers.recording import current_observer
from tf_autodropout.layers.registration import registered
from tf_autodropout.layers.sampling import current_sample
from tf_autodropout.masks import (
    apply_pattern,
    apply_to_scores,
    check_shape,
    encode,
    encode_for,
    encode_schedule,
    encode_vector,
    is_silent,
    seed_word,
)
from tf_autodropout.masks.backend import Tensor, xp
from tf_autodropout.masks.encoding import InVariable
from tf_autodropout.masks.kinds import MASK_KINDS, Values, kind_for
from tf_autodropout.masks.layout import MapLayout
from tf_autodropout.masks.values import at_step
from tf_autodropout.patterns import (
    Pattern,
    PatternSet,
    Schedule,
    pattern_from_dict,
    pattern_to_dict,
)
from tf_autodropout.patterns.checks import check_bool, check_int, check_rate, shown
from tf_autodropout.patterns.kinds import KINDS
from tf_autodropout.patterns.strength import map_pattern, token_pattern

_KEPT = 4096  # encoded patterns


@registered
class PatternDropout(keras.layers.Layer):
    """Drops a structured pattern while training, and is the identity at inference.

    Every training step draws a new mask `m` from the pattern and returns
    `inputs * (Size(m) / Sum(m)) * m`.

    Args:
        pattern: `ConvPattern` or `DropBlockPattern` for maps, `TransformerPattern` for tokens; or a number, the share
            of the entries to drop: then in each channel of a map one block of about that share, whole tokens of
            `(N, T, C)`, and entries of `(N, C)`.
        seed: Integer. `None` draws one from Keras' global random state, so
            `keras.utils.set_random_seed` makes it reproducible.
        data_format: `"channels_last"`, `"channels_first"` or `None` for the Keras setting. Used
            by patterns of maps.
        token_axis: Axis of the tokens, for `TransformerPattern` on other shapes than `(N, T, C)`.
        site: Name of the place in the network, the key of a `PatternSet`. Default: the layer's name.
        on_skip: True where the layer sits on a skip connection: then, of the patterns of maps, only a `ConvPattern`
            whose `residual` is True acts.
        mutable: True keeps the pattern's and the schedule's values in a variable, so that `assign` exchanges the
            pattern under a compiled training step without a new trace. For `ConvPattern` and `TransformerPattern`.
        schedule: `Schedule` of the pattern's rate over the layer's training calls; None for full strength at all steps.
        before_softmax: True where the inputs are attention scores, before their softmax: what is dropped is set so
            low that the softmax gives it nothing, and nothing is scaled (DropKey).

    Call arguments:
        inputs: Floating-point tensor.
        training: Python boolean. Anything but True returns `inputs` itself.

    Input shape:
        Maps `(N, T, C)`, `(N, H, W, C)` or `(N, D, H, W, C)` (either data format); tokens `(N, T, C)`, `(N, C)` or
        any other shape with the examples on axis 0.

    Output shape:
        Same as input.

    Raises:
        TypeError: `pattern` is not a pattern or a number, an input that is not floating-point.
        ValueError: an input of the wrong rank, an unknown data format, a seed that is no integer, a flag that is no
            boolean, a number outside 0 to 1.

    Warns:
        UserWarning: once, if the pattern covers the whole map at every step, so that nothing passes.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> inputs = keras.Input((32, 32, 16))
        >>> outputs = tad.PatternDropout(tad.ConvPattern(size=4, rotate=30))(inputs)
        >>> outputs = tad.PatternDropout(0.1, schedule=tad.Schedule.ramp_up(1000))(outputs)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Equation 1.
    """

    def __init__(
        self,
        pattern: Pattern | float,
        seed: int | None = None,
        data_format: str | None = None,
        token_axis: int = 1,
        site: str | None = None,
        on_skip: bool = False,
        mutable: bool = False,
        schedule: Schedule | None = None,
        before_softmax: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._pattern = _check_pattern(pattern)
        self.seed = xp.seeds_of(keras.random.SeedGenerator(None).state)[0] if seed is None else _check_seed(seed)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        MapLayout.check(self.data_format)
        self.token_axis = check_int("token_axis", token_axis, 1)
        self.site = self.name if site is None else site
        self.on_skip = check_bool("on_skip", on_skip)
        self.mutable = check_bool("mutable", mutable)
        self._schedule = check_schedule(schedule)
        self.before_softmax = check_bool("before_softmax", before_softmax)
        self.supports_masking = True
        self._values: Any = None
        self._map: tuple[int | None, ...] | None = None  # sizes of the map as last seen
        self._warned = self._is_off = False
        # (seed, step): the mask of a step is a pure function of these two and of the replica. Held as Keras holds the
        # seed of its own Dropout: no weight, so that weights fit models with and without patterns.
        self.seed_generator = keras.random.SeedGenerator(xp.seed_number(seed_word(self.seed)), name=self.name)
        save_with_layer(self, self.seed_generator.state.value, "seed_state")
        if mutable:
            vector = xp.to_wide(self._encoded())
            self._values = self.add_weight(
                name="values",
                shape=vector.shape,
                dtype=str(vector.dtype),
                trainable=False,
                initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(vector, dtype),
            )
        self._build_at_init()

    @property
    def pattern(self) -> Pattern:
        """The pattern this layer applies now; of a layer made with a number, the one for the inputs last seen.

        Raises:
            ValueError: a layer made with a number that has not been called yet.
        """
        if isinstance(self._pattern, Pattern):
            return self._pattern
        if self._map is None:
            raise ValueError(f"Layer '{self.name}' finds its pattern when it is called for the first time.")
        return _of_strength(self._pattern, self._map)

    @property
    def schedule(self) -> Schedule | None:
        """The schedule of the pattern's rate, None for full strength at all steps."""
        return self._schedule

    @property
    def seed_state(self) -> Any:
        """The variable (seed, step); a step is a training call."""
        return self.seed_generator.state

    @property
    def values(self) -> Any:
        """The variable that holds the pattern of a mutable layer, see `vector`; None of any other."""
        return self._values

    def assign(self, pattern: Pattern) -> None:
        """Exchanges the pattern of a mutable layer; a compiled step goes on with the new one.

        Raises:
            TypeError: a pattern of another kind.
            ValueError: the layer is not mutable, or the pattern does not suit its inputs.
        """
        self._check_mutable("pattern")
        self._check_kind(pattern)
        self._pattern, self._is_off = pattern, False
        self._values.assign(xp.to_wide(self._encoded()))

    def assign_schedule(self, schedule: Schedule | None) -> None:
        """Exchanges the schedule of a mutable layer; a compiled step goes on with the new one.

        Raises:
            TypeError: not a schedule.
            ValueError: the layer is not mutable.
        """
        self._check_mutable("schedule")
        self._schedule = check_schedule(schedule)
        self._values.assign(xp.to_wide(self._encoded()))

    def switch_off(self) -> None:
        """Lets the layer drop nothing until `assign`: for one that somebody's own code holds and goes on calling."""
        self._pattern = type(self._pattern)()  # of a number: 0
        self._is_off = True
        if self.mutable:
            self._values.assign(xp.to_wide(self._encoded()))

    @property
    def is_off(self) -> bool:
        """True for a layer that drops nothing and is not there for patterns to come."""
        return self.pattern.is_identity and (self._is_off or not self.mutable)

    def reseed(self, seed: int) -> None:
        """Starts the layer's random sequence, and its schedule, anew from `seed`."""
        self.seed = _check_seed(seed)
        self._set_seed_state([seed_word(self.seed), 0])

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        self._see(inputs.shape)
        if (observe := current_observer()) is not None:
            observe(self, inputs)
        if not is_floating(inputs):  # the scale of Eq. 1 has no integers
            raise TypeError(f"Layer '{self.name}' needs a floating-point tensor. Received: dtype={inputs.dtype}")
        sample = current_sample()
        if (not training and sample is None) or xp.is_spec(inputs):
            return inputs
        if not self.mutable and self._acting().is_identity:
            return inputs
        self._warn_if_silent()
        if len(inputs.shape) == 2:  # one token an example
            return keras.ops.squeeze(self._apply(keras.ops.expand_dims(inputs, 1), sample), 1)
        return self._apply(inputs, sample)

    def _apply(self, inputs: Any, sample: Any) -> Any:
        if sample is None:
            seed, schedule = xp.drawn_once(self, self._next_seed), self._schedule
        else:
            first = xp.word(xp.convert_to_tensor(self.seed_state)[0]) + xp.word(sample.offset)
            seed, schedule = xp.stack([first, xp.word(sample.number)]), None
        values = self._values_for(inputs, schedule, seed)
        apply = apply_to_scores if self.before_softmax else apply_pattern
        return apply(inputs, values, seed, xp.replica(), self.data_format, self.token_axis)

    def _next_seed(self) -> Tensor:
        """(seed, step) of this call; moves on to the next step."""
        seed = xp.convert_to_tensor(self.seed_state)
        self.seed_state.assign(seed + xp.constant([0, 1], seed.dtype))
        return seed

    def _values_for(self, inputs: Any, schedule: Schedule | None, seed: Tensor) -> Values | InVariable:
        if self.mutable:
            vector = xp.convert_to_tensor(self._values)
            if schedule is not self._schedule:  # Monte Carlo: full strength
                full = xp.to_wide(np.array(encode_schedule(None), np.int64))
                vector = xp.concat([vector[: -len(full)], xp.constant(full)], 0)
            return InVariable(type(self._pattern), vector)
        pattern = self._acting()
        values = _encoded(pattern, self._map if pattern.has_fractions else None, len(inputs.shape) - 2)
        if values is None:  # a fraction of a map of unknown size
            sizes = MapLayout.of(tuple(xp.unstack(xp.shape(inputs))), self.data_format).sizes
            values = encode_for(pattern, sizes)
        return values if schedule is None else at_step(values, encode_schedule(schedule), seed[1])

    def _see(self, shape: Any) -> None:
        """Takes notice of the shape of the inputs, and checks that the pattern suits them."""
        rank = len(shape)
        self._map = MapLayout.of(tuple(shape), self.data_format).sizes if rank > 1 else ()
        pattern = self.pattern
        check_shape(pattern, rank, self.data_format, self.token_axis)

    def _warn_if_silent(self) -> None:
        pattern, sizes = self.pattern, self._map
        if self.mutable or self._warned or self.on_skip or not sizes or None in sizes or not pattern.ON_MAPS:
            return
        if is_silent(pattern, sizes, 1.0 if self._schedule is None else self._schedule.peak):
            self._warned = True
            warnings.warn(
                f"Layer '{self.name}' drops the whole map {sizes} at every step: its pattern covers it and its "
                "rate is 1, so nothing passes while training. Give it a smaller size, a fraction (size='1/4') or "
                f"a rate below 1. Pattern: {pattern!r}",
                stacklevel=2,
            )

    def _check_mutable(self, what: str) -> None:
        if not self.mutable:
            raise ValueError(f"Layer '{self.name}' has a fixed {what}. Build it with mutable=True to assign another.")

    def vector(self, pattern: Pattern) -> np.ndarray:
        """Returns what `assign` puts into the variable of a mutable layer for this pattern, int64.

        Raises:
            TypeError: a pattern of another kind.
            ValueError: the layer is not mutable, or the pattern does not suit its inputs.
        """
        self._check_mutable("pattern")
        self._check_kind(pattern)
        return self._encoded(pattern)

    def _check_kind(self, pattern: Any) -> None:
        if type(_check_pattern(pattern)) is not type(self._pattern):
            raise TypeError(
                f"Site '{self.site}' needs a {type(self._pattern).__name__}. Received: {type(pattern).__name__}"
            )

    def _acting(self, pattern: Pattern | None = None) -> Pattern:
        """The pattern as it acts here: on a skip connection only by its residual token."""
        pattern = self.pattern if pattern is None else pattern
        if self.on_skip and pattern.ON_MAPS and not pattern.residual:
            return replace(pattern, size=0)  # type: ignore[type-var]
        return pattern

    def _encoded(self, pattern: Pattern | None = None) -> np.ndarray:
        """The vector of a mutable layer."""
        pattern = self._acting(pattern)
        if isinstance(self._pattern, float) or kind_for(type(pattern)).cases is None:
            able = " or ".join(kind.pattern.TYPE for kind in MASK_KINDS if kind.cases)
            raise ValueError(f"Expected a {able} with mutable=True. Received: pattern={self._pattern!r}")
        if self._map is not None:
            pattern.check_rank(len(self._map) + 2)
        if pattern.has_fractions:
            if self._map is None or None in self._map:
                raise ValueError(
                    f"Layer '{self.name}' is mutable and does not know the size of its maps, so its pattern cannot "
                    f"have fractions. Received: pattern={pattern!r}"
                )
            pattern = pattern.resolve(self._map)  # type: ignore[arg-type]
        return encode_vector(pattern, self._schedule, len(self._map) if self._map else None)

    def save_own_variables(self, store: Any) -> None:
        # The same file on every backend, whatever its integers.
        store["seed_state"] = np.array(xp.seeds_of(self.seed_state), np.int64)
        if self.mutable:
            store["0"] = xp.from_wide(self._values.numpy())
            # The values do not tell the pattern: a rotation is in them as a matrix only.
            store["pattern"] = np.frombuffer(json.dumps(pattern_to_dict(self._pattern)).encode(), np.uint8)

    def load_own_variables(self, store: Any) -> None:
        names = list(store.keys())
        own = {name: store[name] for name in names if name not in ("pattern", "seed_state")}
        if "seed_state" in names:
            self._set_seed_state(store["seed_state"])
        elif len(own) == len(self.weights) + 1:  # written by version 0.1, where the state was the first weight
            self._set_seed_state(own["0"])
            own = {str(place - 1): own[str(place)] for place in range(1, len(own))}
        if self.mutable and names:
            self._pattern = pattern_from_dict(json.loads(np.array(store["pattern"]).tobytes()), "weights")
        if names:  # weights of a model without patterns have nothing for this layer
            super().load_own_variables({name: xp.to_wide(np.array(value)) for name, value in own.items()})

    def _set_seed_state(self, state: Any) -> None:
        self.seed_state.assign([xp.seed_number(int(word) & 0xFFFFFFFF) for word in np.array(state)])

    def compute_output_shape(self, input_shape: Any) -> Any:
        self._see(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = {
            "pattern": pattern_to_dict(self._pattern) if isinstance(self._pattern, Pattern) else self._pattern,
            "seed": self.seed,
            "data_format": self.data_format,
            "token_axis": self.token_axis,
            "site": self.site,
            "on_skip": self.on_skip,
            "mutable": self.mutable,
            "schedule": None if self._schedule is None else self._schedule.to_dict(),
            "before_softmax": self.before_softmax,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PatternDropout":
        config = dict(config)
        if isinstance(config["pattern"], dict):
            config["pattern"] = pattern_from_dict(config["pattern"], "PatternDropout")
        if isinstance(config.get("schedule"), dict):
            config["schedule"] = Schedule.from_dict(config["schedule"], "PatternDropout")
        return cls(**config)


@functools.lru_cache(_KEPT)
def _encoded(pattern: Pattern, sizes: tuple[int | None, ...] | None, axes: int) -> Values | None:
    """A pattern as integers; None for a fraction of a size that is not known."""
    if sizes is None:
        return encode(pattern, axes)
    return None if None in sizes else encode(pattern.resolve(sizes), axes)  # type: ignore[arg-type]


@functools.lru_cache(_KEPT)
def _of_strength(strength: float, sizes: tuple[int | None, ...]) -> Pattern:
    """The default pattern by the rank of the inputs."""
    if len(sizes) in (2, 3):
        return map_pattern(strength, sizes)
    return token_pattern(strength, is_sequence=len(sizes) == 1)


def pattern_layers(model: keras.Model) -> dict[str, list[PatternDropout]]:
    """Returns the pattern layers of a model by site."""
    found: dict[str, list[PatternDropout]] = {}
    for layer in all_layers(model):
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


def is_floating(tensor: Any) -> bool:
    """True for a tensor that a pattern can act on."""
    return hasattr(tensor, "dtype") and keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def _check_pattern(pattern: Any) -> Any:
    if isinstance(pattern, Pattern):
        return pattern
    if isinstance(pattern, bool) or not isinstance(pattern, numbers.Real):
        raise TypeError(
            f"Expected 'pattern' to be a {', a '.join(kind.TYPE for kind in KINDS)} or the share to drop, a number. "
            f"Received: pattern={pattern!r}"
        )
    return check_rate("pattern", pattern)


def check_schedule(schedule: Any) -> Schedule | None:
    """Returns a schedule, or raises."""
    if not isinstance(schedule, Schedule | None):
        raise TypeError(f"Expected 'schedule' to be a Schedule or None. Received: schedule={shown(schedule)}")
    return schedule


def _check_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise ValueError(f"Invalid value for 'seed'. Expected an integer or None. Received: seed={shown(seed)}")
    return int(seed)
