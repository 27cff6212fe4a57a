"""A PatternSet on its way through the search."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tf_autodropout.patterns import PatternSet

INVALID_REWARD = 0.0  # no reward is lower: the lowest accuracy, and 80 over an infinite perplexity
LEARNING_CURVE = "train_loss"  # the metric that is a list: mean training losses of equally many steps each


class Status(StrEnum):
    """Where a trial stands. `queued` and `running` are unfinished, the others are final."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"  # ended at a rung; counts with the reward to be expected at its end, is never the best
    FAILED = "failed"  # raised on every attempt; takes no part in updates
    INVALID = "invalid"  # trained to a loss or reward that is not finite; counts with `INVALID_REWARD`


@dataclass(frozen=True)
class Suggestion:
    """What a searcher proposes.

    Args:
        tokens: One index per decision of the search space.
        log_prob: Behaviour log-probability: of these tokens under the controller that drew them; 0 from a
            searcher that has no closed form for it.
        version: Number of updates that controller had seen.
    """

    tokens: tuple[int, ...]
    log_prob: float
    version: int


@dataclass(frozen=True)
class Trial:
    """A suggestion with its PatternSet, status and outcome, as the ledger holds it.

    `attempts` counts the times that its training began, `failures` those that failed; a training that
    died with the search's own process is no failure. `worker` names where the last one ran.
    """

    number: int
    suggestion: Suggestion
    patterns: PatternSet
    status: Status = Status.QUEUED
    attempts: int = 0
    reward: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    failures: int = 0
    worker: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of training a trial once.

    Args:
        number: Number of the trial.
        status: `FINISHED`, `STOPPED`, `FAILED` or `INVALID`.
        reward: Finite, at least 0; the expected one of a stopped trial, 0 for an invalid one, None for a failed one.
        metrics: Anything else worth keeping, as JSON types; the reason under `"error"`, the learning
            curve under `LEARNING_CURVE`.
        worker: What the log calls the one that trained it, such as `worker 3`; empty for this process.
    """

    number: int
    status: Status
    reward: float | None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    worker: str = ""

    def checked(self) -> "Outcome":
        """Returns this outcome; an invalid one if its reward is not finite, a failed one if it is negative."""
        if self.status is Status.FAILED:
            return self
        if self.reward is None or not math.isfinite(self.reward):
            metrics = dict(self.metrics) | {"error": f"reward is {self.reward}"}
            return Outcome(self.number, Status.INVALID, INVALID_REWARD, metrics, self.worker)
        if self.reward < INVALID_REWARD:
            reason = f"Expected a reward >= 0, which is what a diverged training counts as. Received: {self.reward}"
            return Outcome(self.number, Status.FAILED, None, dict(self.metrics) | {"error": reason}, self.worker)
        return self
