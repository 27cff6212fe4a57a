"""The words and the interfaces of the search, all in one file."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.space import SearchSpace

NO_DROPOUT = "no dropout"  # name of the opponent
INVALID_REWARD = 0.0  # no reward is lower: the lowest accuracy, and 80 over an infinite perplexity
LEARNING_CURVE = "train_loss"  # the metric that is a list: mean training losses of equally many steps each
RUNG_REWARDS = "rung_rewards"  # the metric with the validation rewards at the rungs that a training came to
STOPPED_AT = "stopped_at"  # the metric with the share of the steps that were done when a training ended early
INPUT_SHARE = "input_share"  # the metric with the time to read a batch, over that of a step; above 1 reading is slower

Progress = Callable[[int, int, float], None]  # steps done, steps in all, mean loss since the last call


def unheard(step: int, steps: int, loss: float) -> None:
    """The `Progress` of a training that nobody watches."""


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
        log_prob: Behaviour log-probability, under the controller that drew them; 0 where it has no closed form.
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
    """What came of one call; goes from process to process.

    Args:
        number: Number of the call: for a trial, its own.
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
        metrics: Anything else worth keeping, as JSON types of 16 MiB at most; the name `"error"` is taken.
        stopped: Whether the training ended at a rung.
    """

    reward: float
    metrics: Mapping[str, Any] = field(default_factory=dict)
    stopped: bool = False


@dataclass(frozen=True)
class Opponent:
    """A line of the final table: what the best PatternSet is compared with.

    Args:
        name: What the table calls it.
        patterns: The PatternSet to train with.
        ramp_up: Whether all rates rise from nothing over the training, as DropBlock's do.
        drawn: Whether every step draws a PatternSet of its own from the task's space.
    """

    name: str
    patterns: PatternSet
    ramp_up: bool = False
    drawn: bool = False

    @classmethod
    def none(cls) -> "Opponent":
        """Returns the opponent without any pattern."""
        return cls(NO_DROPOUT, PatternSet({}))

    def fits(self, space: SearchSpace) -> bool:
        """Whether a trial could have it: patterns of the sites' kinds, at all steps."""
        return space.takes(self.patterns) and not self.ramp_up and not self.drawn


class Task(Protocol):
    """Real data, a child network, a reward. The search calls `train` only, which never sees test data."""

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

    def train(self, patterns: PatternSet, seed: int, rungs: Sequence[Rung] = ()) -> Result:
        """Trains a child from scratch and scores it on the validation split.

        A task whose `train` has no `rungs` cannot be searched with halving. With rungs the metrics hold the rewards at
        those that were reached under `RUNG_REWARDS`; a training that passes all has the reward that it has without.

        Raises:
            FloatingPointError: the training diverged.
        """

    def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
        """Trains a child from scratch; the metrics hold `"valid"` and `"test"`, in units of `score`.

        Raises:
            FloatingPointError: the training diverged.
        """

    def opponents(self) -> Sequence[Opponent]:
        """Returns own lines of the final table, no dropout first; none without test data. See `classics_for`."""

    def describe(self) -> dict[str, Any]:
        """Returns data, model and training settings, as JSON types: part of what identifies a run."""


@dataclass(frozen=True)
class Training:
    """Work for an engine: a trial, or a finalist on another seed. It goes from process to process."""

    patterns: PatternSet
    seed: int
    rungs: tuple[Rung, ...] = ()

    def __call__(self, task: Task) -> Result:
        """Does it."""
        return task.train(self.patterns, self.seed, *([self.rungs] if self.rungs else []))


@dataclass(frozen=True)
class Scoring:
    """Work for an engine: a line of the final table on one seed."""

    opponent: Opponent
    seed: int

    def __call__(self, task: Task) -> Result:
        """Does it."""
        return task.test(self.opponent, self.seed)


@dataclass(frozen=True)
class Call:
    """What an engine takes.

    Args:
        number: Comes back with the outcome.
        description: What the log calls it, after "in".
        begin: Called once, in the search's process, when the training begins; returns the work.
    """

    number: int
    description: str
    begin: Callable[[], Training | Scoring]


@runtime_checkable
class Engine(Protocol):
    """Takes calls and gives back outcomes, in whatever order they come."""

    @property
    def slots(self) -> int:
        """How many trainings it has room for at once, as far as it knows now."""

    def submit(self, call: Call) -> None:
        """Takes a call; returns at once."""

    def next(self) -> Outcome:
        """Waits for the next outcome."""

    def close(self) -> None:
        """Gives everything free."""


class Searcher(Protocol):
    """Suggests trials and learns from their rewards. The loop saves its state in the ledger."""

    @property
    def version(self) -> int:
        """Number of updates so far."""

    def suggest(self, count: int) -> list[Suggestion]:
        """Returns the next `count` suggestions; the same ones after the same history."""

    def update(self, trials: Sequence[Trial]) -> dict[str, float]:
        """Learns from a batch of trials with rewards; returns what to log."""

    def state(self) -> bytes:
        """Returns the state after the last update."""

    def restore(self, version: int, state: bytes | None, suggested: int) -> None:
        """Goes back to a state, after which `suggested` suggestions have been made.

        `state` is None for version 0, before the first update.
        """

    def describe(self) -> dict[str, Any]:
        """Returns the settings, as JSON types: part of what identifies a run."""


class Observer:
    """Hears of everything that happens in a search; the default does nothing."""

    def resumed(self, final: int, best: float | None, baseline: float | None) -> None:
        """Called once at the start: how many trials are final already, their highest reward, the baseline."""

    def trial_finished(self, trial: Trial) -> None:
        """Called when a trial has its final status in the ledger."""

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        """Called when an update is in the ledger."""

    def close(self) -> None:
        """Called once at the end, also after an error."""
