"""What is seen of a search while it runs: trials, best, baseline, time left, speed."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from tf_autodropout.patterns.checks import printable
from tf_autodropout.search.core import STOPPED_AT, Observer, Status, Trial
from tf_autodropout.search.terminal.figures import Figures, span
from tf_autodropout.search.terminal.live_line import Line, LiveLine, Part

VERBOSE = ("auto", 0, 1, 2)
_SPARK = 10  # characters


def check_verbose(verbose: Any) -> None:
    """Raises `ValueError` unless it is one of those of Keras."""
    if isinstance(verbose, bool) or verbose not in VERBOSE:
        raise ValueError(f"Invalid value for 'verbose'. Expected 'auto', 0, 1 or 2. Received: verbose={verbose!r}")


class ProgressLine(Observer):
    """Keeps one line up to date on a terminal and in a notebook; elsewhere prints a line for each training.

    As a context it shows what goes on before the first and after the last trial too.

    Args:
        console: Where to write.
        title: Printed once, when the search begins.
        total: Number of trials of the run.
        verbose: As in Keras: 0 nothing, 1 and "auto" the line, 2 a line for each training everywhere.
        clock: Seconds.

    Raises:
        ValueError: another `verbose`.
    """

    def __init__(
        self,
        console: Console,
        title: str,
        total: int,
        verbose: int | str = "auto",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_verbose(verbose)
        self._console, self._title, self._clock = console, title, clock
        shown = verbose in ("auto", 1)
        self._speaks = verbose != 0
        self._figures = Figures(total, clock)
        self._trials = LiveLine(console, self._line, wanted=shown)
        self._around = LiveLine(console, self._line_around, transient=True, wanted=shown)
        self._words, self._since, self._after = "getting ready", clock(), 0
        self._over = False

    def __enter__(self) -> Self:
        self._around.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._around.stop()

    def training(self, words: str) -> None:
        """Tells of a training that is no trial: before them, or after."""
        self._after += self._over
        self._words, self._since = f"retraining {self._after}: {words}" if self._over else words, self._clock()
        self._around.start()
        self._around.refresh()
        if not self._around.lives:
            self._print(self._words)

    def resumed(self, final: int, best: float | None, baseline: float | None) -> None:
        self._figures.begin(final, best, baseline)
        self._around.stop()
        going_on = f", going on after {final} finished" if final else ""
        self._print(f"{self._title}{going_on}")
        self._trials.start()

    def trial_finished(self, trial: Trial) -> None:
        self._figures.add(trial)
        self._trials.refresh()
        if trial.status not in (Status.FINISHED, Status.STOPPED):
            self._print(f"trial {trial.number} {trial.status}: {trial.metrics.get('error')}")
        elif not self._trials.lives:
            outcome = f"reward {trial.reward:.4f}"
            if trial.status is Status.STOPPED:
                outcome = f"ended after {trial.metrics[STOPPED_AT]:.0%}, expected {outcome}"
            count, *others = (part.text for part in self._line().parts if part.text.isascii() and part.text)
            self._print(_GAP.join([count, f"trial {trial.number}: {outcome}", *others]))

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        self._figures.baseline = metrics.get("baseline", self._figures.baseline)
        self._trials.refresh()

    def close(self) -> None:
        self._trials.stop()
        self._over = True

    def _print(self, text: str) -> None:
        if self._speaks:
            self._console.print(printable(text), markup=False)

    def _line(self) -> Line:
        now = self._figures
        left, speed, share = now.left, now.an_hour, now.input_share
        time_of = f"in {span(now.elapsed)}" if now.done >= now.total else "" if left is None else f"{span(left)} left"
        parts = (
            Part(f"{now.done}/{now.total}", 0, "bold"),
            Part(now.sparkline(_SPARK), 3),
            Part("" if now.best is None else f"best {now.best:.4f}", 1, "bold"),
            Part("" if now.baseline is None else f"baseline {now.baseline:.4f}", 5),
            Part(time_of, 2),
            Part("" if speed is None else f"{speed:.{0 if speed >= 10 else 1}f}/h", 4),
            Part("" if share is None else f"input {min(share, 1):.0%}", 6),
        )
        return Line(parts, now.done / now.total)

    def _line_around(self) -> Line:
        return Line((Part(self._words, 0), Part(span(self._clock() - self._since), 1)))


_GAP = "  "
