"""One attempt at one training: the same faults end in the same way in every engine."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tf_autodropout.search.answers import failed, outcome_of, reason_of
from tf_autodropout.search.core import INVALID_REWARD, Outcome, Scoring, Status, Task, Training


def attempt(task: Task, number: int, work: Training | Scoring) -> Outcome:
    """Does a work; whatever a child raises or returns must not end the search.

    Args:
        task: What trains children.
        number: Of the call, comes back with the outcome.
        work: What is to be done.

    Raises:
        KeyboardInterrupt: somebody pressed Ctrl-C; one that the child raises by itself fails the attempt. Likewise
            whatever another handler of a signal raises to end this process.
    """
    begin, process = time.perf_counter(), os.getpid()
    with _signals() as heard:
        try:
            with _same_settings():
                result = work(task)
            return outcome_of(number, work, result, time.perf_counter() - begin)
        except FloatingPointError as error:
            return Outcome(number, Status.INVALID, INVALID_REWARD, {"error": reason_of(error, kind=False)})
        except BaseException as error:  # MemoryError and TensorFlow's ResourceExhaustedError, SystemExit among them
            if heard and not isinstance(error, Exception):
                raise
            if signal.SIGINT in heard:
                raise KeyboardInterrupt from error  # a library made another error of it
            return failed(number, reason_of(error))
        finally:
            if os.getpid() != process:  # the child forked, and this is the copy: there is one answer to a call
                os._exit(1)


def check_time_limit(time_limit: float | None) -> None:
    """Raises `ValueError` unless `time_limit` is a positive number of seconds or None."""
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"Invalid value for 'time_limit'. Expected seconds > 0. Received: time_limit={time_limit}")


@contextlib.contextmanager
def _same_settings() -> Iterator[None]:
    """A child that changes the working directory or the recursion limit does so for itself."""
    limit, directory = sys.getrecursionlimit(), ""
    with contextlib.suppress(OSError):  # it has been removed
        directory = os.getcwd()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
        if directory:
            with contextlib.suppress(OSError):
                os.chdir(directory)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Notes the signals that reach Python's handlers, which tell the end of this process from a child's own."""
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # no handler runs in another thread
        yield heard
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    noting = {number: _noting(handler, heard) for number, handler in before.items() if callable(handler)}
    for number, handler in noting.items():
        signal.signal(number, handler)
    try:
        yield heard
    finally:
        for number, handler in noting.items():
            if signal.getsignal(number) is handler:  # else the child has set one
                signal.signal(number, before[number])


def _noting(handler: Any, heard: list[int]) -> Any:
    def note(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        handler(number, frame)

    return note
