"""Any layer with a pattern on its output: a twin of its class, made when it is needed.

The twin has the same variables, arguments and config: whoever saves it saves a plain layer. What holds the model
(`surgery.rebuilding`) saves the patterns.
"""

import functools
from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers.pattern_dropout import PatternDropout, is_floating
from tf_autodropout.layers.site_layers import SCORES, hold
from tf_autodropout.patterns import Pattern, Schedule
from tf_autodropout.patterns.seeding import site_seed

OUTPUT = ""  # the name of the site on what a twin returns

_TWINS: dict[type, type] = {}


class Patterned:
    """Comes before the class of a layer among the bases of its twin.

    The pattern acts on what `call` returns: on its first floating-point tensor where it returns several. A softmax can
    have one at `scores` too, on what it is given. `training`
    comes from Keras' call context, as for any layer inside another one: `call` takes no new arguments, for Keras has
    read its signature when the layer was made.
    """

    plain: type
    pattern_layers: Mapping[str, PatternDropout]

    def add_sites(
        self,
        patterns: Mapping[str, Pattern],
        pattern_seed: int,
        mutable: bool,
        schedule: Schedule | None = None,
        **where: Any,
    ) -> None:
        """Makes the pattern layers.

        Args:
            patterns: `""`, `"scores"` or both to pattern.
            pattern_seed: Seed of the masks.
            mutable: See `PatternDropout`.
            schedule: See `PatternDropout`.
            **where: `site`, `token_axis` and `data_format` of `PatternDropout`.
        """
        both = {"mutable": mutable, "schedule": schedule, "dtype": self.compute_dtype, "autocast": False}  # type: ignore[attr-defined]
        layers = {}
        if OUTPUT in patterns:
            layers[OUTPUT] = PatternDropout(patterns[OUTPUT], seed=pattern_seed, name="pattern", **both, **where)
        if SCORES in patterns:
            seed = site_seed(pattern_seed, SCORES)
            own = {**where, "site": SCORES, "before_softmax": True, "name": f"{SCORES}_pattern"}
            layers[SCORES] = PatternDropout(patterns[SCORES], seed=seed, **both, **own)
        hold(self, layers)

    def with_pattern(self, outputs: Any) -> Any:
        """Returns what `call` gives, with the pattern on it."""
        if (pattern := self.pattern_layers.get(OUTPUT)) is None:
            return outputs
        leaves = keras.tree.flatten(outputs)
        for place, leaf in enumerate(leaves):
            if is_floating(leaf):
                leaves[place] = pattern(leaf)
                return keras.tree.pack_sequence_as(outputs, leaves)
        return outputs

    def before(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns what `call` is given by position, with the pattern at `scores` on the first."""
        if (pattern := self.pattern_layers.get(SCORES)) is None or not inputs:
            return inputs
        return (pattern(inputs[0]), *inputs[1:])

    @classmethod
    def from_config(cls, config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Makes a plain layer: patterns are not in the config."""
        return cls.plain.from_config(config, *args, **kwargs)  # type: ignore[attr-defined]


def twin_of(plain: type) -> type:
    """Returns the class of the patterned layers of a class; it goes by the same name and module."""
    if plain not in _TWINS:

        def patterned(name: str) -> Any:
            method = getattr(plain, name)

            @functools.wraps(method)
            def call(self: Any, *args: Any, **kwargs: Any) -> Any:
                return self.with_pattern(method(self, *self.before(args), **kwargs))

            return call

        body = {name: patterned(name) for name in ("call", "quantized_call")}
        kept = {"plain": plain, "__module__": plain.__module__, "__qualname__": plain.__qualname__}
        _TWINS[plain] = type(plain.__name__, (Patterned, plain), {**body, **kept})
    return _TWINS[plain]
