"""What engines with several workers have in common: who does what, and what came of it."""

import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import replace
from typing import Generic, TypeVar

from tf_autodropout.search.core import Call, Outcome, Scoring, Training
from tf_autodropout.search.engines.attempt import check_time_limit, failed


class PoolWorker(ABC):
    """The search's view of one worker: whether it is there, and what it does."""

    def __init__(self) -> None:
        self.ready, self.busy = False, False
        self.call: Call | None = None  # what it is busy with, or was
        self.since = 0.0

    @property
    @abstractmethod
    def name(self) -> str:
        """What the log calls it."""

    @property
    def idle(self) -> bool:
        """Whether it takes a call."""
        return self.ready and not self.busy

    @property
    def doing(self) -> str:
        """What it is busy with, for the log."""
        return f"in {self.call.description}" if self.busy and self.call else "between trials"

    def begin(self, call: Call) -> None:
        """Begins with a call."""
        work = call.begin()
        self.call, self.busy, self.since = call, True, time.monotonic()
        self._send(call.number, work)

    @abstractmethod
    def _send(self, number: int, work: Training | Scoring) -> None: ...


W = TypeVar("W", bound=PoolWorker)


class WorkerPool(ABC, Generic[W]):
    """Gives waiting calls to idle workers, first in, first out.

    Args:
        time_limit: Seconds after which a training counts as hanging; None for no limit.

    Raises:
        ValueError: a time limit that is not positive.
    """

    def __init__(self, time_limit: float | None) -> None:
        check_time_limit(time_limit)
        self._time_limit = time_limit
        self._workers: list[W] = []
        self._waiting: deque[Call] = deque()
        self._outcomes: deque[Outcome] = deque()

    def submit(self, call: Call) -> None:
        self._waiting.append(call)

    def next(self) -> Outcome:
        while True:
            self._look()
            for worker in self._workers:
                if self._waiting and worker.idle:
                    worker.begin(self._waiting.popleft())
            if self._outcomes:
                return self._outcomes.popleft()
            self._listen()

    @abstractmethod
    def _look(self) -> None:
        """Sees to it that there are workers."""

    @abstractmethod
    def _listen(self) -> None:
        """Waits until a worker answers, dies or hangs, and deals with it."""

    def _answered(self, worker: W, outcome: Outcome) -> None:
        self._outcomes.append(replace(outcome, worker=worker.name))
        worker.busy = False

    def _failed(self, worker: W, reason: str) -> None:
        """Reports what a worker was busy with, if anything, as failed."""
        if worker.busy and worker.call:
            self._answered(worker, failed(worker.call.number, reason))

    def _late(self) -> list[W]:
        """The workers that are over the time limit."""
        if self._time_limit is None:
            return []
        now = time.monotonic()
        return [worker for worker in self._workers if worker.busy and now >= worker.since + self._time_limit]

    def _until_time_limit(self) -> float | None:
        """Seconds until the first worker will be over the time limit; None if none can be."""
        since = [worker.since for worker in self._workers if worker.busy]
        if self._time_limit is None or not since:
            return None
        return max(0.0, min(since) + self._time_limit - time.monotonic())

    def _time_limit_reason(self) -> str:
        return f"no result within the time limit of {self._time_limit:g} s"
