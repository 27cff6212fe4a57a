"""A PatternSet on its way through the search."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tf_autodropout.patterns import PatternSet


class Status(StrEnum):
    """Where a trial stands. `queued` and `running` are unfinished, the others are final."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"  # raised on every attempt; takes no part in updates
    INVALID = "invalid"  # trained to a loss or reward that is not finite; counts with reward 0


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
    """A suggestion with its PatternSet, status and outcome, as the ledger holds it."""

    number: int
    suggestion: Suggestion
    patterns: PatternSet
    status: Status = Status.QUEUED
    attempts: int = 0
    reward: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of training a trial once.

    Args:
        number: Number of the trial.
        status: `FINISHED`, `FAILED` or `INVALID`.
        reward: Finite reward; 0 for an invalid trial, None for a failed one.
        metrics: Anything else worth keeping, as JSON types.
    """

    number: int
    status: Status
    reward: float | None
    metrics: Mapping[str, Any] = field(default_factory=dict)
