"""Any compiled Keras model as a child: compiled once, trained by its own `fit`, fresh for every trial."""

import itertools
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.layers import PatternDropout, assign_patterns, pattern_layers, site_seed
from tf_autodropout.layers.recording import recording
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.children.model_data import ModelData
from tf_autodropout.search.children.model_state import ModelState
from tf_autodropout.search.children.random_states import set_random_states

_STEPS = 2  # of each of the two trainings that must agree
_MOST = 0.05  # of what a variable has moved
_log = logging.getLogger(__name__)


class ModelChild:
    """Trains one compiled model again and again by `fit`, each time from a fresh state.

    What `fit` honours, a trial honours: its compiled step is the model's own, made at the first trial.

    Args:
        model: Compiled, with pattern layers in variables (`tad.regularize(model, {}, mutable=True)`).
        weights: Its weights in the order of the model without patterns.
        own_names: Names of the sites for the search to those in the model.
    """

    def __init__(
        self, model: keras.Model, weights: Sequence[keras.Variable], own_names: dict[str, str] | None = None
    ) -> None:
        self.model, self._weights, self._own_names = model, list(weights), own_names or {}
        for optimizer in (model.optimizer, getattr(model.optimizer, "inner_optimizer", None)):
            if optimizer is not None and not optimizer.built:
                optimizer.build(model.trainable_variables)
        self._state = ModelState(model)
        self._layers = pattern_layers(model)

    def reset(self, patterns: PatternSet, seed: int, weights: Sequence[np.ndarray] | None = None) -> None:
        """Puts the child at the start of a trial, and Python's and NumPy's random states with it.

        Args:
            patterns: By the search's names of the sites.
            seed: Seeds masks, other random layers and the order of the examples.
            weights: To begin with; None for those that the child was made with.

        Raises:
            ValueError: the set names sites that the model does not have; weights of another model.
        """
        self._state.restore()
        if weights is not None:
            self._begin_with(weights)
        self._state.reseed(site_seed(seed, "generator", place) for place in itertools.count())
        self.assign(patterns)
        stable = {own: site for site, own in self._own_names.items()}
        for own_name, layers in self._layers.items():
            for place, layer in enumerate(layers):
                layer.reseed(site_seed(seed, stable.get(own_name, own_name), place))
        set_random_states(seed)

    def assign(self, patterns: PatternSet) -> None:
        """Exchanges the patterns, by the search's names of the sites; the compiled step goes on with the new ones."""
        own = {self._own_names.get(site, site): pattern for site, pattern in patterns.items()}
        assign_patterns(self.model, PatternSet(own))

    def drawing(self, drawn: Iterator[PatternSet]) -> keras.callbacks.Callback:
        """Returns what gives each call of the compiled step the next PatternSet, in `fit`."""
        return keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs=None: self.assign(next(drawn)))

    def shapes(self, inputs: Any) -> dict[str, tuple[int, ...]]:
        """Returns the shape that arrives at each site, as `Site` has it, by the names in the model."""
        found: dict[str, tuple[int, ...]] = {}

        def see(layer: PatternDropout, x: Any) -> None:
            found.setdefault(layer.site, _shape(layer, tuple(x.shape)))

        with recording(see):
            self.model(inputs, training=False)
        return found

    def check_repeats(self, data: ModelData, weights: Sequence[np.ndarray] | None, **fit: Any) -> None:
        """Trains twice for a few steps from one seed; both must come to the same.

        Args:
            data: To train on. Batches that come in another order each time are told in the log, and are no error.
            weights: To begin with, see `reset`.
            **fit: Arguments of `fit`.

        Raises:
            ValueError: the trainings differ; the message names what differs most.
        """

        def trained(*given: Any) -> dict[str, np.ndarray]:
            self.reset(PatternSet({}), 1, weights)
            given = given or data.source(1)
            shuffle = data.shuffles(given[0])
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*ran out of data")  # it may have a single batch
                self.model.fit(*given, **fit, shuffle=shuffle, epochs=1, steps_per_epoch=_STEPS, verbose=0)
            return self._state.numpy()

        self.reset(PatternSet({}), 1, weights)
        before = self._state.numpy()
        first, second = trained(), trained()
        if not _differing(before, first, second):
            return
        (x, *_) = data.source(1)
        if isinstance(x, tf.data.Dataset):
            held = x.take(_STEPS).cache()
            for _ in held:
                pass
            first, second = trained(held), trained(held)
            if not _differing(before, first, second):
                _log.warning(
                    "the examples come in another order each time: two trials of one seed differ by it. A function "
                    "that makes the dataset is called with TensorFlow's seed set, and then they do not"
                )
                return
        name = _differing(before, first, second)
        raise ValueError(
            f"Two trainings of model '{self.model.name}' with one seed differ, most of all in '{name}': something that "
            "training changes is not put back between trials. Is there state outside of Keras' variables, such as a "
            "Python attribute or a random generator of its own?"
        )

    def _begin_with(self, weights: Sequence[np.ndarray]) -> None:
        if [tuple(w.shape) for w in weights] != [tuple(v.shape) for v in self._weights]:
            raise ValueError(
                f"The model was built with {len(weights)} weights of other shapes than the first time "
                f"({len(self._weights)} weights). Expected a function that builds the same model each time."
            )
        for variable, value in zip(self._weights, weights, strict=True):
            variable.assign(value)


def _shape(layer: PatternDropout, shape: tuple[int, ...]) -> tuple[int, ...]:
    """`(H, W, C)` of maps, `(T, C)` of tokens with whatever else there is, without the batch."""
    if len(shape) == 2:
        return (1, shape[1])
    if layer.pattern.ON_MAPS:
        return shape[1:] if layer.data_format == "channels_last" else (*shape[2:], shape[1])
    others = [size for axis, size in enumerate(shape) if axis not in (0, layer.token_axis)]
    return (shape[layer.token_axis], int(np.prod(others)))


def _differing(
    before: dict[str, np.ndarray], first: dict[str, np.ndarray], second: dict[str, np.ndarray]
) -> str | None:
    """The name of the variable that two trainings took furthest apart, for what it has moved; None if they agree."""
    worst, found = _MOST, None
    for name, one in first.items():
        a, b, start = (np.nan_to_num(np.asarray(v, np.float64)) for v in (one, second[name], before[name]))
        if (distance := float(np.abs(a - b).max(initial=0))) > 0:
            moved = float(np.abs(a - start).max(initial=0))
            if not distance <= worst * moved:
                worst, found = distance / moved if moved else np.inf, name
    return found
