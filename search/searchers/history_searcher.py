"""What searchers that draw each suggestion from what they have learned so far have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tf_autodropout.search.core import Suggestion, Trial
from tf_autodropout.search.searchers.history import History
from tf_autodropout.search.searchers.staleness import staleness
from tf_autodropout.search.space import SearchSpace


class HistorySearcher(ABC):
    """Keeps count of versions and suggestions, and a history of what it has learned from.

    A suggestion is fixed by the seed, the version, its number within the version, and the history: so going on
    needs the history alone.

    Args:
        space: The search space.
        seed: Seeds the draws.
        keep: Number of trials of the history, the newest ones; None for all.
    """

    name: ClassVar[str]

    def __init__(self, space: SearchSpace, seed: int, keep: int | None = None) -> None:
        self._sizes, self._seed = space.vocabulary_sizes, seed
        self._history = History(len(self._sizes), keep)
        self._version = self._suggested = 0

    @property
    def version(self) -> int:
        return self._version

    def suggest(self, count: int) -> list[Suggestion]:
        suggestions = []
        for _ in range(count):
            rng = np.random.default_rng([self._seed & 0xFFFFFFFF, self._version, self._suggested])
            tokens = self._draw(rng)
            suggestions.append(Suggestion(tokens, self._log_prob(tokens), self._version))
            self._suggested += 1
        return suggestions

    def update(self, trials: Sequence[Trial]) -> dict[str, float]:
        self._history.add(trials)
        rewards = [trial.reward for trial in trials if trial.reward is not None]
        metrics = {"mean_reward": sum(rewards) / len(rewards)} | staleness(trials, self._version)
        self._version, self._suggested = self._version + 1, 0
        return metrics | self._learn()

    def state(self) -> bytes:
        return self._history.state()

    def restore(self, version: int, state: bytes | None, suggested: int) -> None:
        self._history.restore(state)
        self._version, self._suggested = version, suggested
        self._learn()

    @abstractmethod
    def _draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Returns the tokens of the next suggestion."""

    def _log_prob(self, tokens: tuple[int, ...]) -> float:
        """Returns the log-probability with which they were drawn; 0 if it has no closed form."""
        return 0.0

    def _learn(self) -> dict[str, float]:
        """Takes in the history, which may be empty; returns what to log beside the mean reward."""
        return {}
