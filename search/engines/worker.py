"""What a worker process does: builds its task once, then trains what it is sent, one after the other."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import connection, parent_process

from tf_autodropout.search.engines.attempt import attempt
from tf_autodropout.search.engines.base import Answer
from tf_autodropout.search.tasks.base import Task
from tf_autodropout.search.trial import Status


def serve(pipe: connection.Connection, make_task: Callable[[], Task], cores: Sequence[int]) -> None:
    """Answers calls from `pipe` until it is closed.

    The first `Answer` says whether the task could be built; then each `(method, *arguments)` is answered by one.

    Args:
        pipe: To the search's process.
        make_task: Builds the task.
        cores: Numbers of the CPU cores to stay on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the search, which ends its workers
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        task = make_task()
    except Exception as error:
        pipe.send(Answer(Status.FAILED, error=f"{type(error).__name__}: {error}"))
        return
    pipe.send(Answer(Status.FINISHED))
    try:
        while True:
            pipe.send(attempt(task, *pipe.recv()))
    except (EOFError, BrokenPipeError):
        return  # the search has ended


def _die_with_parent() -> None:
    """Ends this process when its parent has gone, even by kill -9 in the middle of a training."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
