"""One attempt at one training: the same faults end in the same way in every engine."""

import time

from tf_autodropout.search.core import INVALID_REWARD, Outcome, Scoring, Status, Task, Training


def attempt(task: Task, number: int, work: Training | Scoring) -> Outcome:
    """Does a work; whatever a child raises must not end the search.

    Args:
        task: What trains children.
        number: Of the call, comes back with the outcome.
        work: What is to be done.
    """
    begin = time.perf_counter()
    try:
        result = work(task)
        metrics = dict(result.metrics) | {"seconds": time.perf_counter() - begin}
        return Outcome(number, Status.STOPPED if result.stopped else Status.FINISHED, result.reward, metrics)
    except FloatingPointError as error:
        return Outcome(number, Status.INVALID, INVALID_REWARD, {"error": str(error)})
    except Exception as error:  # MemoryError and TensorFlow's ResourceExhaustedError among them
        return failed(number, f"{type(error).__name__}: {error}")


def failed(number: int, reason: str) -> Outcome:
    """Returns the outcome of a training that came to nothing."""
    return Outcome(number, Status.FAILED, None, {"error": reason})


def check_time_limit(time_limit: float | None) -> None:
    """Raises `ValueError` unless `time_limit` is a positive number of seconds or None."""
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"Invalid value for 'time_limit'. Expected seconds > 0. Received: time_limit={time_limit}")
