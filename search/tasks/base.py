"""The interface of a task: real data, a child network, a reward."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.space import SearchSpace

RUNG_REWARDS = "rung_rewards"  # the metric with the validation rewards at the rungs that a training came to
STOPPED_AT = "stopped_at"  # the metric with the share of the steps that were done when a training ended early

Progress = Callable[[int, int, float], None]  # steps done, steps in all, mean loss since the last call


def unheard(step: int, steps: int, loss: float) -> None:
    """The `Progress` of a training that nobody watches."""


@dataclass(frozen=True)
class Rung:
    """A point of a training at which it is judged by its validation reward, and may end.

    Args:
        part: Share of the steps that are done, between 0 and 1.
        threshold: A training with a lower reward ends here; minus infinity lets every one go on.
        intercept: The final reward to be expected is `intercept + slope * reward`.
        slope: See `intercept`.
    """

    part: float
    threshold: float = -math.inf
    intercept: float = 0.0
    slope: float = 0.0

    def expected(self, reward: float) -> float:
        """Returns the final reward to be expected of a training with this reward here."""
        return self.intercept + self.slope * reward


@dataclass(frozen=True)
class Result:
    """What a trained child is worth.

    Args:
        reward: Finite number on the validation split, at least 0; more is better, and a training that diverged counts
            as 0: for a loss take `exp(-loss)`. Of a training that ended at a rung, the one to be expected at its end.
        metrics: Anything else worth keeping, as JSON types.
        stopped: Whether the training ended at a rung.
    """

    reward: float
    metrics: Mapping[str, Any] = field(default_factory=dict)
    stopped: bool = False


@dataclass(frozen=True)
class Contender:
    """A line of the final table.

    Args:
        name: What the table calls it.
        patterns: The PatternSet to train with.
        dropout: Rate of element-wise Dropout where the builder puts it, beside the patterns.
    """

    name: str
    patterns: PatternSet
    dropout: float = 0.0


class Task(Protocol):
    """Trains a child with a PatternSet. The search calls `train` only, which never sees test data."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def space(self) -> SearchSpace:
        """Where patterns may go, and which."""

    @property
    def score(self) -> str:
        """Name of the test metric in the final table."""

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower score is the better one."""

    def train(self, patterns: PatternSet, seed: int) -> Result:
        """Trains a child from scratch and scores it on the validation split.

        Raises:
            FloatingPointError: the training diverged.
        """

    def test(self, contender: Contender, seed: int, progress: Progress = unheard) -> dict[str, float]:
        """Trains a child from scratch; returns `{"valid": ..., "test": ...}` in units of `score`.

        Raises:
            FloatingPointError: the training diverged.
        """

    def classics(self) -> Sequence[Contender]:
        """Returns the lines of the final table to compare with, no dropout first."""

    def describe(self) -> dict[str, Any]:
        """Returns data, model and training settings, as JSON types: part of what identifies a run."""


@runtime_checkable
class EndsEarly(Protocol):
    """A task that can judge a training while it runs."""

    def train_by_rungs(self, patterns: PatternSet, seed: int, rungs: Sequence[Rung]) -> Result:
        """Does what `train` does, but may end at a rung.

        The metrics hold the rewards at the rungs that were reached under `RUNG_REWARDS`. A training that passes all
        rungs has the reward that `train` gives it.

        Raises:
            FloatingPointError: the training diverged.
        """


@runtime_checkable
class ShowsSamples(Protocol):
    """A task whose results can be read, such as translations."""

    def samples(self) -> Sequence[Mapping[str, str]]:
        """Returns what the child trained last makes of a few test examples, as texts by name."""
