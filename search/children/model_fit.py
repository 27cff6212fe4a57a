"""One training by `fit`, watched: where it ends, what it shows."""

import inspect
import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from tf_autodropout.patterns.checks import check_int
from tf_autodropout.search.children.judge import Judge
from tf_autodropout.search.children.model_data import ModelData
from tf_autodropout.search.core import INVALID_REWARD, RUNG_REWARDS, STOPPED_AT, Progress, Rung, unheard

_OF_FIT = tuple(
    name
    for name in inspect.signature(keras.Model.fit).parameters
    if name
    not in ("self", "x", "y", "sample_weight", "validation_data", "validation_split", "verbose", "initial_epoch")
)


@dataclass(frozen=True)
class Fitted:
    """What came of a training.

    Args:
        curve: Mean training loss of each epoch.
        scores: Metrics on the validation data after the last step; empty if they are to be measured.
        expected: The reward to be expected at the end, of a training that ended at a rung.
        metrics: Rewards at the rungs and so on.
        step_time: Median over the epochs of the seconds of a batch, validation apart; None if there was no batch.
    """

    curve: list[float]
    scores: dict[str, float]
    expected: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    step_time: float | None = None


def fitted(
    model: keras.Model,
    train: ModelData,
    valid: ModelData,
    arguments: Mapping[str, Any],
    seed: int,
    steps: int | None = None,
    rungs: Sequence[Rung] = (),
    measure: Callable[[Mapping[str, float]], float] = lambda logs: math.nan,
    progress: Progress = unheard,
) -> Fitted:
    """Trains a model by `fit`.

    Args:
        model: Compiled.
        train: To train on.
        valid: Measured after each epoch, as `fit` does.
        arguments: Others of `fit`.
        seed: Of the order of the examples.
        steps: Ends after so many steps; None for the epochs among the arguments.
        rungs: Where it may end: after the epoch that comes to them.
        measure: From the metrics of an epoch to the reward.
        progress: Called after each epoch with epochs, or steps, done and in all.

    Raises:
        FloatingPointError: the loss is no longer finite.
        ValueError: the data ended before the steps were done.
    """
    total = steps or arguments.get("epochs", 1)
    watch = _Watch(total, steps, rungs, measure, progress)
    own = list(arguments.get("callbacks") or [])
    given = {name: value for name, value in arguments.items() if name != "callbacks"}
    if steps:
        given["epochs"] = steps  # as many as it takes: it ends within one
    callbacks = [*own, watch, *([_StopAt(steps)] if steps else [])]
    valid_source = valid.source()
    validation = valid_source if len(valid_source) > 1 else valid_source[0]
    with warnings.catch_warnings():
        counted = given.get("steps_per_epoch") or given.get("validation_steps")
        warnings.filterwarnings("error" if counted else "ignore", message=".*ran out of data")
        try:
            source = train.source(seed)
            given["shuffle"] = train.shuffles(source[0])
            model.fit(*source, **given, validation_data=validation, callbacks=callbacks, verbose=0)
        except UserWarning as error:
            raise ValueError(f"The data of '{train.name}' or '{valid.name}' ended early: {error}") from None
    if not watch.curve or not math.isfinite(watch.curve[-1]):
        raise FloatingPointError(f"training loss is {watch.curve[-1] if watch.curve else math.nan}")
    metrics: dict[str, Any] = {RUNG_REWARDS: watch.judge.rewards} if rungs else {}
    expected = None
    if (verdict := watch.judge.verdict) is not None:
        metrics[STOPPED_AT] = watch.judge.done / total
        expected = max(INVALID_REWARD, verdict.expected(watch.judge.rewards[-1]))
    # A callback may have put back the weights of an earlier epoch.
    return Fitted(watch.curve, {} if own else watch.scores, expected, metrics, watch.step_time)


def check_fit(arguments: Mapping[str, Any], steps: int | None) -> None:
    """Raises unless these are arguments of `fit` that a trial can have.

    Raises:
        TypeError: an argument that `fit` does not have.
        ValueError: a number below 1, steps and epochs both.
    """
    if "validation_split" in arguments:
        raise TypeError("A search takes 'validation_data', not 'validation_split': all trials share it.")
    if unknown := [given for given in arguments if given not in _OF_FIT]:
        raise TypeError(f"ModelTask got an unexpected argument '{unknown[0]}'. Those of fit: {', '.join(_OF_FIT)}")
    for number in ("epochs", "batch_size", "validation_batch_size", "steps_per_epoch"):
        if arguments.get(number) is not None:
            check_int(number, arguments[number], 1)
    if steps is not None:
        check_int("steps", steps, 1)
        if "epochs" in arguments:
            raise ValueError("Expected 'steps' or 'epochs', not both.")


def all_steps(train: ModelData, arguments: Mapping[str, Any], steps: int | None) -> int:
    """Returns the steps of a whole training; see `fitted`."""
    return steps or arguments.get("epochs", 1) * (arguments.get("steps_per_epoch") or train.batches())


class _Watch(keras.callbacks.Callback):
    """Keeps what `fit` shows after each epoch, and ends a training at a rung or when its loss is not finite."""

    def __init__(
        self,
        total: int,
        steps: int | None,
        rungs: Sequence[Rung],
        measure: Callable[[Mapping[str, float]], float],
        progress: Progress,
    ) -> None:
        super().__init__()
        self.curve: list[float] = []
        self.scores: dict[str, float] = {}
        self._total, self._steps, self._progress = total, steps, progress
        self._reward = math.nan
        self._measure = measure
        self.judge = Judge(rungs, total, lambda: self._reward, lambda reward: reward)
        self._begin, self._batches, self._times = 0.0, 0, []  # type: tuple[float, int, list[float]]

    @property
    def step_time(self) -> float | None:
        """Seconds of a batch."""
        return statistics.median(self._times) if self._times else None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin, self._batches = time.perf_counter(), 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batches = batch + 1

    def on_test_begin(self, logs: Any = None) -> None:
        self._end_training()

    def _end_training(self) -> None:
        if self._batches:
            self._times.append((time.perf_counter() - self._begin) / self._batches)
        self._batches = 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._end_training()
        logs = logs or {}
        self.curve.append(float(logs.get("loss", math.nan)))
        self.scores = {name: float(value) for name, value in logs.items() if name.startswith("val_")}
        done = min(self._total, int(self.model.optimizer.iterations)) if self._steps else epoch + 1
        self._progress(done, self._total, self.curve[-1])
        if not math.isfinite(self.curve[-1]):
            self.model.stop_training = True
        elif self.scores:
            self._reward = self._measure(logs)
            if self.judge(done):
                self.model.stop_training = True


class _StopAt(keras.callbacks.Callback):
    """Ends a training after a number of steps, in the middle of an epoch."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps, self._done = steps, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._done += self.model.steps_per_execution
        if self._done >= self._steps:
            self.model.stop_training = True
