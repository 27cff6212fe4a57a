"""The search loop: suggest, train, learn. Knows no Keras, no model and no engine but by interface.

Everything that happens is in the ledger before the loop goes on, and the loop starts from the ledger
alone: a run that is killed at any moment goes on as if nothing had been.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.answers import checked
from tf_autodropout.search.core import (
    STOPPED_AT,
    Call,
    Engine,
    Observer,
    Outcome,
    Searcher,
    Status,
    Training,
    Trial,
)
from tf_autodropout.search.halving import Halving
from tf_autodropout.search.ledger import Ledger

BATCH = 16  # M of the paper
MAX_ATTEMPTS = 2  # failed ones: a child that raised may have met a passing fault; one that raised twice has not
SAME_ERRORS = 3  # in a row, of as many trials: a mistake in the task, not in the weather
_log = logging.getLogger(__name__)


def trial_seed(seed: int, number: int) -> int:
    """Returns the seed of a trial: it follows from the search's seed and its number."""
    return site_seed(seed, "trial", number)


def capacity_for(slots: int, batch: int = BATCH) -> int:
    """Returns the C that keeps an engine with this many slots busy: at least M, so that updates come soon."""
    return max(min(batch, BATCH), slots + slots // 4)  # some wait, so that a worker that is done finds the next trial


class UnfinishedQueue:
    """Trials that wait for training or are being trained, at most C of them.

    Args:
        trials: What is out already.
    """

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._trials = {trial.number: trial for trial in trials}

    def room(self, capacity: int) -> int:
        """How many trials may be added."""
        return max(0, capacity - len(self._trials))

    def add(self, trial: Trial) -> None:
        """Adds a trial, or puts back one that is to be tried again."""
        self._trials[trial.number] = trial

    def pop(self, number: int) -> Trial | None:
        """Takes a trial out; None if it is not there (it finished before)."""
        return self._trials.pop(number, None)

    def __len__(self) -> int:
        return len(self._trials)


class FinishedQueue:
    """Trials with rewards, flushed M at a time.

    Args:
        batch: M, at least 1.
        trials: What is finished and not yet learned from, oldest first.

    Raises:
        ValueError: a batch below 1.
    """

    def __init__(self, batch: int, trials: Iterable[Trial] = ()) -> None:
        if batch < 1:
            raise ValueError(f"Invalid value for 'batch'. Expected >= 1. Received: batch={batch}")
        self._batch = batch
        self._trials = list(trials)

    def add(self, trial: Trial) -> None:
        """Adds a trial that has a reward."""
        self._trials.append(trial)

    def flush(self) -> list[Trial] | None:
        """Takes out the M oldest trials; None while there are fewer."""
        if len(self._trials) < self._batch:
            return None
        taken, self._trials = self._trials[: self._batch], self._trials[self._batch :]
        return taken


def search_loop(
    searcher: Searcher,
    ledger: Ledger,
    engine: Engine,
    decode: Callable[[Sequence[int]], PatternSet],
    trials: int,
    capacity: int | None = None,
    batch: int = BATCH,
    observer: Observer | None = None,
    halving: Halving | None = None,
    seed: int = 0,
) -> None:
    """Runs a search until `trials` trials are final.

    Args:
        searcher: Suggests trials and learns from their rewards.
        ledger: Holds every trial; the loop goes on from what it holds.
        engine: Trains trials.
        decode: Turns the tokens of a suggestion into a PatternSet.
        trials: Number of trials of the whole run, those of earlier sessions included.
        capacity: C, the largest number of unfinished trials; None for `capacity_for` the engine's slots, which may
            change while the search goes on.
        batch: M, the number of finished trials an update learns from.
        observer: Hears of what happens.
        halving: Says where trials may end early; None trains every one to its end.
        seed: Each trial derives its own seed from this one and its number.

    Raises:
        ValueError: a capacity or a batch below 1.
        RuntimeError: three trials in a row failed with the same error.

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, "Search Algorithm": `q_unfinished` holds up to C
        trials, `q_finished` is flushed at M.
    """
    if capacity is not None and capacity < 1:
        raise ValueError(f"Invalid value for 'capacity'. Expected >= 1. Received: capacity={capacity}")
    observer = observer or Observer()
    version, state = ledger.latest_checkpoint() or (0, None)
    searcher.restore(version, state, suggested=ledger.count(version))
    waiting, made = ledger.trials(unfinished=True), ledger.count()
    unfinished = UnfinishedQueue(waiting)
    finished = FinishedQueue(batch, ledger.trials(unconsumed=True))
    observer.resumed(made - len(waiting), ledger.highest_reward(), ledger.baseline())
    if made:
        _log.info("going on: %d trials are final, %d more are to be trained", made - len(waiting), len(waiting))
    if halving:
        for trial in ledger.trials():
            halving.add(trial)

    def begin(trial: Trial) -> Training:
        ledger.start(trial.number)
        rungs = halving.rungs(trial.number) if halving else ()
        return Training(trial.patterns, trial_seed(seed, trial.number), rungs)

    def submit(trial: Trial) -> None:
        unfinished.add(trial)
        engine.submit(Call(trial.number, f"trial {trial.number}", partial(begin, trial)))

    for trial in waiting:
        submit(trial)

    errors: deque[Any] = deque(maxlen=SAME_ERRORS)  # of the trials that were final last
    while True:
        # Updates come first: after a kill the loop takes them up where it would have made them.
        while (learned := finished.flush()) is not None:
            _update(searcher, ledger, learned, observer)
        room = min(unfinished.room(capacity or capacity_for(engine.slots, batch)), trials - made)
        if room > 0:
            suggestions = searcher.suggest(room)
            added = ledger.add((suggestion, decode(suggestion.tokens)) for suggestion in suggestions)
            made += len(added)
            for trial in added:
                submit(trial)
        if not len(unfinished):
            return
        final = _finish_one(ledger, checked(engine.next()), submit, unfinished, observer)
        if final:
            errors.append(final.metrics.get("error") if final.status is Status.FAILED else None)
            if len(errors) == SAME_ERRORS and errors[0] is not None and len(set(errors)) == 1:
                raise RuntimeError(f"{SAME_ERRORS} trials in a row failed with the same error: {errors[0]}")
        if final and halving:
            halving.add(final)
        if final and final.reward is not None:
            finished.add(final)


def _update(searcher: Searcher, ledger: Ledger, learned: list[Trial], observer: Observer) -> None:
    numbers = [trial.number for trial in learned]
    metrics = searcher.update(learned)
    ledger.checkpoint(searcher.version, searcher.state(), numbers, metrics)
    if made := ledger.count(searcher.version):  # before its checkpoint was damaged: they are not suggested again
        searcher.restore(searcher.version, searcher.state(), suggested=made)
    _log.info("update %d learned from trials %s", searcher.version, ", ".join(map(str, numbers)))
    observer.updated(searcher.version, metrics)


def _finish_one(
    ledger: Ledger,
    outcome: Outcome,
    submit: Callable[[Trial], None],
    unfinished: UnfinishedQueue,
    observer: Observer,
) -> Trial | None:
    """Takes one outcome; returns its trial if that is final now."""
    trial = unfinished.pop(outcome.number)
    if trial is None:
        _log.warning("an outcome of trial %d is ignored: it came before, or never was asked for", outcome.number)
        return None
    failed = outcome.status is Status.FAILED
    trial = replace(trial, attempts=trial.attempts + 1, failures=trial.failures + failed, worker=outcome.worker)
    if failed and trial.failures < MAX_ATTEMPTS:
        ledger.queue_again(outcome)
        _log.warning("%s; it is tried again", _description(trial, outcome))
        submit(trial)
        return None
    if not ledger.finish(outcome):
        return None
    _log.log(logging.WARNING if outcome.reward is None else logging.INFO, _description(trial, outcome))
    trial = replace(trial, status=outcome.status, reward=outcome.reward, metrics=outcome.metrics)
    observer.trial_finished(trial)
    return trial


def _description(trial: Trial, outcome: Outcome) -> str:
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


class Observers(Observer):
    """Passes everything on to several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def resumed(self, final: int, best: float | None, baseline: float | None) -> None:
        for observer in self._observers:
            observer.resumed(final, best, baseline)

    def trial_finished(self, trial: Trial) -> None:
        for observer in self._observers:
            observer.trial_finished(trial)

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        for observer in self._observers:
            observer.updated(version, metrics)

    def close(self) -> None:
        for observer in self._observers:
            observer.close()
