"""The interface of what trains trials: in this process, in others, on other machines."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tf_autodropout.search.tasks.base import Rung
from tf_autodropout.search.trial import Outcome, Status, Trial


@dataclass(frozen=True)
class Answer:
    """What a call of a task came to; goes from process to process.

    Args:
        status: `FINISHED` if the call returned, `INVALID` if the training diverged, else `FAILED`.
        value: What the call returned.
        error: Why it did not.
        seconds: How long it took.
    """

    status: Status
    value: Any = None
    error: str = ""
    seconds: float = 0.0


@runtime_checkable
class Engine(Protocol):
    """Takes trials and gives back outcomes, in whatever order they come."""

    def submit(self, trial: Trial) -> None:
        """Takes a trial; returns at once."""

    def wait(self, started: Callable[[int], Sequence[Rung]]) -> Outcome:
        """Waits for the next outcome.

        Args:
            started: Called with the number of each trial that begins; returns the rungs at which it may end. None:
                `train` of the task is called; else `train_by_rungs`.
        """

    def close(self) -> None:
        """Gives everything free."""


class Calls(Protocol):
    """Calls methods of the task wherever an engine trains, for what follows a search; no trial may be there."""

    def __call__(
        self, calls: Sequence[tuple[Any, ...]], started: Callable[[int], None]
    ) -> Iterator[tuple[int, Answer]]:
        """Yields the index of a call and its answer, in whatever order they come.

        Args:
            calls: Method and arguments of each, see `attempt`.
            started: Called with the index of each call that begins.
        """
