"""Thompson sampling with an additive model of the reward: the sample-efficient searcher, ours."""

import math
from typing import Any

import numpy as np

from tf_autodropout.search.searchers.history_searcher import HistorySearcher
from tf_autodropout.search.space import SearchSpace

_NOISE_RATIOS = np.geomspace(1e-3, 1e3, 19)  # variance of the noise over the prior variance of a score


class Thompson(HistorySearcher):
    """Takes the reward for a sum of one score a token, and acts on scores drawn from what is known of them.

    The model: the reward of a sequence, less the mean of all rewards, is the sum of the scores of its
    values, `score[decision, value]`, plus noise. Scores and noise are Gaussian with mean 0; their two
    variances are those under which the rewards so far are most probable (on a grid of their ratio).
    So the posterior of all scores is known in closed form: it is ridge regression on one-hot tokens.
    Each suggestion draws scores from it, with a standard deviation `exploration` times the posterior's,
    and takes the best value of every decision. Before the first update it is uniformly random.

    A suggestion's log-probability has no closed form: it is given as 0, which it is for the scores drawn.

    Args:
        space: The search space.
        seed: Seeds the draws.
        exploration: 1 is Thompson sampling to the letter, 0 always suggests what has the best mean. Below
            1 fewer trials are spent on scores that hardly matter, and there are many of those.

    Raises:
        ValueError: a negative `exploration`.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.searchers import Thompson
        >>> from tf_autodropout.search.space import SearchSpace
        >>> sites = tad.sites(tad.models.transformer_lm(1000, 32)).as_sites()
        >>> searcher = Thompson(SearchSpace(sites), seed=0)
        >>> len(searcher.suggest(1)[0].tokens)
        35

    Reference:
        Thompson, On the Likelihood that One Unknown Probability Exceeds Another, Biometrika 1933; Agrawal
        and Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML 2013, Algorithm 1.
        The factorised choice and `exploration` are ours.
    """

    name = "thompson"

    def __init__(self, space: SearchSpace, seed: int, exploration: float = 0.3) -> None:
        if not exploration >= 0:
            raise ValueError(f"Invalid value for 'exploration'. Expected >= 0. Received: exploration={exploration}")
        super().__init__(space, seed)
        self._exploration = exploration
        self._first = np.cumsum(self._sizes) - self._sizes  # (L,): column of the first value of each decision
        self._learn()

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "exploration": self._exploration}

    def _draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        # With no trials yet scores are alike in all directions: the best of each decision is uniformly random.
        scale = self._exploration if len(self._history) else 1.0
        scores = self._mean + scale * (self._factor @ rng.standard_normal(len(self._mean)))
        return tuple(int(values.argmax()) for values in np.split(scores, self._first[1:]))

    def _learn(self) -> dict[str, float]:
        if not len(self._history):
            # Mean of the scores, (P,), and a factor, (P, P), that times its transpose is their covariance.
            count = sum(self._sizes)
            self._mean, self._factor = np.zeros(count), np.eye(count)
            return {}
        noise, score = self._fit()
        baseline = float(self._history.rewards.mean())
        return {"baseline": baseline, "noise_deviation": noise, "score_deviation": score}

    def _fit(self) -> tuple[float, float]:
        """Sets the posterior; returns the standard deviations of noise and scores, in units of the reward."""
        n, rewards = len(self._history), self._history.rewards
        onehot = np.zeros((n, len(self._mean)))  # (n, P)
        onehot[np.arange(n)[:, None], self._first + self._history.tokens] = 1.0
        y = rewards - rewards.mean()
        unit = float(y.std()) or 1.0  # equal rewards teach nothing
        y = y / unit
        eigenvalues, vectors = np.linalg.eigh(onehot.T @ onehot)
        eigenvalues = np.maximum(eigenvalues, 0.0)
        projected = vectors.T @ (onehot.T @ y)
        best = (-math.inf, 1.0, 1.0)
        for ratio in _NOISE_RATIOS:
            # y ~ N(0, variance * (onehot onehot' + ratio I)): the variance in closed form, then the evidence.
            variance = max((y @ y - (projected**2 / (eigenvalues + ratio)).sum()) / (ratio * n), 1e-12)
            determinant = np.log1p(eigenvalues / ratio).sum() + n * math.log(ratio)
            best = max(best, (-0.5 * (n * math.log(variance) + determinant), float(ratio), float(variance)))
        _, ratio, variance = best
        self._mean = unit * (vectors @ (projected / (eigenvalues + ratio)))
        self._factor = unit * vectors * np.sqrt(variance * ratio / (eigenvalues + ratio))
        return unit * math.sqrt(variance * ratio), unit * math.sqrt(variance)
