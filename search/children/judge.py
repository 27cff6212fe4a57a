"""Says when a training ends at a rung."""

import math
from collections.abc import Callable, Sequence

from tf_autodropout.search.core import Rung


class Judge:
    """Measures a child at the rungs; says when its training ends.

    Args:
        rungs: Where it may end.
        steps: Steps of the whole training, or whatever else is counted.
        measure: Returns the measure of the child as it is now.
        reward: From the measure to the reward.
    """

    def __init__(
        self, rungs: Sequence[Rung], steps: int, measure: Callable[[], float], reward: Callable[[float], float]
    ) -> None:
        self._ahead, self._steps, self._measure, self._reward = list(rungs), steps, measure, reward
        self.rewards: list[float] = []
        self.measured, self.done = float("nan"), 0
        self.verdict: Rung | None = None  # the rung at which the training ended

    def __call__(self, done: int) -> bool:
        # A rung between two calls of the compiled steps is judged after the next one; at the end there is none left.
        while self._ahead and self._ahead[0].part * self._steps <= done < self._steps:
            rung = self._ahead.pop(0)
            self.measured, self.done = self._measure(), done
            self.rewards.append(self._reward(self.measured))
            if not math.isfinite(self.rewards[-1]):
                raise FloatingPointError(f"validation reward is {self.rewards[-1]} after {done} steps")
            if self.rewards[-1] < rung.threshold:
                self.verdict = rung
                return True
        return False
