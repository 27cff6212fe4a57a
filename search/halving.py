"""Successive halving: a training that does not look promising part of the way ends there.

Ours; the paper trains every child to its end. At each rung the worse half of the trials that came there ends, as in
asynchronous successive halving. By default there is one, at half of the steps: with another at a quarter the best of 64
recorded trials was worse than that of fewer trials with as many steps in all (benchmarks/cheap_trials.md). The reward
of one that ends is the one to be expected at its end: a straight line, fitted to the trials that were trained to their
end, from the reward at the rung to the final one. So all rewards are on one scale, and the learner, to which a reward
is a sample of an expectation, meets an estimate of the same expectation.

Reference:
    Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016
    (successive halving); Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020, Algorithm 2
    (asynchronous).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_autodropout.patterns.checks import check_float, check_int, invalid
from tf_autodropout.search.core import RUNG_REWARDS, Rung, Status, Trial


@dataclass(frozen=True)
class Fit:
    """What the reward at a rung tells of the final one.

    Args:
        intercept: Of the least-squares line from the reward at the rung to the final one.
        slope: Of that line.
        correlation: Pearson's, between the two.
        trials: How many trials it was fitted on.
    """

    intercept: float
    slope: float
    correlation: float
    trials: int

    @property
    def tells(self) -> bool:
        """Whether the correlation is positive by more than two standard errors of one that is 0."""
        return self.correlation > 2 / math.sqrt(self.trials)


class Halving:
    """Decides where trials may end, from the rewards of those before.

    Until `warm_up` trials have been trained to their end, every one is. After that none ends at a rung whose reward
    does not tell the final one, as where strong regularization learns slowly and wins late. A share of the trials
    is trained to the end whatever it looks like, so that the line is fitted on bad ones as well.

    Args:
        seed: Seed of the search; says which trials go on whatever they look like.
        parts: Shares of the steps at which trials are judged, rising.
        keep: Share of the trials that goes on at each rung.
        audited: Share of the trials that is trained to the end in any case.
        warm_up: Number of trials to begin with.

    Raises:
        ValueError: parts that do not rise between 0 and 1, shares that are not between 0 and 1, a warm-up below 3.

    Example:
        >>> from tf_autodropout.search.halving import Halving
        >>> [rung.part for rung in Halving(seed=0).rungs(1)]  # the first trials go on, to teach what a rung tells
        [0.5]
    """

    def __init__(
        self,
        seed: int,
        parts: Sequence[float] = (0.5,),
        keep: float = 0.5,
        audited: float = 0.125,
        warm_up: int = 16,
    ) -> None:
        if not isinstance(parts, Sequence) or isinstance(parts, str):
            raise invalid("parts", "a list of shares of the steps", parts)
        for name, number in (*(("parts", part) for part in parts), ("keep", keep), ("audited", audited)):
            check_float(name, number)
        check_int("warm_up", warm_up, 0)
        if not all(a < b for a, b in zip([0.0, *parts], [*parts, 1.0], strict=True)) or not parts:
            raise ValueError(f"Invalid value for 'parts'. Expected 0 < rising numbers < 1. Received: parts={parts}")
        for name, share in (("keep", keep), ("audited", audited)):
            if not 0 < share < 1:
                raise ValueError(f"Invalid value for '{name}'. Expected 0 < share < 1. Received: {name}={share}")
        if warm_up < 3:
            raise ValueError(f"Invalid value for 'warm_up'. Expected >= 3 trials. Received: warm_up={warm_up}")
        self._seed, self._parts, self._keep = seed, tuple(parts), keep
        self._audited, self._warm_up = audited, warm_up
        self._at_rung: list[list[float]] = [[] for _ in parts]  # of every trial that came there
        self._complete: list[tuple[list[float], float]] = []  # rewards at the rungs, final reward

    def add(self, trial: Trial) -> None:
        """Takes up a trial that is final; one without rewards at rungs tells nothing."""
        rewards = list(trial.metrics.get(RUNG_REWARDS, ()))
        for place, reward in enumerate(rewards):
            self._at_rung[place].append(reward)
        if trial.status is Status.FINISHED and len(rewards) == len(self._parts) and trial.reward is not None:
            self._complete.append((rewards, trial.reward))

    def rungs(self, number: int) -> tuple[Rung, ...]:
        """Returns the rungs of a trial that begins.

        Args:
            number: Number of the trial.
        """
        goes_on = np.random.default_rng([self._seed, number]).random() < self._audited
        if goes_on or len(self._complete) < self._warm_up:
            return tuple(Rung(part) for part in self._parts)
        fits = [self.fit(place) for place in range(len(self._parts))]
        return tuple(
            Rung(part, float(np.quantile(rewards, 1 - self._keep)), fit.intercept, fit.slope)
            if fit.tells
            else Rung(part)
            for part, rewards, fit in zip(self._parts, self._at_rung, fits, strict=True)
        )

    def fit(self, place: int) -> Fit:
        """Returns what the rung with this index tells, after three trials or more that were trained to their end."""
        at_rung = np.array([rewards[place] for rewards, _ in self._complete])
        final = np.array([reward for _, reward in self._complete])
        spread, final_spread = at_rung.std(), final.std()
        if not spread > 0 or not final_spread > 0:
            return Fit(float(final.mean()), 0.0, 0.0, len(final))
        covariance = float(np.mean((at_rung - at_rung.mean()) * (final - final.mean())))
        slope = covariance / spread**2
        intercept = float(final.mean() - slope * at_rung.mean())
        return Fit(intercept, float(slope), float(covariance / (spread * final_spread)), len(final))

    def describe(self) -> dict[str, object]:
        """Returns the settings, as JSON types: part of what identifies a run."""
        return {
            "parts": list(self._parts),
            "keep": self._keep,
            "audited": self._audited,
            "warm_up": self._warm_up,
        }
