"""What a worker process does: builds its task once, then trains what it is sent, one after the other."""

import os
import pickle
import signal
import threading
from collections.abc import Sequence
from multiprocessing import connection, parent_process

from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.engines.attempt import attempt


def serve(pipe: connection.Connection, make_task: bytes, placement: Placement, cores: Sequence[int]) -> None:
    """Answers calls from `pipe` until it is closed.

    The first answer is a text: why the task could not be built, or nothing. Then an `Outcome` answers each number and
    work.

    Args:
        pipe: To the search's process.
        make_task: What builds the task, pickled.
        placement: Strategy and precision of the children.
        cores: Numbers of the CPU cores to stay on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the search, which ends its workers
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        placement.prepare()
        task = pickle.loads(make_task)()
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send("")
    try:
        while True:
            number, work = pipe.recv()
            with placement.scope():
                outcome = attempt(task, number, work)
            pipe.send(outcome)
    except (EOFError, BrokenPipeError):
        return  # the search has ended


def _die_with_parent() -> None:
    """Ends this process when its parent has gone, even by kill -9 in the middle of a training."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
