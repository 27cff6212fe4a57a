"""Uniform random search: what learning has to beat."""

import math
from typing import Any

import numpy as np

from tf_autodropout.search.searchers.history_searcher import HistorySearcher
from tf_autodropout.search.space import SearchSpace


class RandomSearch(HistorySearcher):
    """Draws every token uniformly; learns nothing.

    Args:
        space: The search space.
        seed: Seeds the draws.
    """

    name = "random"

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed, keep=0)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def _draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        return tuple(int(rng.integers(size)) for size in self._sizes)

    def _log_prob(self, tokens: tuple[int, ...]) -> float:
        return -sum(map(math.log, self._sizes))
