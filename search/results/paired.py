"""Paired statistics: differences over the same seeds, with an interval and an exact test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

CONFIDENCE = 0.95
_EXACT = 2**14  # sign flips that are counted one by one
_RESAMPLES = 9999
_ALIKE = 1e-9  # of the mean: differences that differ by rounding only


@dataclass(frozen=True)
class Lead:
    """How far one regularization is ahead of another one over the same seeds.

    Args:
        mean: Mean of the paired differences, positive where the first is better; NaN where a training diverged.
        low: Lower end of the 95 % bootstrap interval of the mean (BCa); NaN for one seed.
        high: Upper end.
        p: Two-sided p of the sign-flip test: exact up to 14 seeds, at least `2 / 2^seeds`.
    """

    mean: float
    low: float
    high: float
    p: float


def paired_lead(first: Sequence[float], second: Sequence[float], lower_is_better: bool) -> Lead:
    """Returns the lead of the first over the second.

    Args:
        first: Scores, one a seed.
        second: Scores for the same seeds in the same order.
        lower_is_better: True for a perplexity, False for an accuracy.

    Raises:
        ValueError: not equally many scores, or none.

    Example:
        >>> from tf_autodropout.search.results.paired import paired_lead
        >>> lead = paired_lead([60.1, 61.0, 59.5, 60.2, 60.9, 60.0], [62.0, 62.9, 61.9, 61.8, 62.3, 62.2], True)
        >>> round(lead.mean, 2), lead.p
        (1.9, 0.03125)

    Reference:
        Efron, Better Bootstrap Confidence Intervals, JASA 1987; Fisher, The Design of Experiments, 1935.
    """
    if len(first) != len(second) or len(first) == 0:
        raise ValueError(f"Expected equally many scores, at least one. Received: {len(first)} and {len(second)}")
    a, b = (np.asarray(scores, float) for scores in (first, second))
    ahead = b - a if lower_is_better else a - b
    mean = float(ahead.mean())
    if not math.isfinite(mean):
        return Lead(math.nan, math.nan, math.nan, 1.0)
    if len(ahead) == 1:
        return Lead(mean, math.nan, math.nan, 1.0)
    if np.ptp(ahead) <= _ALIKE * abs(mean):
        low = high = mean
    else:
        interval = scipy.stats.bootstrap(
            (ahead,), np.mean, confidence_level=CONFIDENCE, n_resamples=_RESAMPLES, method="BCa", rng=0
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Lead(mean, low, high, _sign_flip(ahead))


def _sign_flip(ahead: np.ndarray) -> float:
    test = scipy.stats.permutation_test(
        (ahead, np.zeros_like(ahead)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=min(2 ** len(ahead), _EXACT),
        rng=0,
    )
    return float(test.pvalue)


def smallest_p(seeds: int, tests: int = 1) -> float:
    """Returns the smallest p that the sign-flip test can give, after Holm where there are several tests."""
    return min(1.0, tests * 2 / 2**seeds)


def holm(values: Sequence[float]) -> list[float]:
    """Returns the p values adjusted for their number, so that each may be looked at alone.

    Args:
        values: The p values of several tests.

    Reference:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 1979.
    """
    adjusted, largest = [1.0] * len(values), 0.0
    for rank, place in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = largest
    return adjusted
