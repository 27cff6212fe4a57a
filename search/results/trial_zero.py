"""Trial 0 is no dropout: what a search has found beyond it, and whether that can be told from chance."""

import statistics
from collections.abc import Callable

import scipy.stats

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import NO_DROPOUT, Engine, Status, Training, Trial
from tf_autodropout.search.ledger import Ledger, LedgerReader
from tf_autodropout.search.loop import trial_seed
from tf_autodropout.search.results.evaluation import Evaluation, evaluate
from tf_autodropout.search.results.finalists import acting, contenders, rewards_of
from tf_autodropout.search.results.race import DIVERGED, MOST, paired_seed

NAME = "trial 0"
LEVEL = 0.05


def train_trial_zero(
    engine: Engine, ledger: Ledger, seed: int, progress: Callable[[str], None], paired: int = 0
) -> None:
    """Trains without dropout and stores the reward; what is there is not trained again.

    Args:
        engine: Of the search; no trial may be there.
        ledger: Ledger of the search.
        seed: Seed of the search.
        progress: Called with a few words before a training.
        paired: Number of the seeds of the finalists' race that it is trained on as well.

    Raises:
        RuntimeError: it failed twice, with the reason: so would every trial.
    """
    evaluations = [
        Evaluation(
            NAME,
            index,
            Training(PatternSet({}), seed_of(seed, index)),
            f"{NO_DROPOUT}, as {NAME}",
            DIVERGED,
        )
        for index in range(1 + paired)
    ]
    evaluate(engine, ledger, evaluations, progress)


def seed_of(seed: int, index: int) -> int:
    """Returns the seed of a training of trial 0: that of the trial itself first, then those of the race.

    Args:
        seed: Seed of the search.
        index: What the ledger counts the trainings by.
    """
    return paired_seed(seed, index - 1) if index else trial_seed(seed, 0)


def without_dropout(ledger: LedgerReader) -> list[float]:
    """Returns the rewards without dropout: on the seeds of the race, where there was one, else that of trial 0."""
    stored = [ledger.evaluation(NAME, index) for index in range(1 + MOST)]
    rewards = [metrics["reward"] for metrics in stored if metrics is not None]
    return rewards[1:] or rewards


def trials_without_dropout(ledger: LedgerReader) -> list[float]:
    """Returns the rewards of the trials that drop nothing: most searches without a trial 0 begin with one."""
    return [
        trial.reward
        for trial in ledger.trials()
        if trial.status is Status.FINISHED and trial.reward is not None and not acting(trial.patterns)
    ]


def lead(ledger: LedgerReader, best: Trial, finalists: int) -> str:
    """Says what the best trial is ahead of no dropout, and whether chance alone could do it; empty without trial 0.

    It was chosen by what it earned in the race, so chance has as many tries as there were contenders: the t of the two
    means is compared with that of Bonferroni. The table compares on seeds that chose nothing.

    Args:
        ledger: Ledger of the search.
        best: The best trial.
        finalists: How many raced at most.
    """
    without = without_dropout(ledger)
    if not without:
        return ""
    earned = rewards_of(ledger, best)
    figures = f"{statistics.fmean(earned):.4f} against {statistics.fmean(without):.4f} without dropout"
    if min(len(earned), len(without)) < 2:
        return f"One seed tells nothing of chance: {figures}."
    raced = len(contenders(ledger, finalists))
    noise = sum(statistics.variance(rewards) / len(rewards) for rewards in (earned, without)) ** 0.5
    limit = noise * float(scipy.stats.t.ppf(1 - LEVEL / raced, len(earned) + len(without) - 2))
    chance = f"chance alone puts the best of {raced} {limit:.4f} ahead in one search of {1 / LEVEL:.0f}"
    if statistics.fmean(earned) - statistics.fmean(without) > limit:
        return f"The best PatternSet is ahead: {figures}; {chance}."
    return f"This search cannot be told from chance: {figures}; {chance}."
