"""Trains children in processes of this machine: one per accelerator, or for small children one per core."""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import connection
from typing import Any

import cloudpickle

from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.core import Scoring, Task, Training
from tf_autodropout.search.engines.slots import Slot, machine_slots
from tf_autodropout.search.engines.worker import serve
from tf_autodropout.search.engines.worker_pool import PoolWorker, WorkerPool

_MAX_FAILED_STARTS = 3  # in a row, of all workers together
_log = logging.getLogger(__name__)


class WorkerProcesses(WorkerPool["_Worker"]):
    """N worker processes, each with its own task, device and compiled child.

    They start with the first call. One that dies or hangs is replaced, and what it was training is reported as failed
    with the reason. When this process dies, by whatever signal, they end.

    Args:
        make_task: Builds the task in each worker, such as `functools.partial(make_task, "digits")`; what a worker
            cannot import, such as a function of the main script, is sent by value.
        workers: Number of processes; None for one per accelerator, or per core where there is none.
        time_limit: Seconds after which a training counts as hanging and its worker is killed; the first one
            of a worker compiles the child as well. None for no limit.
        placement: Strategy and precision of the children.

    Raises:
        ValueError: a number of workers that this machine cannot serve, a time limit that is not positive, a task that
            cannot be sent.
        RuntimeError: from `next`: the workers do not start.

    Example:
        >>> from functools import partial
        >>> from tf_autodropout.search.engines import WorkerProcesses
        >>> from tf_autodropout.search.tasks.registry import make_task
        >>> engine = WorkerProcesses(partial(make_task, "digits"), workers=2, time_limit=600)
        >>> engine.close()
    """

    def __init__(
        self,
        make_task: Callable[[], Task],
        workers: int | None = None,
        time_limit: float | None = None,
        placement: Placement | None = None,
    ) -> None:
        super().__init__(time_limit)
        self._placement = placement or Placement()
        try:
            self._task = cloudpickle.dumps(make_task)  # by value where a worker cannot import it
        except Exception as error:  # whatever an object raises that cannot be pickled
            raise ValueError(
                "The engine 'processes' sends the task to its workers, and this one cannot be sent "
                f"({type(error).__name__}: {error}). Of a tf.data.Dataset give the function that makes it."
            ) from error
        self._slots = machine_slots(workers)
        self._failed_starts = 0

    @property
    def slots(self) -> int:
        return len(self._slots)

    def close(self) -> None:
        self._waiting.clear()
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _look(self) -> None:
        if not self._workers:
            self._workers = [_Worker(slot, self._task, self._placement) for slot in self._slots]
            _log.info("%d worker processes start", len(self._workers))

    def _listen(self) -> None:
        handles: dict[Any, _Worker] = {}
        for worker in self._workers:
            handles |= {worker.pipe: worker, worker.process.sentinel: worker}
        ready = connection.wait(list(handles), self._until_time_limit())
        for worker in {id(handles[handle]): handles[handle] for handle in ready}.values():
            self._hear(worker)
        for worker in self._late():
            self._replace(worker, self._time_limit_reason())

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
        elif not answer:
            worker.ready, self._failed_starts = True, 0
        else:
            self._replace(worker, answer)

    def _replace(self, worker: "_Worker", reason: str) -> None:
        """Starts a new process in the place of one that died, hangs or did not start."""
        doing = worker.doing if worker.ready else "while it started"
        self._failed(worker, reason)
        _log.warning("%s ended %s: %s; another takes its place", worker.name, doing, reason)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise RuntimeError(f"The worker processes do not start: {reason}")
        worker.kill()
        worker.start()


class _Worker(PoolWorker):
    """One place for a process, and the process that is there now."""

    def __init__(self, slot: Slot, task: bytes, placement: Placement) -> None:
        super().__init__()
        self._slot, self._task, self._placement = slot, task, placement
        self.start()

    @property
    def name(self) -> str:
        return f"{self._slot.name} (process {self.process.pid})"

    @property
    def idle(self) -> bool:
        return super().idle and self.process.is_alive()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share TensorFlow's threads and devices
        self.pipe, end = context.Pipe()
        arguments = (end, self._task, self._placement, self._slot.cores)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        with _environment(self._slot.environment), _without_main():
            self.process.start()
        end.close()  # so that the pipe ends with the process
        self.ready, self.busy = False, False

    def _send(self, number: int, work: Training | Scoring) -> None:
        with contextlib.suppress(OSError):  # it has just died: its sentinel tells
            self.pipe.send((number, work))

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
def _without_main() -> Iterator[None]:
    """Processes that start in the block do not run the main script again: a search in it would begin in each."""
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    for name in hidden:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


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
