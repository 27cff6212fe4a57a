"""Regularized evolution: mutate the best of a few, forget the oldest."""

import math
from typing import Any

import numpy as np

from tf_autodropout.patterns.checks import check_int
from tf_autodropout.search.searchers.history_searcher import HistorySearcher
from tf_autodropout.search.space import SearchSpace


class RegularizedEvolution(HistorySearcher):
    """Keeps the newest finished trials, and suggests mutants of the best of a random few of them.

    The population is the newest `population` finished trials, however good the older ones were. A
    suggestion draws `tournament` members of it with replacement, takes the one with the highest
    reward and gives one decision, drawn uniformly, another value, drawn uniformly. Until the
    population is full, suggestions are uniformly random.

    Args:
        space: The search space.
        seed: Seeds the draws.
        population: Number of trials kept, P.
        tournament: Number of members drawn for a suggestion, S.

    Raises:
        ValueError: a population or tournament below 1.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.searchers import RegularizedEvolution
        >>> from tf_autodropout.search.space import SearchSpace
        >>> sites = tad.sites(tad.models.transformer_lm(1000, 32)).as_sites()
        >>> searcher = RegularizedEvolution(SearchSpace(sites), seed=0)
        >>> len(searcher.suggest(1)[0].tokens)
        35

    Reference:
        Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019,
        Algorithm 1. The sizes are ours.
    """

    name = "evolution"

    def __init__(self, space: SearchSpace, seed: int, population: int = 64, tournament: int = 16) -> None:
        for name, value in (("population", population), ("tournament", tournament)):
            check_int(name, value, 1)
        super().__init__(space, seed, keep=population)
        self._population, self._tournament = population, tournament
        self._mutable = [decision for decision, size in enumerate(self._sizes) if size > 1]
        self._learn()

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "population": self._population, "tournament": self._tournament}

    @property
    def _full(self) -> bool:
        return len(self._history) == self._population

    def _learn(self) -> dict[str, float]:
        # The tokens of the population, (P, L), best first, the older of equals first.
        self._ranking = self._history.tokens[np.argsort(-self._history.rewards, kind="stable")]
        return {"population_mean_reward": float(self._history.rewards.mean())} if len(self._history) else {}

    def _draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        return self._mutant(rng) if self._full else tuple(int(rng.integers(size)) for size in self._sizes)

    def _mutant(self, rng: np.random.Generator) -> tuple[int, ...]:
        rank = rng.integers(self._population, size=self._tournament).min()  # the best of the draws
        tokens = [int(token) for token in self._ranking[rank]]
        decision = int(rng.choice(self._mutable))
        tokens[decision] = (tokens[decision] + int(rng.integers(1, self._sizes[decision]))) % self._sizes[decision]
        return tuple(tokens)

    def _log_prob(self, tokens: tuple[int, ...]) -> float:
        """Exact: summed over all members that `tokens` are one mutation away from."""
        if not self._full:
            return -sum(map(math.log, self._sizes))
        differs = self._ranking != np.array(tokens)  # (P, L)
        total = 0.0
        for rank in np.flatnonzero(differs.sum(1) == 1):
            # All draws are of this rank or worse, less: all are worse.
            this, worse = (((self._population - r) / self._population) ** self._tournament for r in (rank, rank + 1))
            total += (this - worse) / (self._sizes[differs[rank].argmax()] - 1)
        return math.log(total / len(self._mutable))
