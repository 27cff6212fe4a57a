"""`ModelTask`: a search on any compiled Keras model and whatever its `fit` can read."""

import copy
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tf_autodropout.patterns import PatternSet, Schedule
from tf_autodropout.patterns.checks import check_bool, invalid
from tf_autodropout.search.children.model_child import ModelChild
from tf_autodropout.search.children.model_data import ModelData
from tf_autodropout.search.children.model_fit import all_steps, check_fit, fitted
from tf_autodropout.search.children.own_dropout import own_dropout
from tf_autodropout.search.children.random_states import random_states, set_random_states
from tf_autodropout.search.core import INPUT_SHARE, LEARNING_CURVE, Opponent, Progress, Result, Rung, unheard
from tf_autodropout.search.space import GRANULARITIES, SearchSpace
from tf_autodropout.search.tasks.model_sites import ModelSites
from tf_autodropout.search.tasks.objective import Objective, first_metric_first
from tf_autodropout.search.tasks.patterned import patterned
from tf_autodropout.surgery import regularize
from tf_autodropout.surgery.copying import copy_model

_LARGE = 1 << 26  # bytes of weights
_MANY_SITES = 12  # from here on sites of one stage share a decision


class ModelTask:
    """Trains a compiled Keras model by its own `fit`; the reward is made of a metric on the validation data.

    What `fit` honours, a trial honours: optimizer, losses, metrics, weights of losses, samples and classes, schedules,
    mixed precision, clipping, accumulation, averages of weights, an own `train_step`, XLA as the model was compiled.

    Args:
        model: A function that returns a compiled model, the same one each time; each trial begins with the weights of a
            new one, drawn with the trial's seed. Or a compiled model, which is not touched: each trial begins with the
            weights that it has now.
        x: See `ModelData`. A `tf.data` pipeline that shuffles is given best as the function that makes it.
        y: Targets, for arrays.
        validation_data: A tuple of arrays, `(x, y)` or `(x, y, sample_weight)`; a dataset; or a function.
        test_data: Likewise, for the final table; None for none.
        objective: See `Objective.of`: such as `"val_accuracy"`; None for the first metric, or else the loss.
        steps: Training steps of a trial, instead of `epochs`.
        sample_weight: Weights of the training examples, for arrays.
        start: `"fresh"` or `"weights"`, see `model`; None for the one that fits the model.
        sites: See `tad.sites`: names, globs, kinds (`"ffn"`) or classes of layers; None for all recommended ones.
        granularity: See `SearchSpace`; None for `"layer"`, with more than 12 sites `"stage"`.
        keep_dropout: False takes out what the model has of Keras' Dropout layers.
        name: What the search calls it.
        **fit: Further arguments of `fit`: `epochs`, `batch_size`, `steps_per_epoch`, `class_weight`, `callbacks`
            (copied for each trial, so that early stopping is one of each) and so on.

    Raises:
        TypeError: an argument that `fit` does not have.
        ValueError: no validation data, data that `fit` cannot take, a bad number; from `child`, `space` and `objective`
            a model that is not compiled, or has no such sites or metric.

    Example:
        >>> import keras, numpy as np
        >>> from tf_autodropout.search.tasks.model_task import ModelTask
        >>> def build():
        ...     image = keras.Input((8, 8, 1))
        ...     h = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(image))
        ...     model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(h)))
        ...     loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        ...     model.compile("adam", loss, metrics=["accuracy"])
        ...     return model
        >>> x, y = np.random.rand(64, 8, 8, 1), np.arange(64) % 2
        >>> task = ModelTask(build, x, y, validation_data=(x, y), epochs=2)
        >>> task.objective.metric, len(task.space.decisions)
        ('accuracy', 8)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, for the search; the interface is KerasTuner's, as far as it goes.
    """

    any_opponent = True

    def __init__(
        self,
        model: keras.Model | Callable[[], keras.Model],
        x: Any = None,
        y: Any = None,
        validation_data: Any = None,
        test_data: Any = None,
        objective: str | tuple[str, str] | None = None,
        steps: int | None = None,
        sample_weight: Any = None,
        start: str | None = None,
        sites: Any = None,
        granularity: str | None = None,
        keep_dropout: bool = True,
        name: str = "model",
        **fit: Any,
    ) -> None:
        check_fit(fit, steps)
        is_model = isinstance(model, keras.Model)
        if not is_model and not callable(model):
            raise invalid("model", "a compiled Keras model or a function that returns one", model)
        if start not in (None, "fresh", "weights"):
            raise invalid("start", "'fresh' or 'weights'", start)
        if start == "fresh" and is_model:
            raise ValueError("start='fresh' draws new weights for each trial: give the function that builds the model.")
        if granularity is not None and granularity not in GRANULARITIES:
            raise invalid("granularity", f"one of {', '.join(GRANULARITIES)} or None", granularity)
        if validation_data is None:
            raise ValueError("Expected 'validation_data': a trial's reward is a metric on it, not on training data.")
        self.name, self._model, self._is_model = name, model, is_model
        self.start = start or ("weights" if is_model else "fresh")
        # Arrays are batched and shuffled here; what comes in batches is given to `fit` as it is.
        size, shuffle = fit.pop("batch_size", None), fit.pop("shuffle", True)
        self._train = ModelData(x, y, sample_weight, batch_size=size, shuffle=bool(shuffle))
        valid_size, aimed = fit.pop("validation_batch_size", None) or size, y is not None
        self._valid = ModelData.of(validation_data, "validation_data", valid_size, aimed)
        self.test_data = None if test_data is None else ModelData.of(test_data, "test_data", size, aimed)
        self._described = {"batch_size": size} | {n: v for n, v in fit.items() if isinstance(v, int | float | str)}
        self._steps = steps
        self._wanted, self._sites, self._granularity = objective, sites, granularity
        self._keep_dropout, self._fit = check_bool("keep_dropout", keep_dropout), fit
        self._checked = False
        self._constant: tuple[Opponent, ModelChild] | None = None  # the last one: a model of its own for each

    def __getstate__(self) -> dict[str, Any]:
        # What is compiled stays here: another process builds its own.
        made = ("child", "space", "objective", "own_dropout", "_places", "_reading_time")
        kept = {name: value for name, value in vars(self).items() if name not in made}
        return kept | {"_checked": False, "_constant": None}

    def build(self) -> keras.Model:
        """Returns a model without patterns, as a trial trains it: new, or a copy of the one that was given.

        Raises:
            ValueError: it is not a compiled Keras model.
        """
        model = self._model if isinstance(self._model, keras.Model) else self._model()
        if not isinstance(model, keras.Model):
            raise invalid("model", "a function that returns a compiled Keras model", model)
        if not model.compiled or model.optimizer is None:
            raise ValueError(f"Model '{model.name}' is not compiled. Expected model.compile(optimizer, loss, metrics).")
        if not model.built:
            model(self._first_inputs(model), training=False)
        return copy_model(model) if model is self._model else model

    @cached_property
    def child(self) -> ModelChild:
        """The child, built at first use, raising as `build` does; its step is compiled by the first trial."""
        model = self.build()
        self.own_dropout = own_dropout(model, self._keep_dropout)
        self._places = ModelSites(model, self._sites)
        weights = list(model.weights)
        patterned = regularize(model, self._places.patterns, mutable=True, in_place=True)
        return ModelChild(patterned, weights, self._places.own_names)

    @cached_property
    def space(self) -> SearchSpace:
        child = self.child
        sites = self._places.with_shapes(child.shapes(self._first_inputs(child.model)))
        return SearchSpace(sites, self._granularity or ("layer" if len(sites) <= _MANY_SITES else "stage"))

    @cached_property
    def objective(self) -> Objective:
        """What is maximized, and how; raises `ValueError` for a metric that the model does not have."""
        scores = self._evaluate(self._valid, self.child, steps=1)
        return Objective.of(self._wanted, first_metric_first(list(scores), self.child.model.get_compile_config()))

    @property
    def score(self) -> str:
        return f"test {self.objective.metric}"

    @property
    def lower_is_better(self) -> bool:
        return self.objective.smaller_is_better

    def train(self, patterns: PatternSet, seed: int, rungs: Sequence[Rung] = ()) -> Result:
        return self._trained(patterns, seed, rungs, unheard)

    def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
        """See `Task.test`; raises `ValueError` without test data."""
        if self.test_data is None:
            raise ValueError("Expected 'test_data' for scores on it.")
        child = self._child_for(opponent)
        patterns = opponent.patterns if child is self.child else PatternSet({})
        drawn = self.space.draws(seed) if opponent.drawn else None
        trained = self._trained(patterns, seed, (), progress, child, drawn)
        metric = self.objective.metric
        scores = {"valid": trained.metrics[f"val_{metric}"], "test": self._evaluate(self.test_data, child)[metric]}
        return Result(trained.reward, scores)

    def opponents(self) -> list[Opponent]:
        return [Opponent.none()] if self.test_data is not None else []

    @property
    def branch_ends(self) -> list[str]:
        """The sites on maps that end a residual branch, in the order of the network."""
        return self._places.branch_ends if self.child else []

    def describe(self) -> dict[str, Any]:
        model = self.child.model
        return {
            "name": self.name,
            "model": type(self._model).__name__ if self._is_model else getattr(self._model, "__name__", "function"),
            "weights": int(sum(np.prod(w.shape) for w in self.child._weights)),
            "optimizer": keras.optimizers.serialize(model.optimizer)["class_name"],
            "objective": f"val_{self.objective.metric}",
            "start": self.start,
            "fit": self._described,
            "steps": self._steps,
            "data": [self._train.describe(), self._valid.describe()],
        } | ({"own_dropout": self.own_dropout} if self.own_dropout else {})

    def retrained(self, patterns: PatternSet, seed: int) -> keras.Model:
        """Returns a model of the user's own with a PatternSet in it, trained as a trial is; raises as `train`.

        Args:
            patterns: By the search's names of the sites.
            seed: As of a trial.
        """
        weights = self._weights(seed)
        model = patterned(self.build(), patterns, self._sites, self._keep_dropout, seed, weights=weights).model
        set_random_states(seed)
        fitted(model, self._train, self._valid, self._arguments(), seed, self._steps)
        return model

    def _child_for(self, opponent: Opponent) -> ModelChild:
        """Of what does not fit the space, a model of its own."""
        if opponent.drawn or opponent.fits(self.space):
            return self.child
        if self._constant is None or self._constant[0] != opponent:
            steps = all_steps(self._train, self._fit, self._steps) if opponent.ramp_up else None
            given = self.build(), opponent.patterns, self._sites, self._keep_dropout
            self._constant = opponent, patterned(*given, schedule=Schedule.ramp_up(steps) if steps else None)
        return self._constant[1]

    def _trained(
        self,
        patterns: PatternSet,
        seed: int,
        rungs: Sequence[Rung],
        progress: Progress,
        child: ModelChild | None = None,
        drawn: Iterator[PatternSet] | None = None,
    ) -> Result:
        begin = time.perf_counter()
        metric = f"val_{self.objective.metric}"
        self._check_once(seed)
        child = child or self.child
        child.reset(patterns, seed, self._weights(seed))
        arguments = self._arguments([child.drawing(drawn)] if drawn else [])
        given = child.model, self._train, self._valid, arguments, seed, self._steps, rungs
        reward = self.objective.reward
        done = fitted(*given, measure=lambda logs: reward(logs.get(metric, float("nan"))), progress=progress)
        scores = done.scores or {f"val_{name}": value for name, value in self._evaluate(self._valid, child).items()}
        if not np.isfinite(scores[metric]):
            raise FloatingPointError(f"{metric} is {scores[metric]}")
        metrics = {LEARNING_CURVE: done.curve, "train_seconds": time.perf_counter() - begin, **scores, **done.metrics}
        if self._reading_time and done.step_time:
            metrics[INPUT_SHARE] = self._reading_time / done.step_time
        if done.expected is not None:
            return Result(done.expected, metrics, stopped=True)
        return Result(self.objective.reward(scores[metric]), metrics)

    @cached_property
    def _reading_time(self) -> float | None:
        return self._train.reading_time()

    def _check_once(self, seed: int) -> None:
        if self._checked:
            return
        given = {name: self._fit[name] for name in ("class_weight",) if name in self._fit}
        self.child.check_repeats(self._train, self._weights(seed), **given)
        self._checked = True

    def _weights(self, seed: int) -> list[np.ndarray] | None:
        """Weights of a new model, drawn with a seed; None for those that the child was made with."""
        if self.start == "weights":
            return None
        with random_states(seed):
            weights = [weight.numpy() for weight in self.build().weights]
        if sum(weight.nbytes for weight in weights) > _LARGE:
            gc.collect()  # a model and its variables are a cycle, and must not wait
        return weights

    def _arguments(self, more: Sequence[Any] = ()) -> dict[str, Any]:
        """Arguments of `fit`, with callbacks of this training's own, and more of them."""
        callbacks = [*copy.deepcopy(list(self._fit.get("callbacks") or ())), *more]
        return self._fit | ({"callbacks": callbacks} if callbacks else {})

    def _first_inputs(self, model: keras.Model) -> Any:
        inputs = self._train.first_batch()
        if hasattr(model, "preprocess_samples"):  # KerasHub's tasks take raw texts and images
            inputs = keras.utils.unpack_x_y_sample_weight(model.preprocess_samples(inputs))[0]
        return inputs

    def _evaluate(self, data: ModelData, child: ModelChild, steps: int | None = None) -> dict[str, float]:
        scores = child.model.evaluate(*data.source(), steps=steps, verbose=0, return_dict=True)
        return {name: float(value) for name, value in scores.items()}
