"""Trains trials one after the other in this process."""

from collections import deque
from collections.abc import Callable

from tf_autodropout.search.engines.attempt import attempt, outcome, trial_seed
from tf_autodropout.search.tasks.base import Task
from tf_autodropout.search.trial import Outcome, Trial


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
        answer = attempt(self._task, "train", trial.patterns, trial_seed(self._seed, trial.number))
        return outcome(trial.number, answer)

    def close(self) -> None:
        self._waiting.clear()
