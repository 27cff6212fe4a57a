"""What engines with several workers have in common: who does what, and what came of it."""

import itertools
import logging
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import replace
from typing import Generic, TypeVar

from tf_autodropout.search.answers import failed, readable, reason_of
from tf_autodropout.search.core import Call, Outcome, Scoring, Training
from tf_autodropout.search.engines.attempt import check_time_limit
from tf_autodropout.search.engines.trainer import unpacked

MAX_FAILED_STARTS = 3  # in a row
REST_SECONDS = 1.0  # after a start that failed; twice as long after each further one
_identities = itertools.count(1)
_log = logging.getLogger(__name__)


class PoolWorker(ABC):
    """The search's view of one worker: whether it is there, and what it does."""

    def __init__(self) -> None:
        self.ready, self.busy, self.given_up = False, False, False
        self.call: Call | None = None  # what it is busy with, or was
        self.identity = 0  # of that call
        self.since: float | None = None  # when it began with a call, or to build its task
        self.failed_starts = 0  # and deaths between calls, since the last answer
        self.rests_until: float | None = 0.0  # when it starts; None once it has

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
        if not self.ready:
            return "while it started"
        return f"in {self.call.description}" if self.busy and self.call else "between trials"

    def begin(self, call: Call) -> None:
        """Begins with a call."""
        work = call.begin()
        self.call, self.busy, self.since, self.identity = call, True, time.monotonic(), next(_identities)
        self._send(self.identity, call.number, work)

    def start(self) -> None:
        """Starts what does the work; `ready` follows."""
        self.ready, self.busy, self.since, self.rests_until = False, False, None, None
        self._start()

    def end(self) -> None:
        """Ends what does the work, whatever state it is in."""
        self._end()
        self.ready, self.busy, self.since, self.rests_until = False, False, None, math.inf

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...

    @abstractmethod
    def _send(self, identity: int, number: int, work: Training | Scoring) -> None: ...


W = TypeVar("W", bound=PoolWorker)


class WorkerPool(ABC, Generic[W]):
    """Gives waiting calls to idle workers, first in, first out.

    A worker that does not start is started again, after a while; after three times in a row it is given up. If none
    is left that works or may yet start, the search ends with the reason.

    Args:
        time_limit: Seconds after which a training, or the building of a task, counts as hanging; None for no limit.

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
                if worker.rests_until is not None and time.monotonic() >= worker.rests_until:
                    self._start(worker)
                if self._waiting and worker.idle:
                    worker.begin(self._waiting.popleft())
            if self._outcomes:
                return self._outcomes.popleft()
            self._listen()
            for worker in self._late():
                self._lost(worker, f"no result within the time limit of {self._time_limit:g} s")

    def close(self) -> None:
        self._waiting.clear()
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    @abstractmethod
    def _look(self) -> None:
        """Sees to it that there are workers."""

    @abstractmethod
    def _listen(self) -> None:
        """Waits a while until a worker answers or dies, and deals with it."""

    def _start(self, worker: W) -> None:
        try:
            worker.start()
        except OSError as error:  # no memory for a process, say
            self._lost(worker, reason_of(error))

    def _built(self, worker: W, reason: str) -> None:
        """Takes the answer of a worker that has built its task, or could not."""
        if reason:
            self._lost(worker, readable(reason))
        else:
            worker.ready, worker.since = True, None

    def _answered(self, worker: W, answer: bytes) -> None:
        """Takes what a worker sent, if it answers the call that it is busy with."""
        try:
            identity, outcome = unpacked(answer)
        except ValueError as error:
            self._lost(worker, str(error))
            return
        if worker.busy and worker.call and (identity, outcome.number) == (worker.identity, worker.call.number):
            worker.failed_starts = 0
            self._finished(worker, outcome)
        else:
            _log.warning("%s gave an answer that nobody waits for; it is refused", worker.name)

    def _finished(self, worker: W, outcome: Outcome) -> None:
        self._outcomes.append(replace(outcome, worker=worker.name))
        worker.busy, worker.since = False, None

    def _lost(self, worker: W, reason: str) -> None:
        """Deals with a worker that has died, hangs or does not start."""
        doing, name = worker.doing, worker.name
        if worker.busy and worker.call:
            self._finished(worker, failed(worker.call.number, reason))
        else:
            worker.failed_starts += 1
        worker.end()
        failures = worker.failed_starts
        worker.given_up = failures >= MAX_FAILED_STARTS
        if not worker.given_up:
            rest = REST_SECONDS * 2 ** (failures - 1) if failures else 0.0
            worker.rests_until = time.monotonic() + rest
        what = "it is given up" if worker.given_up else "another takes its place"
        _log.warning("%s ended %s: %s; %s", name, doing, reason, what)
        hope = any(not one.given_up and (one.ready or not one.failed_starts) for one in self._workers)
        if not hope and sum(one.failed_starts for one in self._workers) >= MAX_FAILED_STARTS:
            raise RuntimeError(f"The workers do not start: {reason}")

    def _late(self) -> list[W]:
        """The workers that are over the time limit."""
        if self._time_limit is None:
            return []
        now = time.monotonic()
        return [one for one in self._workers if one.since is not None and now >= one.since + self._time_limit]

    def _patience(self, longest: float) -> float:
        """Seconds to listen: until the first worker starts or is over the time limit, and no longer than `longest`."""
        moments = [one.rests_until for one in self._workers if one.rests_until is not None]
        if self._time_limit is not None:
            moments += [one.since + self._time_limit for one in self._workers if one.since is not None]
        return max(0.0, min([longest, *(moment - time.monotonic() for moment in moments)]))
