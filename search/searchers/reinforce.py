"""The paper's search method: a Transformer controller trained by REINFORCE."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from tf_autodropout.search.core import Suggestion, Trial
from tf_autodropout.search.searchers.controller import Controller
from tf_autodropout.search.searchers.learner import Learner, LearnerConfig
from tf_autodropout.search.searchers.staleness import staleness
from tf_autodropout.search.space import SearchSpace


class Reinforce:
    """Samples from the controller and updates it with every batch.

    Args:
        space: The search space.
        seed: Seeds the controller's weights and its samples.
        batch: Sequences drawn at once; a whole batch costs hardly more than one.
        config: Settings of the update.
    """

    name = "reinforce"

    def __init__(self, space: SearchSpace, seed: int, batch: int = 16, config: LearnerConfig | None = None) -> None:
        self._controller = Controller(space.vocabulary_sizes, seed=seed)
        self._learner = Learner(self._controller, config)
        self._seed, self._batch, self._version = seed, batch, 0
        self._pending = self._suggestions()

    @property
    def version(self) -> int:
        return self._version

    def suggest(self, count: int) -> list[Suggestion]:
        return list(itertools.islice(self._pending, count))

    def update(self, trials: Sequence[Trial]) -> dict[str, float]:
        metrics = self._learner.update(
            [trial.suggestion.tokens for trial in trials],
            [trial.suggestion.log_prob for trial in trials],
            [trial.reward for trial in trials if trial.reward is not None],
        )
        metrics |= staleness(trials, self._version)
        self._version += 1
        self._pending = self._suggestions()
        return metrics

    def log_prob(self, tokens: Sequence[int]) -> float:
        """Returns the log-probability of tokens under the controller as it is now."""
        return float(self._controller.log_prob_and_entropy([list(tokens)])[0][0])

    def state(self) -> bytes:
        return self._learner.state()

    def restore(self, version: int, state: bytes | None, suggested: int) -> None:
        if state is not None:
            self._learner.restore(state)
        self._version = version
        self._pending = self._suggestions()
        self.suggest(suggested)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "batch": self._batch} | self._learner.describe()

    def _suggestions(self) -> Iterator[Suggestion]:
        """The endless sequence of this version: a pure function of weights, seed and version."""
        version = self._version
        for draw in itertools.count():
            seed = (self._seed & 0x7FFFFFFF, (version << 12 ^ draw) & 0x7FFFFFFF)
            tokens, log_prob = (x.numpy() for x in self._controller.sample(self._batch, seed))
            for row, value in zip(tokens, log_prob, strict=True):
                yield Suggestion(tuple(int(token) for token in row), float(value), version)
