"""The search loop: suggest, train, learn. Knows no Keras, no model and no engine but by interface.

Everything that happens is in the ledger before the loop goes on, and the loop starts from the ledger
alone: a run that is killed at any moment goes on as if nothing had been.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.engines.base import Engine
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.observer import Observer
from tf_autodropout.search.queues import FinishedQueue, UnfinishedQueue
from tf_autodropout.search.searchers.base import Searcher
from tf_autodropout.search.trial import Status, Trial

MAX_ATTEMPTS = 2  # a child that raised may have met a passing fault; one that raised twice has not


def search_loop(
    searcher: Searcher,
    ledger: Ledger,
    engine: Engine,
    decode: Callable[[Sequence[int]], PatternSet],
    trials: int,
    capacity: int = 16,
    batch: int = 16,
    observer: Observer | None = None,
) -> None:
    """Runs a search until `trials` trials are final.

    Args:
        searcher: Suggests trials and learns from their rewards.
        ledger: Holds every trial; the loop goes on from what it holds.
        engine: Trains trials.
        decode: Turns the tokens of a suggestion into a PatternSet.
        trials: Number of trials of the whole run, those of earlier sessions included.
        capacity: C, the largest number of unfinished trials.
        batch: M, the number of finished trials an update learns from.
        observer: Hears of what happens.

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, "Search Algorithm": `q_unfinished` holds up to C
        trials, `q_finished` is flushed at M.
    """
    observer = observer or Observer()
    version, state = ledger.latest_checkpoint() or (0, None)
    searcher.restore(version, state, suggested=ledger.count(version))
    waiting = ledger.trials(unfinished=True)
    unfinished = UnfinishedQueue(capacity, waiting)
    finished = FinishedQueue(batch, ledger.trials(unconsumed=True))
    metrics = ledger.update_metrics()
    observer.resumed(ledger.finished_in_order(), metrics[-1].get("baseline") if metrics else None)
    for trial in waiting:
        engine.submit(trial)
    while True:
        # Updates come first: after a kill the loop takes them up where it would have made them.
        while (learned := finished.flush()) is not None:
            _update(searcher, ledger, learned, observer)
        room = min(unfinished.room, trials - ledger.count())
        if room > 0:
            suggestions = searcher.suggest(room)
            for trial in ledger.add((suggestion, decode(suggestion.tokens)) for suggestion in suggestions):
                unfinished.add(trial)
                engine.submit(trial)
        if not len(unfinished):
            return
        _finish_one(ledger, engine, unfinished, finished, observer)


def _update(searcher: Searcher, ledger: Ledger, learned: list[Trial], observer: Observer) -> None:
    metrics = searcher.update(learned)
    ledger.checkpoint(searcher.version, searcher.state(), [trial.number for trial in learned], metrics)
    observer.updated(searcher.version, metrics)


def _finish_one(
    ledger: Ledger, engine: Engine, unfinished: UnfinishedQueue, finished: FinishedQueue, observer: Observer
) -> None:
    outcome = engine.wait(ledger.start)
    trial = unfinished.pop(outcome.number)
    if trial is None:
        return  # a second report of a trial that is final already
    trial = replace(trial, attempts=trial.attempts + 1)
    if outcome.status is Status.FAILED and trial.attempts < MAX_ATTEMPTS:
        unfinished.add(trial)
        engine.submit(trial)
        return
    if not ledger.finish(outcome):
        return
    trial = replace(trial, status=outcome.status, reward=outcome.reward, metrics=outcome.metrics)
    observer.trial_finished(trial)
    if trial.reward is not None:
        finished.add(trial)
