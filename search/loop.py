"""The search loop: suggest, train, learn. Knows no Keras, no model and no engine but by interface.

Everything that happens is in the ledger before the loop goes on, and the loop starts from the ledger
alone: a run that is killed at any moment goes on as if nothing had been.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.engines.base import Engine
from tf_autodropout.search.halving import Halving
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.observer import Observer
from tf_autodropout.search.queues import FinishedQueue, UnfinishedQueue
from tf_autodropout.search.searchers.base import Searcher
from tf_autodropout.search.tasks.base import STOPPED_AT, Rung
from tf_autodropout.search.trial import Outcome, Status, Trial

MAX_ATTEMPTS = 2  # failed ones: a child that raised may have met a passing fault; one that raised twice has not
_log = logging.getLogger(__name__)


def search_loop(
    searcher: Searcher,
    ledger: Ledger,
    engine: Engine,
    decode: Callable[[Sequence[int]], PatternSet],
    trials: int,
    capacity: int = 16,
    batch: int = 16,
    observer: Observer | None = None,
    halving: Halving | None = None,
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
        halving: Says where trials may end early; None trains every one to its end.

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, "Search Algorithm": `q_unfinished` holds up to C
        trials, `q_finished` is flushed at M.
    """
    observer = observer or Observer()
    version, state = ledger.latest_checkpoint() or (0, None)
    searcher.restore(version, state, suggested=ledger.count(version))
    waiting, made = ledger.trials(unfinished=True), ledger.count()
    unfinished = UnfinishedQueue(capacity, waiting)
    finished = FinishedQueue(batch, ledger.trials(unconsumed=True))
    observer.resumed(made - len(waiting), ledger.highest_reward(), ledger.baseline())
    if made:
        _log.info("going on: %d trials are final, %d more are to be trained", made - len(waiting), len(waiting))
    if halving:
        for trial in ledger.trials():
            halving.add(trial)
    for trial in waiting:
        engine.submit(trial)

    def begin(number: int) -> Sequence[Rung]:
        ledger.start(number)
        return halving.rungs(number) if halving else ()

    while True:
        # Updates come first: after a kill the loop takes them up where it would have made them.
        while (learned := finished.flush()) is not None:
            _update(searcher, ledger, learned, observer)
        room = min(unfinished.room, trials - made)
        if room > 0:
            suggestions = searcher.suggest(room)
            added = ledger.add((suggestion, decode(suggestion.tokens)) for suggestion in suggestions)
            made += len(added)
            for trial in added:
                unfinished.add(trial)
                engine.submit(trial)
        if not len(unfinished):
            return
        final = _finish_one(ledger, engine, begin, unfinished, observer)
        if final and halving:
            halving.add(final)
        if final and final.reward is not None:
            finished.add(final)


def _update(searcher: Searcher, ledger: Ledger, learned: list[Trial], observer: Observer) -> None:
    numbers = [trial.number for trial in learned]
    metrics = searcher.update(learned)
    ledger.checkpoint(searcher.version, searcher.state(), numbers, metrics)
    _log.info("update %d learned from trials %s", searcher.version, ", ".join(map(str, numbers)))
    observer.updated(searcher.version, metrics)


def _finish_one(
    ledger: Ledger,
    engine: Engine,
    begin: Callable[[int], Sequence[Rung]],
    unfinished: UnfinishedQueue,
    observer: Observer,
) -> Trial | None:
    """Takes one outcome; returns its trial if that is final now."""
    outcome = engine.wait(begin).checked()
    trial = unfinished.pop(outcome.number)
    if trial is None:
        _log.warning("an outcome of trial %d is ignored: it came before, or never was asked for", outcome.number)
        return None
    failed = outcome.status is Status.FAILED
    trial = replace(trial, attempts=trial.attempts + 1, failures=trial.failures + failed, worker=outcome.worker)
    if failed and trial.failures < MAX_ATTEMPTS:
        ledger.queue_again(outcome)
        _log.warning("%s; it is tried again", _told(trial, outcome))
        unfinished.add(trial)
        engine.submit(trial)
        return None
    if not ledger.finish(outcome):
        return None
    _log.log(logging.WARNING if outcome.reward is None else logging.INFO, _told(trial, outcome))
    trial = replace(trial, status=outcome.status, reward=outcome.reward, metrics=outcome.metrics)
    observer.trial_finished(trial)
    return trial


def _told(trial: Trial, outcome: Outcome) -> str:
    """One line of the log: what came of one attempt, where, and why."""
    place = f" on {outcome.worker}" if outcome.worker else ""
    attempt = f" (attempt {trial.attempts})" if trial.attempts > 1 else ""
    if outcome.status is Status.FINISHED:
        return f"trial {trial.number} finished{place}{attempt}: reward {outcome.reward:.6g}"
    if outcome.status is Status.STOPPED:
        part = outcome.metrics.get(STOPPED_AT, math.nan)
        return (
            f"trial {trial.number} ended early{place}{attempt}, after {part:.0%}: expected reward {outcome.reward:.6g}"
        )
    reason = " ".join(str(outcome.metrics.get("error", "no reason given")).split())
    if outcome.status is Status.INVALID:
        return f"trial {trial.number} is invalid{place}{attempt}: {reason}; it counts with reward {outcome.reward:g}"
    return f"trial {trial.number} failed{place}{attempt}: {reason}"
