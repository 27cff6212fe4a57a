"""The live line of a command that works through a list: what it is at, and for how long."""

import time

from rich.console import Console

from tf_autodropout.patterns.checks import printable
from tf_autodropout.search.terminal.figures import span
from tf_autodropout.search.terminal.live_line import Line, LiveLine, Part


class WordsLine(LiveLine):
    """Keeps one line up to date on a terminal; elsewhere prints a line for each piece of work.

    Args:
        console: Where to write.
        quiet: Writes nothing at all.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        super().__init__(console, self._now, transient=True, wanted=not quiet)
        self._speaks = not quiet
        self._words, self._step, self._since = "loading TensorFlow", "", time.monotonic()

    def tell(self, words: str) -> None:
        """Says what begins, or what was left out and why."""
        if self._speaks:
            self._console.print(printable(words), markup=False, soft_wrap=True)
        self._words, self._step, self._since = words, "", time.monotonic()
        self.refresh()

    def step(self, step: int, steps: int, loss: float) -> None:
        """Shows how far it is."""
        self._step = f"step {step} of {steps}, loss {loss:.3f}"
        self.refresh()

    def _now(self) -> Line:
        passed = span(time.monotonic() - self._since)
        return Line((Part(self._words, 0), Part(self._step, 1), Part(passed, 2)))
