"""One attempt at one training: the same faults end in the same way in every engine."""

import time
from collections.abc import Sequence
from typing import Any

from tf_autodropout.search.engines.base import Answer
from tf_autodropout.search.tasks.base import Rung, Task
from tf_autodropout.search.trial import INVALID_REWARD, Outcome, Status, Trial


def attempt(task: Task, method: str, *arguments: Any) -> Answer:
    """Calls a method of a task; whatever a child raises must not end the search.

    Args:
        task: What trains children.
        method: `"train"`, `"train_by_rungs"` or `"test"`.
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


def training(trial: Trial, seed: int, rungs: Sequence[Rung]) -> tuple[Any, ...]:
    """Returns the call that trains a trial: method and arguments for `attempt`.

    Args:
        trial: What is trained.
        seed: Seed of the search.
        rungs: Where it may end; none for a task that cannot end early.
    """
    own = trial_seed(seed, trial.number)
    return ("train_by_rungs", trial.patterns, own, rungs) if rungs else ("train", trial.patterns, own)


def outcome(number: int, answer: Answer, worker: str = "") -> Outcome:
    """Returns the outcome of a trial whose training came to `answer`.

    Args:
        number: Number of the trial.
        answer: What its training came to.
        worker: Name of the process or machine that trained it.
    """
    if answer.status is Status.FINISHED:
        metrics = dict(answer.value.metrics) | {"seconds": answer.seconds}
        status = Status.STOPPED if answer.value.stopped else Status.FINISHED
        return Outcome(number, status, answer.value.reward, metrics, worker)
    reward = INVALID_REWARD if answer.status is Status.INVALID else None
    return Outcome(number, answer.status, reward, {"error": answer.error}, worker)


def check_time_limit(time_limit: float | None) -> None:
    """Raises `ValueError` unless `time_limit` is a positive number of seconds or None."""
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"Invalid value for 'time_limit'. Expected seconds > 0. Received: time_limit={time_limit}")
