"""Which trial to call best: the best few are retrained on more seeds before one of them is chosen.

Ours. The highest reward of many noisy ones is in part luck; on small tasks the luck of the seed is as
large as the lead of the best. The finalists share their new seeds, all that they have earned counts alike,
and only validation is looked at.
"""

import statistics
from collections.abc import Callable

from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.core import INVALID_REWARD, Engine, Training, Trial
from tf_autodropout.search.ledger import Ledger, LedgerReader
from tf_autodropout.search.results.evaluation import Evaluation, evaluate

SEEDS = 2


def confirm(
    engine: Engine, ledger: Ledger, seed: int, finalists: int, progress: Callable[[str], None] = lambda name: None
) -> None:
    """Retrains the trials with the highest rewards and stores what they earn; what is there is not trained again.

    Args:
        engine: Of the search; no trial may be there.
        ledger: Ledger of the search.
        seed: Seed of the search; the new seeds derive from it and were not used for any trial.
        finalists: Number of trials; 1 means that the highest reward decides.
        progress: Called with a few words before each training.
    """

    evaluations = [
        Evaluation(
            _key(trial),
            index,
            Training(trial.patterns, site_seed(seed, "confirm", index)),
            f"trial {trial.number}, one of the {finalists} best, on a new seed",
            diverged={"reward": INVALID_REWARD},
        )
        for trial in (ledger.top(finalists) if finalists > 1 else ())
        for index in range(SEEDS)
    ]
    evaluate(engine, ledger, evaluations, progress)


def best_trial(ledger: LedgerReader, finalists: int) -> tuple[Trial, float] | None:
    """Returns the best trial with its mean reward, over all seeds once all finalists have been confirmed.

    Args:
        ledger: Ledger of the search.
        finalists: As for `confirm`.

    Returns:
        Trial and reward; None if no trial has finished. Without confirmation it is the first of the trials with
        the highest reward.
    """
    top = ledger.top(finalists)
    if not top:
        return None
    earned = [rewards_of(ledger, trial) for trial in top]
    if finalists > 1 and all(len(rewards) == 1 + SEEDS for rewards in earned):
        means = [statistics.fmean(rewards) for rewards in earned]
        place = max(range(len(top)), key=lambda place: (means[place], -place))
        return top[place], means[place]
    return top[0], earned[0][0]


def rewards_of(ledger: LedgerReader, trial: Trial) -> list[float]:
    """The reward of the search and those on the new seeds, as far as they are there."""
    assert trial.reward is not None  # it is finished
    stored = (ledger.evaluation(_key(trial), index) for index in range(SEEDS))
    return [trial.reward] + [metrics["reward"] for metrics in stored if metrics is not None]


def _key(trial: Trial) -> str:
    return f"confirmation #{trial.number}"
