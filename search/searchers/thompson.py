"""Thompson sampling with a model that is additive over groups of sites: the sample-efficient searcher, ours."""

import math
from typing import Any

import numpy as np

from tf_autodropout.patterns.checks import check_float, invalid
from tf_autodropout.search.searchers.group_features import GroupFeatures
from tf_autodropout.search.searchers.history_searcher import HistorySearcher
from tf_autodropout.search.space import SearchSpace

_NOISE_RATIOS = np.geomspace(1e-2, 1e3, 16)  # variance of the noise over the prior variance of a score
_ALIKE = 1e-7  # scores that differ by rounding only, in deviations of the rewards
_SHARED = (0.0, 0.3, 0.6)  # share of the prior variance that the groups have in common


class Thompson(HistorySearcher):
    """Takes the reward for a sum over the groups of sites, and acts on scores drawn from what is known of them.

    The model: the reward of a sequence, less the mean of all rewards, is the sum of the scores of what each group's
    pattern is (`GroupFeatures`: its tokens, and how much it drops), plus noise. Part of a score is the group's own and
    part is common to all groups of its kind: what is bad at one site is likely to be bad at others. All are Gaussian
    with mean 0; the variance of the noise, that of the scores and the part in common are those under which the rewards
    so far are most probable (on a grid). So the posterior is that of ridge regression, in closed form. Each suggestion
    draws scores from it, with a standard deviation `exploration` times the posterior's, and takes the best pattern of
    every group. Before the first update it is uniformly random. It is made to learn from each trial as it comes.

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
        The features, the choice group by group and `exploration` are ours.
    """

    name = "thompson"

    def __init__(self, space: SearchSpace, seed: int, exploration: float = 0.3) -> None:
        if check_float("exploration", exploration) < 0:
            raise invalid("exploration", ">= 0", exploration)
        super().__init__(space, seed)
        self._exploration = exploration
        self._features = GroupFeatures(space)
        self._widths = [table.shape[1] for table in self._features.tables]
        self._kinds = sorted(set(self._features.kinds))
        self._learn()

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "exploration": self._exploration, "model": 2}

    def _draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        if not len(self._history):
            return tuple(int(rng.integers(size)) for size in self._sizes)
        scores = self._scores(rng)
        tokens: list[int] = []
        for ways, table, own in zip(self._features.ways, self._features.tables, scores, strict=True):
            values = table @ own.astype(np.float32)
            best = np.flatnonzero(
                values >= values.max() - _ALIKE * self._unit
            )  # ways that are no pattern are all alike
            tokens += ways[rng.choice(best)].tolist()
        return tuple(tokens)

    def _scores(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The scores of each group, drawn: the posterior's mean and a deviation, narrow where much is known."""
        noise = rng.standard_normal(len(self._mean))
        known = self._vectors @ (self._narrowing * (self._vectors.T @ noise))
        weights = self._mean + self._exploration * self._deviation * (noise - known)
        own, common = self._split(weights * self._scale)
        return [scores + common[kind] for scores, kind in zip(own, self._features.kinds, strict=True)]

    def _split(self, weights: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Weights of the groups, and those that the groups of a kind have in common."""
        widths = [*self._widths, *(self._widths[self._features.kinds.index(kind)] for kind in self._kinds)]
        parts = np.split(weights, np.cumsum(widths)[:-1])
        return parts[: len(self._widths)], parts[len(self._widths) :]

    def _learn(self) -> dict[str, float]:
        """Sets the posterior; returns deviations of noise and scores, in units of the reward, and the common part."""
        if not len(self._history):
            return {}
        rewards = self._history.rewards
        groups = self._features.rows(self._history.tokens)
        kinds = np.array(self._features.kinds)
        common = [np.sum([groups[place] for place in np.flatnonzero(kinds == kind)], 0) for kind in self._kinds]
        x, n = np.concatenate([*groups, *common], 1), len(rewards)  # (n, P)
        own = sum(self._widths)
        alike = [float((kinds == kind).sum()) for kind in self._kinds]
        counts = np.repeat(alike, [rows.shape[1] for rows in common])
        y = rewards - rewards.mean()
        self._unit = unit = float(y.std()) or 1.0  # equal rewards teach nothing
        y = y / unit
        best: tuple[float, float, float, float] = (-math.inf, 0.0, 1.0, 1.0)
        for shared in _SHARED:
            scale = np.concatenate([np.full(own, math.sqrt(1 - shared)), np.sqrt(shared / counts)])
            vectors, singular, _ = _decomposed(x * scale)
            projected = vectors.T @ y
            rest = max(float(y @ y - projected @ projected), 0.0)
            for ratio in _NOISE_RATIOS:
                # y ~ N(0, variance * (x x' + ratio I)): the variance in closed form, then the evidence.
                variance = float((projected**2 / (singular**2 + ratio)).sum() + rest / ratio) / n
                variance = max(variance, 1e-12)
                determinant = np.log1p(singular**2 / ratio).sum() + n * math.log(ratio)
                best = max(best, (-0.5 * (n * math.log(variance) + determinant), shared, float(ratio), variance))
        _, shared, ratio, variance = best
        self._scale = np.concatenate([np.full(own, math.sqrt(1 - shared)), np.sqrt(shared / counts)])
        left, singular, self._vectors = _decomposed(x * self._scale)
        self._mean = unit * (self._vectors @ (singular / (singular**2 + ratio) * (left.T @ y)))
        self._narrowing = 1 - np.sqrt(ratio / (singular**2 + ratio))
        self._deviation = unit * math.sqrt(variance)
        deviations = {"noise_deviation": unit * math.sqrt(variance * ratio), "score_deviation": self._deviation}
        return {"baseline": float(rewards.mean()), "shared": shared} | deviations


def _decomposed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The singular vectors and values that are not 0, by the smaller of the two Gram matrices."""
    wide = x.shape[0] <= x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = values > 1e-10 * max(float(values.max()), 1e-300)
    singular, vectors = np.sqrt(values[kept]), vectors[:, kept]
    other = (x.T @ vectors if wide else x @ vectors) / singular
    return (vectors, singular, other) if wide else (other, singular, vectors)
