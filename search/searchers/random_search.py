"""Uniform random search: what learning has to beat."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.trial import Suggestion, Trial


class RandomSearch:
    """Draws every token uniformly; learns nothing.

    Args:
        space: The search space.
        seed: Seeds the draws.
    """

    name = "random"

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._sizes, self._seed = space.vocabulary_sizes, seed
        self._version = self._suggested = 0

    @property
    def version(self) -> int:
        return self._version

    def suggest(self, count: int) -> list[Suggestion]:
        log_prob = -sum(map(math.log, self._sizes))
        suggestions = []
        for _ in range(count):
            rng = np.random.default_rng([self._seed & 0xFFFFFFFF, self._version, self._suggested])
            tokens = tuple(int(rng.integers(size)) for size in self._sizes)
            suggestions.append(Suggestion(tokens, log_prob, self._version))
            self._suggested += 1
        return suggestions

    def update(self, trials: Sequence[Trial]) -> dict[str, float]:
        self._version, self._suggested = self._version + 1, 0
        rewards = [trial.reward for trial in trials if trial.reward is not None]
        return {"mean_reward": sum(rewards) / len(rewards)}

    def state(self) -> bytes:
        return b""

    def restore(self, version: int, state: bytes | None, suggested: int) -> None:
        self._version, self._suggested = version, suggested

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}
