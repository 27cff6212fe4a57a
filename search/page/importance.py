"""Which decisions of a search matter: how much of the rewards' variance the values of each explain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_TRIALS = 16  # fewer tell chance from nothing
_SHUFFLES, _LEAST_SHUFFLES, _REWARDS = 200, 40, 400_000  # shuffled rewards in all, which bounds the time


@dataclass(frozen=True)
class Importance:
    """What the trials tell of one decision.

    Args:
        place: Its place among the tokens of a trial.
        share: Share of the rewards' variance that its values explain by themselves (omega squared): 0 to 1.
        means: Value, as its index, to the mean reward of the trials that have it.
        counts: Value, as its index, to the number of those trials.
    """

    place: int
    share: float
    means: dict[int, float]
    counts: dict[int, int]


def importances(tokens: Sequence[Sequence[int]], rewards: Sequence[float]) -> list[Importance]:
    """Returns the decisions, the most important one first; nothing of fewer than 16 trials.

    Omega squared is the share of variance between the values less what chance alone would show of so many values. A
    searcher that learns makes its decisions dependent on each other; then several may share what one of them does.

    Args:
        tokens: L indices of each trial.
        rewards: Reward of each trial.

    Example:
        >>> from tf_autodropout.search.page.importance import importances
        >>> first, second = importances([(i % 2, i % 3) for i in range(30)], [float(i % 2) for i in range(30)])
        >>> first.place, round(first.share, 2), second.share
        (0, 1.0, 0.0)

    Reference:
        Hays, Statistics for Psychologists, 1963 (omega squared); Hutter et al., An Efficient Approach for Assessing
        Hyperparameter Importance, ICML 2014, has the idea of variance explained by single decisions.
    """
    if len(rewards) < LEAST_TRIALS:
        return []
    reward, columns = np.asarray(rewards, float), _columns(tokens)
    found = []
    for place, (names, where, counts) in enumerate(columns):
        share, means = _share(where, counts, reward)
        values = names.tolist()
        found.append(
            Importance(
                place,
                share,
                dict(zip(values, means.tolist(), strict=True)),
                dict(zip(values, counts.tolist(), strict=True)),
            )
        )
    return sorted(found, key=lambda one: (-one.share, one.place))


def chance_level(tokens: Sequence[Sequence[int]], rewards: Sequence[float]) -> float:
    """Returns the share that the most important one of all decisions stays below in 95 % of shuffles of the rewards.

    Args:
        tokens: As for `importances`.
        rewards: As for `importances`; at least 16.
    """
    reward, columns = np.asarray(rewards, float), _columns(tokens)
    reward = reward - reward.mean()
    total = float((reward**2).sum())
    if total == 0:
        return 0.0
    rng = np.random.default_rng(0)
    shuffles = max(_LEAST_SHUFFLES, min(_SHUFFLES, _REWARDS // len(reward)))
    shuffled = np.stack([rng.permutation(reward) for _ in range(shuffles)])  # (S, N)
    largest = np.zeros(shuffles)
    for _, where, counts in columns:
        left = len(reward) - len(counts)
        if left > 0:
            has = np.equal.outer(np.arange(len(counts)), where).astype(float)  # (values, N)
            between = ((shuffled @ has.T) ** 2 / counts).sum(1)
            within = (total - between) / left
            largest = np.maximum(largest, (between - (len(counts) - 1) * within) / (total + within))
    return float(np.quantile(largest, 0.95))


def _columns(tokens: Sequence[Sequence[int]]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each decision the values that occur, the place among them of each trial's, and how often each occurs."""
    table = np.asarray(tokens, int)
    return [np.unique(column, return_inverse=True, return_counts=True) for column in table.T]


def _share(where: np.ndarray, counts: np.ndarray, reward: np.ndarray) -> tuple[float, np.ndarray]:
    """Omega squared, at least 0, and the mean reward of each value."""
    mean, left = reward.mean(), len(reward) - len(counts)
    means = np.bincount(where, reward) / counts
    total = float(((reward - mean) ** 2).sum())
    if total == 0 or left <= 0:
        return 0.0, means
    between = float((counts * (means - mean) ** 2).sum())
    within = (total - between) / left
    return min(max((between - (len(counts) - 1) * within) / (total + within), 0.0), 1.0), means
