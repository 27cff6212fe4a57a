"""The live line of one child: steps done, loss, time left."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console

from tf_autodropout.search.terminal.figures import span
from tf_autodropout.search.terminal.live_line import Line, LiveLine, Part, can_live

_LINES = 10  # where there is no line that changes


class StepLine:
    """Keeps one line up to date on a terminal; elsewhere prints a line at every tenth of the steps.

    Args:
        console: Where to write.
        quiet: Writes nothing at all.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console, self._lives, self._speaks = console, not quiet and can_live(console), not quiet
        self._printed, self._first = 0, 0.0
        self._words, self._step, self._steps, self._loss = "loading TensorFlow", 0, 0, float("nan")
        self._live = LiveLine(console, self._line, transient=True)

    def __enter__(self) -> Self:
        if self._lives:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Shows the steps done, the steps in all and the mean loss."""
        if not self._step:
            self._first = time.monotonic()
        self._step, self._steps, self._loss = step, steps, loss
        self._words = "scoring" if step == steps else ""
        self._live.refresh()
        if self._speaks and not self._lives and (step == steps or _LINES * step // steps > self._printed):
            self._printed = _LINES * step // steps
            self._console.print(f"{step}/{steps}  loss {loss:.3f}", markup=False)

    def _line(self) -> Line:
        if self._words:
            return Line((Part(self._words, 0),))
        passed = time.monotonic() - self._first
        left = "" if passed < 1 else f"{span(passed * (self._steps - self._step) / self._step)} left"
        parts = (Part(f"{self._step}/{self._steps}", 0, "bold"), Part(f"loss {self._loss:.3f}", 1), Part(left, 2))
        return Line(parts, self._step / self._steps)
