"""Trains trials one after the other in this process."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tf_autodropout.search.engines.attempt import attempt, outcome, training
from tf_autodropout.search.engines.base import Answer
from tf_autodropout.search.tasks.base import Rung, Task
from tf_autodropout.search.trial import Outcome, Status, Trial


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

    def wait(self, started: Callable[[int], Sequence[Rung]]) -> Outcome:
        trial = self._waiting.popleft()
        return outcome(trial.number, attempt(self._task, *training(trial, self._seed, started(trial.number))))

    def calls(self, calls: Sequence[tuple[Any, ...]], started: Callable[[int], None]) -> Iterator[tuple[int, Answer]]:
        for index, call in enumerate(calls):
            started(index)
            answer = attempt(self._task, *call)
            if answer.status is Status.FAILED:  # once more, as with the other engines
                answer = attempt(self._task, *call)
            yield index, answer

    def close(self) -> None:
        self._waiting.clear()
