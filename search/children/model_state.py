"""All that a training changes in a model: found, kept and put back."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.layers import PatternDropout
from tf_autodropout.layers.keras_internals import all_layers


class ModelState:
    """The state of a compiled model as it is now: weights, statistics, caches, random seeds, optimizer, metrics.

    Whatever variables are reachable from the attributes of the model, its layers, its optimizer and its metrics.

    Args:
        model: Compiled and built, with the optimizer's slots.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self.variables = _variables(model)
        # What is all zeros, as the slots of a new optimizer are, takes no memory.
        self._values = [value if (value := v.numpy()).any() else None for v in self.variables.values()]

    def restore(self) -> None:
        """Puts everything back."""
        for variable, value in zip(self.variables.values(), self._values, strict=True):
            variable.assign(np.zeros(variable.shape, variable.numpy().dtype) if value is None else value)

    def reseed(self, seeds: Iterator[int]) -> None:
        """Gives the seed generators of all layers but the pattern layers new seeds, in the order of the network."""
        for generator in _generators(self._model):
            generator.state.assign([next(seeds) & 0xFFFFFFFF, 0])

    def numpy(self) -> dict[str, np.ndarray]:
        """Returns what the variables hold now, by name; not the optimizer's, several times the weights."""
        slots = {_identity(variable) for variable in self._model.optimizer.variables}
        kept = {name: v for name, v in self.variables.items() if _identity(v) not in slots}
        return {name: np.array(variable.numpy(), copy=True) for name, variable in kept.items()}


def _variables(model: keras.Model) -> dict[str, Any]:
    found: dict[int, Any] = {}
    for holder in _holders(model):
        for value in [*getattr(holder, "variables", ()), *_inside(vars(holder))]:
            if isinstance(value, keras.random.SeedGenerator):
                value = value.state
            if isinstance(value, keras.Variable | tf.Variable):
                found.setdefault(_identity(value), value)
    named: dict[str, Any] = {}
    for variable in found.values():
        name = getattr(variable, "path", variable.name)
        named[name if name not in named else f"{name} ({len(named)})"] = variable
    return named


def _identity(variable: Any) -> int:
    """The same for a Keras variable and for the one of TensorFlow that it is made of."""
    return id(variable.value) if isinstance(variable, keras.Variable) else id(variable)


def _generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    found: dict[int, Any] = {}
    for holder in _holders(model):
        if not isinstance(holder, PatternDropout):
            for value in _inside(vars(holder)):
                if isinstance(value, keras.random.SeedGenerator):
                    found.setdefault(id(value), value)
    layers = all_layers(model, include_self=True)
    own = {id(layer.seed_generator) for layer in layers if isinstance(layer, PatternDropout)}
    return [generator for key, generator in found.items() if key not in own]


def _holders(model: keras.Model) -> list[Any]:
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", None)
    return [one for one in (*all_layers(model, include_self=True), optimizer, inner, *model.metrics) if one is not None]


def _inside(value: Any, depth: int = 3) -> Iterator[Any]:
    """Variables and seed generators in attributes and in lists, tuples and dictionaries of them."""
    if isinstance(value, keras.Variable | tf.Variable | keras.random.SeedGenerator):
        yield value
    elif depth and isinstance(value, dict):
        for one in value.values():
            yield from _inside(one, depth - 1)
    elif depth and isinstance(value, list | tuple | set):
        for one in value:
            yield from _inside(one, depth - 1)
