"""Trainings after the search, on all workers at once; each is in the ledger as soon as it is there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_autodropout.search.engines.base import Calls
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.tasks.base import Result
from tf_autodropout.search.trial import Status


@dataclass(frozen=True)
class Evaluation:
    """A training after the search.

    Args:
        name: With `index`, what the ledger knows it by.
        index: Number of its seed.
        call: Method of the task, and arguments: `train`, of which the reward is kept, or `test`.
        told: What a user is told of it.
        diverged: Its metrics if the training diverges.
    """

    name: str
    index: int
    call: tuple[Any, ...]
    told: str
    diverged: Mapping[str, float | None]


def evaluate(
    calls: Calls, ledger: Ledger, evaluations: Sequence[Evaluation], progress: Callable[[str], None]
) -> list[Mapping[str, Any]]:
    """Returns the metrics of each evaluation; what is in the ledger already is not trained again.

    Args:
        calls: Of the engine that trains the search's task.
        ledger: Ledger of the search.
        evaluations: What to train.
        progress: Called with a few words when a training begins.

    Raises:
        RuntimeError: a training failed twice.
    """
    missing = [e for e in evaluations if ledger.evaluation(e.name, e.index) is None]
    for place, answer in calls([e.call for e in missing], lambda place: progress(missing[place].told)):
        evaluation = missing[place]
        if answer.status is Status.FINISHED:
            value = answer.value
            metrics = {"reward": value.reward} if isinstance(value, Result) else value
        elif answer.status is Status.INVALID:
            metrics = evaluation.diverged
        else:
            raise RuntimeError(f"The training of '{evaluation.told}' after the search came to nothing: {answer.error}")
        ledger.add_evaluation(evaluation.name, evaluation.index, metrics)
    stored = (ledger.evaluation(e.name, e.index) for e in evaluations)
    return [metrics for metrics in stored if metrics is not None]
