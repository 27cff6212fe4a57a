"""The live line of one child: steps done, loss, time left."""

import time

from rich.console import Console

from tf_autodropout.search.terminal.figures import span
from tf_autodropout.search.terminal.live_line import Line, LiveLine, Part

_LINES = 10  # where there is no line that changes


class StepLine(LiveLine):
    """Keeps one line up to date on a terminal; elsewhere prints a line at every tenth of the steps.

    Args:
        console: Where to write.
        quiet: Writes nothing at all.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        super().__init__(console, self._now, transient=True, wanted=not quiet)
        self._speaks = not quiet
        self._printed, self._first = 0, 0.0
        self._words, self._step, self._steps, self._loss = "loading TensorFlow", 0, 0, float("nan")

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Shows the steps done, the steps in all and the mean loss."""
        if not self._step:
            self._first = time.monotonic()
        self._step, self._steps, self._loss = step, steps, loss
        self._words = "scoring" if step == steps else ""
        self.refresh()
        if self._speaks and not self.lives and (step == steps or _LINES * step // steps > self._printed):
            self._printed = _LINES * step // steps
            self._console.print(f"{step}/{steps}  loss {loss:.3f}", markup=False)

    def _now(self) -> Line:
        if self._words:
            return Line((Part(self._words, 0),))
        passed = time.monotonic() - self._first
        left = "" if passed < 1 else f"{span(passed * (self._steps - self._step) / self._step)} left"
        parts = (Part(f"{self._step}/{self._steps}", 0, "bold"), Part(f"loss {self._loss:.3f}", 1), Part(left, 2))
        return Line(parts, self._step / self._steps)
