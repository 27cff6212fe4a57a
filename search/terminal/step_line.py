"""The live line of one child: steps done, loss, time left."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.status import Status

_LINES = 10  # where there is no terminal


class StepLine:
    """Keeps one line up to date on a terminal; elsewhere prints a line at every tenth of the steps.

    Args:
        console: Where to write.
        before: What the line takes over from on the terminal, and hands back to after the last step.
    """

    def __init__(self, console: Console, before: Status) -> None:
        self._console, self._before, self._printed = console, before, 0
        self._progress = Progress(
            TextColumn("steps"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("steps", total=None, loss=float("nan"))

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Shows the steps done, the steps in all and the mean loss."""
        self._before.stop()
        self._progress.start()
        self._progress.update(self._task, completed=step, total=steps, loss=loss)
        if not self._console.is_terminal and (step == steps or _LINES * step // steps > self._printed):
            self._printed = _LINES * step // steps
            self._console.print(f"{step}/{steps}  loss {loss:.3f}", highlight=False)
        if step == steps:
            self._progress.stop()
            self._before.update("scoring")
            self._before.start()

    def close(self) -> None:
        """Gives the terminal back, whatever happened."""
        self._progress.stop()
