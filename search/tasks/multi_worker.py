"""One child across several processes or hosts: the first worker searches, the others train along."""

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.engines.attempt import attempt
from tf_autodropout.search.tasks.base import Contender, EndsEarly, Progress, Result, Rung, Task, unheard
from tf_autodropout.search.tasks.delegating import DelegatingTask
from tf_autodropout.search.tasks.placed import PlacedTask


class LeadingTask(DelegatingTask):
    """The first worker's task: tells the others what to train, and trains it with them.

    Every process must take the same steps, or the exchange of gradients waits for ever. What goes wrong in all
    of them, such as a training that diverges, the first worker reports. If one process dies, all end; the ledger
    knows where to go on.

    Args:
        task: Under a `MultiWorkerMirroredStrategy`.
    """

    def __init__(self, task: PlacedTask) -> None:
        super().__init__(task)
        self._strategy = task.strategy

    def train(self, patterns: PatternSet, seed: int) -> Result:
        self._tell(("train", patterns, seed))
        return self._task.train(patterns, seed)

    def train_by_rungs(self, patterns: PatternSet, seed: int, rungs: Sequence[Rung]) -> Result:
        assert isinstance(self._task, EndsEarly)
        self._tell(("train_by_rungs", patterns, seed, rungs))
        return self._task.train_by_rungs(patterns, seed, rungs)

    def test(self, contender: Contender, seed: int, progress: Progress = unheard) -> dict[str, float]:
        self._tell(("test", contender, seed))
        return self._task.test(contender, seed, progress)

    def dismiss(self) -> None:
        """Tells the others that the search has ended."""
        self._tell(None)

    def _tell(self, call: tuple[Any, ...] | None) -> None:
        _broadcast(self._strategy, pickle.dumps(call))


def lead(task: Task) -> Task:
    """Returns the task for the first worker of its strategy; the task itself if that has no other workers."""
    if isinstance(task, PlacedTask) and isinstance(task.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return LeadingTask(task)
    return task


def follow(task: Task) -> None:
    """Trains along with the first worker until it says that the search has ended.

    Args:
        task: The first worker's task, under the same strategy.

    Raises:
        RuntimeError: another process is gone.
    """
    assert isinstance(task, PlacedTask)
    try:
        while (call := pickle.loads(_broadcast(task.strategy, b""))) is not None:
            attempt(task, *call)
    except tf.errors.OpError as error:
        raise RuntimeError(f"Another process of the strategy is gone ({type(error).__name__})") from error


def _broadcast(strategy: tf.distribute.Strategy, message: bytes) -> bytes:
    """Returns the first worker's message in every process; the others give an empty one."""
    length = int(_sum(strategy, np.array([len(message)], np.int32))[0])
    padded = np.zeros(length, np.int32)
    padded[: len(message)] = np.frombuffer(message, np.uint8)
    return _sum(strategy, padded).astype(np.uint8).tobytes()


def _sum(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """Sums what the first replica of all has, and zeros: strategies know sums, but no broadcast."""

    def own() -> tf.Tensor:
        return values * tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group == 0, tf.int32)

    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(own), axis=None).numpy()
