"""The interface of what trains trials: in this process, in others, on other machines."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from tf_autodropout.search.trial import Outcome, Trial


@runtime_checkable
class Engine(Protocol):
    """Takes trials and gives back outcomes, in whatever order they come."""

    def submit(self, trial: Trial) -> None:
        """Takes a trial; returns at once."""

    def wait(self, started: Callable[[int], None]) -> Outcome:
        """Waits for the next outcome; calls `started(number)` for each trial that begins."""

    def close(self) -> None:
        """Gives everything free."""
