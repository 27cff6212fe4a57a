"""Trainings after the search, on all workers at once; each is in the ledger as soon as it is there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_autodropout.search.answers import checked
from tf_autodropout.search.core import Call, Engine, Outcome, Scoring, Status, Training
from tf_autodropout.search.ledger import Ledger


@dataclass(frozen=True)
class Evaluation:
    """A training after the search.

    Args:
        name: With `index`, what the ledger knows it by.
        index: Number of its seed.
        work: Of which the reward is kept, or the scores.
        description: What a user hears of it.
        diverged: What is kept of it, by name, if the training diverges; else the same names.
    """

    name: str
    index: int
    work: Training | Scoring
    description: str
    diverged: Mapping[str, float | None]


def evaluate(
    engine: Engine, ledger: Ledger, evaluations: Sequence[Evaluation], progress: Callable[[str], None]
) -> list[Mapping[str, Any]]:
    """Returns what is kept of each evaluation; what is in the ledger already is not trained again.

    Args:
        engine: Of the search; no trial may be there.
        ledger: Ledger of the search.
        evaluations: What to train.
        progress: Called with a few words when a training begins.

    Raises:
        RuntimeError: a training failed twice.
    """
    missing = [e for e in evaluations if ledger.evaluation(e.name, e.index) is None]
    works = [e.work for e in missing]
    for place, outcome in work_through(engine, works, lambda place: progress(missing[place].description)):
        evaluation = missing[place]
        if outcome.status is Status.FAILED:
            reason = outcome.metrics.get("error")
            raise RuntimeError(f"The training of '{evaluation.description}' came to nothing: {reason}")
        kept = dict(outcome.metrics) | {"reward": outcome.reward}
        metrics = {
            name: kept[name] if outcome.status is Status.FINISHED else value
            for name, value in evaluation.diverged.items()
        }
        ledger.add_evaluation(evaluation.name, evaluation.index, metrics)
    stored = (ledger.evaluation(e.name, e.index) for e in evaluations)
    return [metrics for metrics in stored if metrics is not None]


def work_through(
    engine: Engine, works: Sequence[Training | Scoring], started: Callable[[int], None] = lambda place: None
) -> Iterator[tuple[int, Outcome]]:
    """Does all works; yields the place of each and its outcome, in whatever order they come.

    What fails is tried once more.

    Args:
        engine: No trial may be there.
        works: What to do.
        started: Called with the place of each work that begins.

    Raises:
        TypeError: the engine gave something else than an `Outcome`.
    """

    def submit(place: int) -> None:
        def begin() -> Training | Scoring:
            started(place)
            return works[place]

        engine.submit(Call(place, "a training after the search", begin))

    for place in range(len(works)):
        submit(place)
    left, failed = set(range(len(works))), set()
    while left:
        outcome = checked(engine.next())
        if outcome.number not in left:  # it came before, or never was asked for
            continue
        if outcome.status is Status.FAILED and outcome.number not in failed:
            failed.add(outcome.number)
            submit(outcome.number)
            continue
        left.remove(outcome.number)
        yield outcome.number, outcome
