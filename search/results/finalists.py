"""Which trial to call best: the best few race on new seeds before one of them is chosen.

Ours. The highest reward of many noisy ones is in part luck; on small tasks the luck of the seed is as large as the lead
of the best. What they earn in the race alone counts, since their first reward is what they were chosen by, and only
validation is looked at.
"""

import statistics
from collections.abc import Callable

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import Engine, Training, Trial
from tf_autodropout.search.ledger import Ledger, LedgerReader
from tf_autodropout.search.results.race import race, race_budget, standing, stored

RACED = "confirmation"  # what the ledger knows a training of the race by, with the number of its trial
_LOOK = 4  # times as many trials are looked at: a searcher may have suggested one PatternSet again


def confirm(
    engine: Engine, ledger: Ledger, seed: int, finalists: int, progress: Callable[[str], None] = lambda name: None
) -> None:
    """Lets the trials with the highest rewards race and stores what they earn; what is there is not trained again.

    Args:
        engine: Of the search; no trial may be there.
        ledger: Ledger of the search.
        seed: Seed of the search.
        finalists: Number of trials; 1 means that the highest reward decides.
        progress: Called with a few words before each training.
    """
    top = contenders(ledger, finalists) if finalists > 1 else []
    if top:
        race(
            engine,
            ledger,
            [_key(trial) for trial in top],
            [lambda own, trial=trial: Training(trial.patterns, own) for trial in top],  # type: ignore[misc]
            race_budget(len(top)),
            seed,
            lambda place: f"trial {top[place].number}, one of the {finalists} best, on a new seed",
            progress,
        )


def best_trial(ledger: LedgerReader, finalists: int) -> tuple[Trial, float] | None:
    """Returns the best trial with its mean reward in the race once that is over.

    Args:
        ledger: Ledger of the search.
        finalists: As for `confirm`.

    Returns:
        Trial and reward; None if no trial has finished. Before the end of a race, and without one, it is the first of
        the trials with the highest reward.
    """
    top = contenders(ledger, finalists)
    if not top:
        return None
    if finalists > 1:
        now = standing(stored(ledger, [_key(trial) for trial in top]), race_budget(len(top)))
        if not now.wanted:
            best = top[now.alive[0]]
            return best, statistics.fmean(rewards_of(ledger, best))
    assert top[0].reward is not None  # it is finished
    return top[0], top[0].reward


def contenders(ledger: LedgerReader, finalists: int) -> list[Trial]:
    """Returns the trials with the highest rewards, each PatternSet once, whatever it says of a pattern of size 0."""
    distinct = {acting(trial.patterns): trial for trial in reversed(ledger.top(_LOOK * finalists))}
    return sorted(distinct.values(), key=lambda trial: (-(trial.reward or 0.0), trial.number))[:finalists]


def raced(ledger: LedgerReader, finalists: int) -> list[tuple[Trial, list[float]]]:
    """Returns the trials that have rewards of a race, and these; those too that later trials have left behind."""
    top = ledger.top(_LOOK * finalists) if finalists > 1 else ()
    return [(trial, rewards) for trial in top if len(rewards := rewards_of(ledger, trial)) > 1]


def rewards_of(ledger: LedgerReader, trial: Trial) -> list[float]:
    """The rewards of a trial in the race, by seed; without a race that of the search."""
    assert trial.reward is not None
    (earned,) = stored(ledger, [_key(trial)])
    return [reward for reward in earned if reward is not None] or [trial.reward]


def acting(patterns: PatternSet) -> PatternSet:
    """Returns a PatternSet without its patterns that drop nothing: equal ones train alike."""
    return PatternSet({site: pattern for site, pattern in patterns.items() if not pattern.is_identity})


def _key(trial: Trial) -> str:
    return f"{RACED} #{trial.number}"
