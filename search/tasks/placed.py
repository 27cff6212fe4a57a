"""A task whose children train under a strategy and in a precision of its user's choice."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.strategy import make_strategy
from tf_autodropout.search.tasks.base import Contender, EndsEarly, Progress, Result, Rung, Task, unheard
from tf_autodropout.search.tasks.delegating import DelegatingTask
from tf_autodropout.search.tasks.registry import make_task

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


class PlacedTask(DelegatingTask):
    """Delegates to a task within the scope of a strategy and a dtype policy.

    Args:
        task: Builds its children at their first training, not before.
        strategy: Each child trains on all of its replicas.
        precision: `"float32"`, or `"bfloat16"` for activations in bfloat16 and weights in float32.
    """

    def __init__(self, task: Task, strategy: tf.distribute.Strategy, precision: str = "float32") -> None:
        super().__init__(task)
        self.strategy, self._precision = strategy, precision

    def train(self, patterns: PatternSet, seed: int) -> Result:
        with self._placed():
            return self._task.train(patterns, seed)

    def train_by_rungs(self, patterns: PatternSet, seed: int, rungs: Sequence[Rung]) -> Result:
        assert isinstance(self._task, EndsEarly)
        with self._placed():
            return self._task.train_by_rungs(patterns, seed, rungs)

    def test(self, contender: Contender, seed: int, progress: Progress = unheard) -> dict[str, float]:
        with self._placed():
            return self._task.test(contender, seed, progress)

    def describe(self) -> dict[str, Any]:
        # Not the strategy: a run may go on with other machines than those it began with.
        precision = {} if self._precision == "float32" else {"precision": self._precision}
        return super().describe() | precision

    @contextlib.contextmanager
    def _placed(self) -> Iterator[None]:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(_POLICIES[self._precision])
        try:
            with self.strategy.scope():
                yield
        finally:
            keras.config.set_dtype_policy(before)


def place(
    task: str | Task, settings: Mapping[str, Any] | None = None, strategy: str = "default", precision: str = "float32"
) -> Task:
    """Returns a task under a strategy; the task itself if there is nothing to add.

    Args:
        task: Name of a task, or a `Task`.
        settings: Settings of a task given by name.
        strategy: One of `STRATEGIES`, see `make_strategy`.
        precision: `"float32"` or `"bfloat16"`.

    Raises:
        ValueError: an unknown task, setting or strategy, or a strategy that cannot be had here.

    Example:
        >>> from tf_autodropout.search.tasks.placed import place
        >>> place("digits", {"steps": 20}, precision="bfloat16").describe()["precision"]
        'bfloat16'
    """
    chosen = make_strategy(strategy)  # first: TensorFlow must not have computed anything before
    built = make_task(task, **(settings or {})) if isinstance(task, str) else task
    if chosen is tf.distribute.get_strategy() and precision == "float32":
        return built
    return PlacedTask(built, chosen, precision)
