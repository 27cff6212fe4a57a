"""What a benchmark answers."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


class NotRecordedError(KeyError):
    """No training of this PatternSet, or none on this seed, is in the table; the message names the nearest."""

    def __str__(self) -> str:  # KeyError shows its argument's repr
        return str(self.args[0])


@dataclass(frozen=True)
class Recorded:
    """One training.

    Args:
        seed: Of the training.
        reward: On the validation split.
        valid: Score on the validation split; None where it is not known.
        test: Score on the test split; None where it was not measured.
        seconds: That it took; None where it is not known.
        role: Why it was trained: `"trial"`, `"tuning"`, `"finalist"`, `"fresh"` or `"trial 0"`.
        run: Name of the run.
    """

    seed: int
    reward: float
    valid: float | None
    test: float | None
    seconds: float | None
    role: str
    run: str


@dataclass(frozen=True)
class Answer:
    """What the trainings of one PatternSet came to.

    Args:
        trainings: All that there are, one a seed.
        reward: Their mean reward on the validation split.
        deviation: Standard deviation of the reward from seed to seed; NaN for one training.
        valid: Mean score on the validation split; None where it is not known.
        test: Mean score on the test split over those that have one; None if none has.
    """

    trainings: tuple[Recorded, ...]
    reward: float
    deviation: float
    valid: float | None
    test: float | None

    @classmethod
    def of(cls, trainings: Sequence[Recorded]) -> "Answer":
        """Makes the answer of some trainings, at least one."""
        rewards = [one.reward for one in trainings]
        deviation = statistics.stdev(rewards) if len(rewards) > 1 else math.nan
        valid, test = (_mean([getattr(one, split) for one in trainings]) for split in ("valid", "test"))
        return cls(tuple(trainings), statistics.fmean(rewards), deviation, valid, test)


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if known else None
