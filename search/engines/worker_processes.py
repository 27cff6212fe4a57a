"""Trains trials in processes of this machine: one per accelerator, or for small children one per core."""

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import connection
from typing import Any

from tf_autodropout.search.engines.attempt import Answer, check_time_limit, outcome, trial_seed
from tf_autodropout.search.engines.slots import Slot, machine_slots
from tf_autodropout.search.engines.worker import serve
from tf_autodropout.search.tasks.base import Task
from tf_autodropout.search.trial import Outcome, Status, Trial

_MAX_FAILED_STARTS = 3  # in a row, of all workers together
_log = logging.getLogger(__name__)


class WorkerProcesses:
    """N worker processes, each with its own task, device and compiled child.

    They start with the first trial. One that dies or hangs is replaced, and its trial is reported as failed
    with the reason. When this process dies, by whatever signal, they end.

    Args:
        make_task: Builds the task in each worker; must be picklable, such as `functools.partial(make_task, "digits")`.
        seed: Each trial derives its own seed from this one and its number.
        workers: Number of processes; None for one per accelerator, or per core where there is none.
        time_limit: Seconds after which a training counts as hanging and its worker is killed; the first one
            of a worker compiles the child as well. None for no limit.

    Raises:
        ValueError: a number of workers that this machine cannot serve, a time limit that is not positive.
        RuntimeError: from `wait`: the workers do not start.

    Example:
        >>> from functools import partial
        >>> from tf_autodropout.search.engines import WorkerProcesses
        >>> from tf_autodropout.search.tasks.registry import make_task
        >>> engine = WorkerProcesses(partial(make_task, "digits"), seed=0, workers=2, time_limit=600)
        >>> engine.close()
    """

    def __init__(
        self, make_task: Callable[[], Task], seed: int, workers: int | None = None, time_limit: float | None = None
    ) -> None:
        check_time_limit(time_limit)
        self._make_task, self._seed, self._time_limit = make_task, seed, time_limit
        self._slots = machine_slots(workers)
        self._workers: list[_Worker] = []
        self._waiting: deque[Trial] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._failed_starts = 0

    def submit(self, trial: Trial) -> None:
        self._waiting.append(trial)

    def wait(self, started: Callable[[int], None]) -> Outcome:
        while True:
            self._assign(started)
            if self._outcomes:
                return self._outcomes.popleft()
            self._listen()

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the task in a worker and returns its result, while no trial is there.

        Raises:
            FloatingPointError: the training diverged.
            RuntimeError: it failed twice.
        """
        for last in (False, True):
            while not (idle := [worker for worker in self._started() if worker.idle]):
                self._listen()
            worker = idle[0]
            worker.send((method, *arguments))
            while worker.busy:
                self._listen()
            answer = worker.answer
            assert answer is not None
            if answer.status is Status.FINISHED:
                return answer.value
            if answer.status is Status.INVALID:
                raise FloatingPointError(answer.error)
            if last:
                raise RuntimeError(answer.error)

    def close(self) -> None:
        self._waiting.clear()
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _started(self) -> "list[_Worker]":
        if not self._workers:
            self._workers = [_Worker(slot, self._make_task) for slot in self._slots]
            _log.info("%d worker processes start", len(self._workers))
        return self._workers

    def _assign(self, started: Callable[[int], None]) -> None:
        for worker in self._started():
            if self._waiting and worker.idle:
                trial = self._waiting.popleft()
                started(trial.number)
                worker.send(("train", trial.patterns, trial_seed(self._seed, trial.number)), trial.number)

    def _listen(self) -> None:
        """Waits until a worker answers, dies or hangs, and deals with it."""
        handles: dict[Any, _Worker] = {}
        for worker in self._workers:
            handles |= {worker.pipe: worker, worker.process.sentinel: worker}
        ready = connection.wait(list(handles), self._until_time_limit())
        for worker in {id(handles[handle]): handles[handle] for handle in ready}.values():
            self._hear(worker)
        if self._time_limit is not None:
            for worker in self._workers:
                if worker.busy and time.monotonic() >= worker.since + self._time_limit:
                    self._replace(worker, f"no result within the time limit of {self._time_limit:g} s")

    def _until_time_limit(self) -> float | None:
        since = [worker.since for worker in self._workers if worker.busy]
        if self._time_limit is None or not since:
            return None
        return max(0.0, min(since) + self._time_limit - time.monotonic())

    def _hear(self, worker: "_Worker") -> None:
        try:
            # A worker may have answered before it died: the pipe is read to its end first.
            answer = worker.pipe.recv() if worker.pipe.poll() else None
        except (EOFError, OSError):
            answer = None
        if answer is None:
            self._replace(worker, worker.cause_of_death())
        elif worker.ready:
            self._answered(worker, answer)
        elif answer.status is Status.FINISHED:
            worker.ready, self._failed_starts = True, 0
        else:
            self._replace(worker, answer.error)

    def _answered(self, worker: "_Worker", answer: Answer) -> None:
        if worker.number is not None:
            self._outcomes.append(outcome(worker.number, answer, worker.name))
        worker.answered(answer)

    def _replace(self, worker: "_Worker", reason: str) -> None:
        """Starts a new process in the place of one that died, hangs or did not start."""
        doing = "between trials" if worker.ready else "while it started"
        if worker.busy:
            doing = f"in trial {worker.number}" if worker.number is not None else "in a training after the search"
            self._answered(worker, Answer(Status.FAILED, error=reason))
        _log.warning("%s ended %s: %s; another takes its place", worker.name, doing, reason)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise RuntimeError(f"The worker processes do not start: {reason}")
        worker.kill()
        worker.start()


class _Worker:
    """One place for a process, and the process that is there now."""

    def __init__(self, slot: Slot, make_task: Callable[[], Task]) -> None:
        self._slot, self._make_task = slot, make_task
        self.answer: Answer | None = None
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share TensorFlow's threads and devices
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=serve, args=(end, self._make_task, self._slot.cores), daemon=True)
        with _environment(self._slot.environment):
            self.process.start()
        end.close()  # so that the pipe ends with the process
        self.name = f"{self._slot.name} (process {self.process.pid})"
        self.ready, self.busy = False, False
        self.number: int | None = None
        self.since = 0.0

    @property
    def idle(self) -> bool:
        return self.ready and not self.busy and self.process.is_alive()

    def send(self, call: tuple[Any, ...], number: int | None = None) -> None:
        """Sends a call, that of trial `number` if one is given."""
        self.number, self.busy, self.since, self.answer = number, True, time.monotonic(), None
        with contextlib.suppress(OSError):  # it has just died: its sentinel tells
            self.pipe.send(call)

    def answered(self, answer: Answer) -> None:
        self.answer, self.busy, self.number = answer, False, None

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def cause_of_death(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return "the process was killed (SIGKILL), by hand or for lack of memory"
        if code < 0:
            return f"the process died of {signal.Signals(-code).name}"
        return f"the process ended with exit code {code}"


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for the processes that start in the block."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
