"""`LiveLine`: one line that changes in place, on a terminal or in a notebook."""

import html
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from tf_autodropout.patterns.checks import printable
from tf_autodropout.search.terminal.console import ACCENT

_GAP = "  "
_LEAST_BAR, _MOST_BAR = 6, 24
_OF_NOTEBOOK = 96  # columns
_PAUSE = 0.1  # seconds between two pictures in a notebook


@dataclass(frozen=True)
class Part:
    """A part of the line.

    Args:
        text: What it says; an empty one is left out.
        rank: Where there is no room for all, those of high rank go first.
        style: Of rich.
    """

    text: str
    rank: int
    style: str = ""


@dataclass(frozen=True)
class Line:
    """What the line shows now.

    Args:
        parts: In the order of the line.
        share: Of the bar behind the first part; None for no bar.
    """

    parts: Sequence[Part]
    share: float | None = None

    def fitted(self, width: int, utf8: bool = True, coloured: bool = True) -> Text:
        """Returns one line of at most `width` columns; the bar takes what is left over."""
        there = [part for part in self.parts if part.text and (utf8 or part.text.isascii())]
        chosen: list[Part] = []
        used = -len(_GAP)
        for part in sorted(there, key=lambda one: one.rank):
            used += len(_GAP) + cell_len(part.text)
            if chosen and used > width:
                used -= len(_GAP) + cell_len(part.text)
                break
            chosen.append(part)
        line = Text(no_wrap=True, overflow="crop", end="")
        room = min(width - used - len(_GAP), _MOST_BAR)
        for place, part in enumerate(one for one in there if one in chosen):
            if place:
                line.append(_GAP)
            line.append(" ".join(printable(part.text).split("\n")), part.style)
            if place == 0 and self.share is not None and room >= _LEAST_BAR:
                full = round(room * min(max(self.share, 0.0), 1.0))
                line.append(_GAP)
                line.append(("━" if utf8 else "#") * full, ACCENT if coloured else "")
                line.append(("─" if utf8 else "-") * (room - full), "dim")
        line.truncate(width)
        return line


class LiveLine:
    """Shows a line and keeps it up to date; does nothing on a console that cannot, or where it is not wanted.

    As a context it is there inside. `lives` tells whether it is ever shown.

    Args:
        console: Where to.
        line: Called for what to show, also from another thread.
        transient: Whether the line goes away in the end.
        wanted: Whether to show it.
    """

    def __init__(
        self, console: Console, line: Callable[[], Line], transient: bool = False, wanted: bool = True
    ) -> None:
        self._console, self._line, self._transient = console, line, transient
        self.lives = wanted and can_live(console)
        self._live: Live | None = None
        self._handle: Any = None
        self._shown = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begins; once more does nothing."""
        if self._live or self._handle or not self.lives:
            return
        if self._console.is_jupyter:
            from IPython.display import display

            self._handle = display(self, display_id=True)
            return
        self._live = Live(self, console=self._console, transient=self._transient, refresh_per_second=4)
        self._live.start(refresh=True)

    def refresh(self) -> None:
        """Shows what has changed."""
        if self._live:
            self._live.refresh()
        elif self._handle and time.monotonic() - self._shown > _PAUSE:
            self._shown = time.monotonic()
            self._handle.update(self)

    def stop(self) -> None:
        """Shows the last state and gives the terminal back."""
        if self._live:
            self._live.stop()
        elif self._handle:
            self._handle.update(_Nothing() if self._transient else self)
        self._live = self._handle = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        coloured = console.color_system not in (None, "standard")  # of 16 colours none suits all terminals
        yield self._line().fitted(options.max_width, not options.ascii_only, coloured)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """As a notebook shows it; without one, as text."""
        line = self._line()
        text = Line(line.parts).fitted(_OF_NOTEBOOK).plain
        bar = ""
        if line.share is not None:
            bar = f'<progress max="1" value="{line.share:.4f}" aria-label="progress" style="width:8em"></progress> '
        shown = f'<span style="font-family:monospace;white-space:pre-wrap">{html.escape(text)}</span>'
        return {"text/plain": text, "text/html": f'<div role="status">{bar}{shown}</div>'}


class _Nothing:
    """What a notebook shows where a line has gone away."""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        return {"text/plain": "", "text/html": ""}


def can_live(console: Console) -> bool:
    """Whether a line can change in place there."""
    return console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)
