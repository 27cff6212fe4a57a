"""One attempt at one training: the same faults end in the same way in every engine."""

import time
from dataclasses import dataclass
from typing import Any

from tf_autodropout.search.tasks.base import Task
from tf_autodropout.search.trial import INVALID_REWARD, Outcome, Status


@dataclass(frozen=True)
class Answer:
    """What a call of a task came to; goes from process to process.

    Args:
        status: `FINISHED` if the call returned, `INVALID` if the training diverged, else `FAILED`.
        value: What the call returned.
        error: Why it did not.
        seconds: How long it took.
    """

    status: Status
    value: Any = None
    error: str = ""
    seconds: float = 0.0


def attempt(task: Task, method: str, *arguments: Any) -> Answer:
    """Calls a method of a task; whatever a child raises must not end the search.

    Args:
        task: What trains children.
        method: `"train"` or `"test"`.
        *arguments: Arguments of the method.
    """
    begin = time.perf_counter()
    try:
        value = getattr(task, method)(*arguments)
    except FloatingPointError as error:
        return Answer(Status.INVALID, error=str(error))
    except Exception as error:  # MemoryError and TensorFlow's ResourceExhaustedError among them
        return Answer(Status.FAILED, error=f"{type(error).__name__}: {error}")
    return Answer(Status.FINISHED, value, seconds=time.perf_counter() - begin)


def trial_seed(seed: int, number: int) -> int:
    """Returns the seed of a trial: it follows from the search's seed and its number."""
    # Here, as this import brings TensorFlow: a worker sets its cores and device before its task does.
    from tf_autodropout.layers import site_seed

    return site_seed(seed, "trial", number)


def outcome(number: int, answer: Answer, worker: str = "") -> Outcome:
    """Returns the outcome of a trial whose training came to `answer`.

    Args:
        number: Number of the trial.
        answer: What its training came to.
        worker: Name of the process or machine that trained it.
    """
    if answer.status is Status.FINISHED:
        metrics = dict(answer.value.metrics) | {"seconds": answer.seconds}
        return Outcome(number, answer.status, answer.value.reward, metrics, worker)
    reward = INVALID_REWARD if answer.status is Status.INVALID else None
    return Outcome(number, answer.status, reward, {"error": answer.error}, worker)


def check_time_limit(time_limit: float | None) -> None:
    """Raises `ValueError` unless `time_limit` is a positive number of seconds or None."""
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"Invalid value for 'time_limit'. Expected seconds > 0. Received: time_limit={time_limit}")
