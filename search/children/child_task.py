"""What tasks that train a `Child` have in common: the outline of a training, and its end at a rung."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.children.child import Child
from tf_autodropout.search.children.judge import Judge
from tf_autodropout.search.core import (
    INVALID_REWARD,
    LEARNING_CURVE,
    RUNG_REWARDS,
    STOPPED_AT,
    Opponent,
    Progress,
    Result,
    Rung,
    unheard,
)
from tf_autodropout.search.space import SearchSpace


class ChildTask(ABC):
    """Resets, trains and measures a child. A subclass says which child, how it is measured, and the reward."""

    any_opponent: ClassVar[bool] = True
    METRIC: ClassVar[str]  # name of the measure on the validation split among the metrics
    SCALE: ClassVar[float] = 1.0  # from the measure to the units of `score`

    @abstractmethod
    def child_for(self, opponent: Opponent) -> Child:
        """Returns the compiled child that trains with an opponent; the patterns of one that does not fit the space are
        constants in it."""

    @property
    @abstractmethod
    def space(self) -> SearchSpace:
        """Where patterns may go, and which."""

    @abstractmethod
    def measure(self, child: Child, split: str) -> float:
        """Returns the measure of the child as it is now, on `"valid"` or `"test"`."""

    def reward(self, measure: float) -> float:
        """Returns the reward for a measure on the validation split."""
        return measure

    def train(self, patterns: PatternSet, seed: int, rungs: Sequence[Rung] = ()) -> Result:
        return self._fit(Opponent("", patterns), seed, rungs, unheard)

    def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
        trained = self._fit(opponent, seed, (), progress)
        test = self.measure(self.child_for(opponent), "test")
        return Result(trained.reward, {"valid": self.SCALE * trained.metrics[self.METRIC], "test": self.SCALE * test})

    def opponents(self) -> list[Opponent]:
        return [Opponent.none()]

    def _fit(self, opponent: Opponent, seed: int, rungs: Sequence[Rung], progress: Progress) -> Result:
        child = self.child_for(opponent)
        child.reset(opponent.patterns if opponent.fits(self.space) else PatternSet({}), seed)
        judge = Judge(rungs, child.steps, lambda: self.measure(child, "valid"), self.reward)
        metrics: dict[str, Any] = {
            LEARNING_CURVE: child.train(progress, judge, self.space.draws(seed).__next__ if opponent.drawn else None),
            "train_seconds": child.last_train_seconds,
        }
        if rungs:
            metrics[RUNG_REWARDS] = judge.rewards
        if judge.verdict is not None:
            metrics |= {STOPPED_AT: judge.done / child.steps, self.METRIC: judge.measured}
            expected = max(INVALID_REWARD, judge.verdict.expected(judge.rewards[-1]))
            return Result(expected, metrics, stopped=True)
        valid = self.measure(child, "valid")
        return Result(self.reward(valid), metrics | {self.METRIC: valid})
