"""Trains one child after the other in this process."""

from collections import deque

from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.core import Call, Outcome, Scoring, Task, Training
from tf_autodropout.search.engines.attempt import attempt


class InProcess:
    """First in, first out; the child is built and compiled at the first call.

    Args:
        task: What trains children.
        placement: Strategy and precision of the children.
    """

    slots = 1

    def __init__(self, task: Task, placement: Placement | None = None) -> None:
        self._task, self._placement = task, placement or Placement()
        self._waiting: deque[Call] = deque()

    def submit(self, call: Call) -> None:
        self._waiting.append(call)

    def next(self) -> Outcome:
        call = self._waiting.popleft()
        return self._attempt(call.number, call.begin())

    def _attempt(self, number: int, work: Training | Scoring) -> Outcome:
        with self._placement.scope():
            return attempt(self._task, number, work)

    def close(self) -> None:
        self._waiting.clear()
