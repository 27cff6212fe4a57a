"""The live line of a search: trials done, best, baseline, time left."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.status import Status

from tf_autodropout.patterns.checks import printable
from tf_autodropout.search import core
from tf_autodropout.search.core import INPUT_SHARE, STOPPED_AT, Observer, Trial


class ProgressLine(Observer):
    """Keeps one line up to date on a terminal; elsewhere prints a line for each trial.

    Args:
        console: Where to write.
        title: Printed once, when the search begins.
        total: Number of trials of the run.
        before: What the line takes over from on the terminal.
    """

    def __init__(self, console: Console, title: str, total: int, before: Status | None = None) -> None:
        self._console, self._title, self._total, self._before = console, title, total, before
        self._done, self._best, self._baseline = 0, None, None  # type: tuple[int, float | None, float | None]
        self._input_share: float | None = None
        self._progress = Progress(
            TextColumn("trials"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("trials", total=total, note="")

    def resumed(self, final: int, best: float | None, baseline: float | None) -> None:
        self._done, self._best, self._baseline = final, best, baseline
        if self._before:
            self._before.stop()
        going_on = f", going on after {final} finished" if final else ""
        self._console.print(printable(f"{self._title}{going_on}"), markup=False, highlight=False)
        self._progress.start()
        # Trials of an earlier session tell nothing of this one's speed.
        self._progress.update(self._task, completed=self._done, note=self._note())

    def trial_finished(self, trial: Trial) -> None:
        self._done += 1
        if trial.status is core.Status.FINISHED and trial.reward is not None:
            self._best = trial.reward if self._best is None else max(self._best, trial.reward)
        self._input_share = trial.metrics.get(INPUT_SHARE, self._input_share)
        self._progress.update(self._task, completed=self._done, note=self._note())
        if trial.status not in (core.Status.FINISHED, core.Status.STOPPED):
            reason = printable(str(trial.metrics.get("error")))
            self._console.print(f"trial {trial.number} {trial.status}: {reason}", markup=False)
        elif not self._console.is_terminal:
            outcome = f"reward {trial.reward:.4f}"
            if trial.status is core.Status.STOPPED:
                outcome = f"ended after {trial.metrics[STOPPED_AT]:.0%}, expected {outcome}"
            self._console.print(f"{self._done}/{self._total}  trial {trial.number}: {outcome}  {self._note()}")

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        self._baseline = metrics.get("baseline", self._baseline)
        self._progress.update(self._task, note=self._note())

    def close(self) -> None:
        self._progress.stop()

    def _note(self) -> str:
        best = "-" if self._best is None else f"{self._best:.4f}"
        baseline = "-" if self._baseline is None else f"{self._baseline:.4f}"
        reading = "" if self._input_share is None else f"  input {min(self._input_share, 1):.0%}"
        return f"best {best}  baseline {baseline}{reading}"
