"""What engines with several workers have in common: who does what, and what came of it."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from tf_autodropout.search.engines.attempt import check_time_limit, outcome, training
from tf_autodropout.search.engines.base import Answer
from tf_autodropout.search.tasks.base import Rung
from tf_autodropout.search.trial import Outcome, Status, Trial


class PoolWorker(ABC):
    """The search's view of one worker: whether it is there, and what it does."""

    def __init__(self) -> None:
        self.ready, self.busy = False, False
        self.number, self._what = 0, ""  # of the trial or call that it is busy with
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
        return f"in {self._what}" if self.busy else "between trials"

    def send(self, call: tuple[Any, ...], number: int, what: str) -> None:
        """Sends a call.

        Args:
            call: Method of the task, and arguments.
            number: Comes back with the answer.
            what: What the log calls it.
        """
        self.number, self._what, self.busy, self.since = number, what, True, time.monotonic()
        self._send(call)

    @abstractmethod
    def _send(self, call: tuple[Any, ...]) -> None: ...


W = TypeVar("W", bound=PoolWorker)


class WorkerPool(ABC, Generic[W]):
    """Gives waiting trials to idle workers, first in, first out.

    Args:
        seed: Each trial derives its own seed from this one and its number.
        time_limit: Seconds after which a training counts as hanging; None for no limit.

    Raises:
        ValueError: a time limit that is not positive.
    """

    def __init__(self, seed: int, time_limit: float | None) -> None:
        check_time_limit(time_limit)
        self._seed, self._time_limit = seed, time_limit
        self._workers: list[W] = []
        self._waiting: deque[Trial] = deque()
        self._answers: deque[tuple[int, Answer, str]] = deque()  # number of the trial or call, who answered

    def submit(self, trial: Trial) -> None:
        self._waiting.append(trial)

    def wait(self, started: Callable[[int], Sequence[Rung]]) -> Outcome:
        while True:
            self._look()
            for worker in self._workers:
                if self._waiting and worker.idle:
                    trial = self._waiting.popleft()
                    call = training(trial, self._seed, started(trial.number))
                    worker.send(call, trial.number, f"trial {trial.number}")
            if self._answers:
                return outcome(*self._answers.popleft())
            self._listen()

    def calls(self, calls: Sequence[tuple[Any, ...]], started: Callable[[int], None]) -> Iterator[tuple[int, Answer]]:
        waiting, failed, left = deque(range(len(calls))), set(), len(calls)
        while left:
            self._look()
            for worker in self._workers:
                if waiting and worker.idle:
                    index = waiting.popleft()
                    started(index)
                    worker.send(calls[index], index, "a training after the search")
            if not self._answers:
                self._listen()
                continue
            index, answer, _ = self._answers.popleft()
            if answer.status is Status.FAILED and index not in failed:
                failed.add(index)
                waiting.append(index)
                continue
            left -= 1
            yield index, answer

    @abstractmethod
    def _look(self) -> None:
        """Sees to it that there are workers."""

    @abstractmethod
    def _listen(self) -> None:
        """Waits until a worker answers, dies or hangs, and deals with it."""

    def _answered(self, worker: W, answer: Answer) -> None:
        self._answers.append((worker.number, answer, worker.name))
        worker.busy = False

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
