"""What a worker process does: builds its task once, then trains what it is sent, one after the other."""

import ctypes
import os
import pickle
import signal
import socket
import sys

from tf_autodropout.search.engines.channel import receive, send
from tf_autodropout.search.engines.trainer import Trainer

_PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def serve(number: int, search: int) -> None:
    """Answers calls until the search has ended.

    The first messages that come say where children are trained and how the task is built; the answer is a text: why
    that cannot be done, or nothing. Then each identity, number and work is answered by `Trainer.answer`.

    Args:
        number: File descriptor of this end of the socket.
        search: Number of the search's process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the search, which ends its workers
    _die_with(search)
    os.set_inheritable(number, False)
    end = socket.socket(fileno=number)
    try:
        placement, cores = pickle.loads(receive(end))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)
        trainer = Trainer(receive(end), placement, search)
        reason = trainer.build()
        send(end, f"{reason}\n".encode())
        while not reason:
            send(end, trainer.answer(*pickle.loads(receive(end))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the search has ended


def _die_with(parent: int) -> None:
    """Has this process killed when the one that started it dies, even by kill -9, and even while this one is stopped or
    holds Python's lock. The guard does the same where the system cannot."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before
        os._exit(1)
