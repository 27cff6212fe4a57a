"""Every training of a run, those after the search too: with which patterns, on which seed, and what came of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import (
    INVALID_REWARD,
    LEARNING_CURVE,
    NO_DROPOUT,
    STOPPED_AT,
    Opponent,
    Status,
    Task,
    Trial,
)
from tf_autodropout.search.ledger import LedgerError, LedgerReader, stored_config
from tf_autodropout.search.loop import trial_seed
from tf_autodropout.search.results.comparison import (
    FOUND,
    RANDOM,
    TRIVIAL,
    TRIVIAL_PATTERN,
    classics_of,
    fresh_seed,
    random_opponents,
)
from tf_autodropout.search.results.finalists import RACED
from tf_autodropout.search.results.race import paired_seed
from tf_autodropout.search.results.trial_zero import NAME, seed_of
from tf_autodropout.search.results.tuning import TUNED
from tf_autodropout.search.tasks.registry import make_task

TRIAL, TRIAL_ZERO, TUNING, FINALIST, FRESH = "trial", "trial 0", "tuning", "finalist", "fresh"
RAMP_UP, DRAWN, UNKNOWN = "rates rise from nothing", "drawn anew at every step", "unknown"
ANALYSED = "analysis "  # what the ledger knows the trainings of an analysis by begins so
_FINAL = (Status.FINISHED, Status.STOPPED, Status.FAILED, Status.INVALID)


@dataclass(frozen=True)
class PastTraining:
    """One training that a ledger holds.

    Args:
        role: `TRIAL`: of the search; `TRIAL_ZERO`: no dropout beside it; `TUNING`: of the classics; `FINALIST`: in the
            race of the best trials; `FRESH`: for the final table, which alone has test scores.
        name: What was trained, as the table calls it.
        trial: Number of the trial whose patterns they are; None for those of no trial.
        seed: That `train` or `test` of the task was given.
        status: Final; `INVALID` for one that diverged.
        patterns: None where there is not one PatternSet for all steps, see `schedule`.
        schedule: Empty for patterns that stay as they are at all steps, else `RAMP_UP`, `DRAWN` or `UNKNOWN`.
        tokens: That the space decodes to these patterns; None where it has none.
        reward: On the validation split; 0 for an invalid one, None for a failed one.
        valid: Score on the validation split in units of the test score; None where it is not known.
        test: Score on the test split; None where it was not measured.
        steps: Training steps; None where the task does not tell.
        seconds: That the training took with its validation; None after the search, where the ledger keeps none.
        curve: Mean training losses of equally many steps each; None after the search.
        error: Why it failed or is invalid.
    """

    role: str
    name: str
    trial: int | None
    seed: int
    status: Status
    patterns: PatternSet | None
    schedule: str = ""
    tokens: tuple[int, ...] | None = None
    reward: float | None = None
    valid: float | None = None
    test: float | None = None
    steps: int | None = None
    seconds: float | None = None
    curve: tuple[float, ...] | None = None
    error: str | None = None


@dataclass(frozen=True)
class PastRun:
    """A run with all its trainings.

    Args:
        name: Of its directory.
        config: What identifies the run, as the ledger has it.
        version: Of the package that wrote last.
        task: It was for.
        trainings: In the order of the ledger.
    """

    name: str
    config: dict[str, Any]
    version: str
    task: Task = field(repr=False)
    trainings: tuple[PastTraining, ...] = field(repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """What the task says of itself, without its space."""
        return {name: value for name, value in self.config["task"].items() if name != "space"}


def past_run(directory: Path, task: Task | None = None) -> PastRun:
    """Reads the trainings of a search, also while it is at work; what is unfinished is left out.

    So is what `analyse` has trained after it: the ledger has its scores, but not the patterns.

    Args:
        directory: Output directory of the run.
        task: Of the run; None makes the one by whose name it was begun, which needs its data.

    Raises:
        ValueError: another task, or none that has a name. `LedgerError`, a `ValueError`: the directory holds no run.
    """
    config = stored_config(directory)
    reader = LedgerReader(directory)  # refuses a directory without a run
    assert config is not None
    try:
        arguments, version = reader.arguments(), reader.version()
        trials, evaluations = reader.trials(), reader.evaluations()
    finally:
        reader.close()
    if task is None:
        if arguments.get("task") is None:
            raise ValueError(f"{directory} holds a run of a task without a name: give the task")
        task = make_task(arguments["task"], **arguments.get("settings", {}))
    if (there := task.space.describe()["sites"]) != (stored := config["task"]["space"]["sites"]):
        raise ValueError(f"{directory} holds a run of another task: its sites are {stored}, those of the task {there}")
    reading = _Reading(task, config, {trial.number: trial for trial in trials})
    found = [reading.of_trial(trial) for trial in trials if trial.status in _FINAL]
    found += [reading.of_evaluation(*one) for one in evaluations if not one[0].startswith(ANALYSED)]
    return PastRun(directory.name, config, version, task, tuple(found))


class _Reading:
    """From the rows of a ledger to trainings.

    Seeds and patterns of what follows a search are functions of its seed and of the names: the ledger holds neither.
    """

    def __init__(self, task: Task, config: Mapping[str, Any], trials: Mapping[int, Trial]) -> None:
        self._task, self._seed, self._trials = task, config["seed"], trials
        self._steps = config["task"].get("steps")
        self._classics = {classic.name: classic for classic in classics_of(task)}
        self._own = {opponent.name: opponent for opponent in task.opponents()}
        self._draws, self._drawn = random_opponents(task.space, self._seed), list[Opponent]()

    def of_trial(self, trial: Trial) -> PastTraining:
        metrics = dict(trial.metrics)
        curve = metrics.get(LEARNING_CURVE)
        part = metrics.get(STOPPED_AT, 1.0)
        return PastTraining(
            TRIAL,
            f"trial {trial.number}",
            trial.number,
            trial_seed(self._seed, trial.number),
            trial.status,
            trial.patterns,
            tokens=trial.suggestion.tokens,
            reward=trial.reward,
            valid=self._valid(metrics.get(getattr(self._task, "METRIC", ""))),
            steps=None if self._steps is None else round(part * self._steps),
            seconds=metrics.get("seconds"),
            curve=None if curve is None else tuple(curve),
            error=metrics.get("error"),
        )

    def of_evaluation(self, name: str, index: int, metrics: Mapping[str, Any]) -> PastTraining:
        role, title, number, seed = self._place(name, index)
        trial = self._trials.get(number) if number is not None else None
        if number is not None and trial is None:
            raise LedgerError(f"the ledger is damaged: it has a training of trial {number} and no such trial")
        opponent = Opponent(title, trial.patterns) if trial else self._opponent(title, index)
        if role == FRESH:
            valid, test = metrics["valid"], metrics["test"]
            reward = INVALID_REWARD if valid is None else self._reward(valid)
        else:
            reward, test = metrics["reward"], None
            valid = self._valid(self._measure(reward))
        diverged = reward == INVALID_REWARD and not valid
        return PastTraining(
            role,
            title,
            number,
            seed,
            Status.INVALID if diverged else Status.FINISHED,
            opponent.patterns if opponent and not opponent.drawn else None,
            UNKNOWN if opponent is None else DRAWN if opponent.drawn else RAMP_UP if opponent.ramp_up else "",
            trial.suggestion.tokens if trial else self._tokens(opponent),
            reward,
            None if diverged else valid,
            test,
            self._steps,
        )

    def _place(self, name: str, index: int) -> tuple[str, str, int | None, int]:
        """Role, name, number of the trial and seed of what the ledger knows by this name."""
        raced, fresh = paired_seed(self._seed, index), fresh_seed(self._seed, index)
        kind, _, number = name.rpartition(" #")
        if kind == RACED:
            return FINALIST, f"trial {number}", int(number), raced
        if kind == FOUND:
            return FRESH, f"{FOUND}, trial {number}", int(number), fresh
        if name == NAME:
            return TRIAL_ZERO, NO_DROPOUT, None, seed_of(self._seed, index)
        if name.startswith(TUNED):
            return TUNING, name.removeprefix(TUNED), None, raced
        return FRESH, name, None, fresh

    def _opponent(self, name: str, index: int) -> Opponent | None:
        """The opponent of a name; None for one that this version does not know."""
        if name == RANDOM:
            while len(self._drawn) <= index:
                self._drawn.append(next(self._draws))
            return self._drawn[index]
        if name == TRIVIAL:
            return TRIVIAL_PATTERN
        if name == NO_DROPOUT or name in self._own:
            return self._own.get(name, Opponent.none())
        title, _, told = name.removesuffix(")").rpartition("(")
        classic = self._classics.get(title)
        if classic is None:
            return None
        rates = [float(rate) for rate in told.split("/")]
        made = classic.at(
            dict(zip(classic.roles, rates if len(rates) > 1 else rates * len(classic.roles), strict=True))
        )
        return made if made.name == name else None

    def _tokens(self, opponent: Opponent | None) -> tuple[int, ...] | None:
        if opponent is None or not opponent.fits(self._task.space):
            return None
        return self._task.space.encode(opponent.patterns)

    def _valid(self, measure: float | None) -> float | None:
        return None if measure is None else getattr(self._task, "SCALE", 1.0) * measure

    def _reward(self, valid: float) -> float | None:
        if not hasattr(self._task, "METRIC"):
            return None
        return float(self._task.reward(valid / self._task.SCALE))  # type: ignore[attr-defined]

    def _measure(self, reward: float) -> float | None:
        """The measure of a reward: `80 / x` and `x`, the rewards of all tasks here, are their own inverses."""
        if not hasattr(self._task, "METRIC") or not reward:
            return None
        convert = self._task.reward  # type: ignore[attr-defined]
        measure = float(convert(reward))
        return measure if math.isclose(convert(measure), reward, rel_tol=1e-9) else None
