"""The live line of a command that works through a list: what it is at, and for how long."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console

from tf_autodropout.patterns.checks import printable
from tf_autodropout.search.terminal.figures import span
from tf_autodropout.search.terminal.live_line import Line, LiveLine, Part, can_live


class WordsLine:
    """Keeps one line up to date on a terminal; elsewhere prints a line for each piece of work.

    Args:
        console: Where to write.
        quiet: Writes nothing at all.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console, self._lives, self._speaks = console, not quiet and can_live(console), not quiet
        self._words, self._step, self._since = "loading TensorFlow", "", time.monotonic()
        self._live = LiveLine(console, self._line, transient=True)

    def __enter__(self) -> Self:
        if self._lives:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def tell(self, words: str) -> None:
        """Says what begins, or what was left out and why."""
        if self._speaks:
            self._console.print(printable(words), markup=False, soft_wrap=True)
        self._words, self._step, self._since = words, "", time.monotonic()
        self._live.refresh()

    def step(self, step: int, steps: int, loss: float) -> None:
        """Shows how far it is."""
        self._step = f"step {step} of {steps}, loss {loss:.3f}"
        self._live.refresh()

    def _line(self) -> Line:
        passed = span(time.monotonic() - self._since)
        return Line((Part(self._words, 0), Part(self._step, 1), Part(passed, 2)))
