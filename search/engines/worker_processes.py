"""Trains children in processes of this machine: one per accelerator, or for small children one per core."""

import contextlib
import json
import logging
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.core import Scoring, Task, Training
from tf_autodropout.search.engines.channel import Channel
from tf_autodropout.search.engines.slots import Slot, machine_slots
from tf_autodropout.search.engines.trainer import packed
from tf_autodropout.search.engines.worker_pool import PoolWorker, WorkerPool

_POLL_SECONDS = 0.5  # between two looks at which processes live: a subprocess may hold the socket of a dead one
_DEATH_SECONDS = 5.0  # for the system to end a process that was killed
# The worker finds modules where this process does; the main script is not run in it: a search there would begin anew.
_START = """
import json, sys
sys.path[:], sys.argv[:], number, search = json.loads(sys.argv[1])
from tf_autodropout.search.engines.worker import serve
serve(number, search)
"""
_log = logging.getLogger(__name__)


class WorkerProcesses(WorkerPool["_Worker"]):
    """N worker processes, each with its own task, device and compiled child.

    They start with the first call. One that dies or hangs is replaced, and what it was training is reported as failed
    with the reason; its subprocesses and temporary files go with it. When this process dies, by whatever signal, they
    end likewise.

    Args:
        make_task: Builds the task in each worker, such as `functools.partial(make_task, "digits")`; what a worker
            cannot import, such as a function of the main script, is sent by value.
        workers: Number of processes; None for one per accelerator, or per core where there is none.
        time_limit: Seconds after which a training, or the building of a task, counts as hanging and its worker is
            killed; the first training of a worker compiles the child as well. None for no limit.
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
        self._task, self._placement = packed(make_task), placement or Placement()
        self._slots = machine_slots(workers)

    @property
    def slots(self) -> int:
        return sum(not worker.given_up for worker in self._workers) or len(self._slots)

    def _look(self) -> None:
        if not self._workers:
            self._workers = [_Worker(slot, self._task, self._placement) for slot in self._slots]
            _log.info("%d worker processes start", len(self._workers))

    def _listen(self) -> None:
        patience = self._patience(_POLL_SECONDS)
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                if worker.channel:
                    write = selectors.EVENT_WRITE if worker.channel.waits else 0
                    selector.register(worker.channel, selectors.EVENT_READ | write, worker)
            ready = [key.data for key, _ in selector.select(patience)]
        for worker in self._workers:
            # A worker may have answered before it died: what it sent is read first.
            dead = worker.process is not None and worker.process.poll() is not None
            if worker in ready or dead:
                self._hear(worker, dead)

    def _hear(self, worker: "_Worker", dead: bool) -> None:
        assert worker.channel
        worker.channel.write()
        try:
            messages = worker.channel.read()
        except (EOFError, ValueError) as error:
            self._lost(worker, str(error) or worker.cause_of_death())
            return
        for message in messages:
            if worker.ready:
                self._answered(worker, message)
            elif worker.channel:  # it may have been lost by the message before
                self._built(worker, message.decode(errors="backslashreplace").strip())
        if dead and not messages and worker.channel:
            self._lost(worker, worker.cause_of_death())


class _Worker(PoolWorker):
    """One place for a process, and the process that is there now."""

    def __init__(self, slot: Slot, task: bytes, placement: Placement) -> None:
        super().__init__()
        self._slot, self._task, self._placement = slot, task, placement
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: Channel | None = None

    @property
    def name(self) -> str:
        return f"{self._slot.name} (process {self.process.pid})" if self.process else self._slot.name

    @property
    def idle(self) -> bool:
        return super().idle and self.process is not None and self.process.poll() is None

    def _start(self) -> None:
        own, other = socket.socketpair()
        self.channel = Channel(own)
        with other:
            arguments = json.dumps([sys.path, sys.argv, other.fileno(), os.getpid()])
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, arguments],
                stdin=subprocess.DEVNULL,
                env=os.environ | self._slot.environment,
                pass_fds=[other.fileno()],
                start_new_session=True,  # its subprocesses are in its group, and end with it
            )
        self.since = time.monotonic()
        self.channel.send(pickle.dumps((self._placement, self._slot.cores)))
        self.channel.send(self._task)

    def _send(self, identity: int, number: int, work: Training | Scoring) -> None:
        assert self.channel
        self.channel.send(pickle.dumps((identity, number, work)))

    def _end(self) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the system itself
                self.process.wait(_DEATH_SECONDS)
        if self.channel:
            self.channel.close()
        self.process = self.channel = None

    def cause_of_death(self) -> str:
        assert self.process
        try:
            code = self.process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            return "the process has closed its connection"
        if code == -signal.SIGKILL:
            return "the process was killed (SIGKILL), by hand or for lack of memory"
        if code < 0:
            named = -code in set(signal.Signals)
            return f"the process died of {signal.Signals(-code).name if named else f'signal {-code}'}"
        return f"the process ended with exit code {code}"
