"""Trains trials one after the other in this process."""

import time
from collections import deque
from collections.abc import Callable

from tf_autodropout.layers import site_seed
from tf_autodropout.search.tasks.base import Task
from tf_autodropout.search.trial import INVALID_REWARD, Outcome, Status, Trial


class InProcess:
    """First in, first out; the child is built and compiled at the first trial.

    Args:
        task: What a trial trains.
        seed: Each trial derives its own seed from this one and its number.
    """

    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._seed = task, seed
        self._waiting: deque[Trial] = deque()

    def submit(self, trial: Trial) -> None:
        self._waiting.append(trial)

    def wait(self, started: Callable[[int], None]) -> Outcome:
        trial = self._waiting.popleft()
        started(trial.number)
        begin = time.perf_counter()
        try:
            result = self._task.train(trial.patterns, site_seed(self._seed, "trial", trial.number))
        except FloatingPointError as error:
            return Outcome(trial.number, Status.INVALID, INVALID_REWARD, {"error": str(error)})
        except Exception as error:  # whatever a child raises must not end the search
            return Outcome(trial.number, Status.FAILED, None, {"error": f"{type(error).__name__}: {error}"})
        seconds = {"seconds": time.perf_counter() - begin}
        return Outcome(trial.number, Status.FINISHED, result.reward, dict(result.metrics) | seconds)

    def close(self) -> None:
        self._waiting.clear()
