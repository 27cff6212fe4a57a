"""Ctrl-C that is never lost."""

import signal
from collections.abc import Mapping
from types import FrameType
from typing import Any

from tf_autodropout.search.core import Observer, Trial


class Interrupt(Observer):
    """Raises `KeyboardInterrupt` at once, and again at the next event if it did not get through.

    While libraries trace, compile or clean up, an exception that a signal raises may end in code that
    ignores it. Then the search stops as soon as the running trial is in the ledger.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before = signal.signal(signal.SIGINT, self._handle)

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if it was asked for."""
        if self._asked:
            raise KeyboardInterrupt

    def trial_finished(self, trial: Trial) -> None:
        self.check()

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        self.check()

    def close(self) -> None:
        self.check()

    def restore(self) -> None:
        """Gives the signal back."""
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        raise KeyboardInterrupt
