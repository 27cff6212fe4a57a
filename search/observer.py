"""What the loop tells the outside world."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf_autodropout.search.trial import Trial


class Observer:
    """Hears of everything that happens in a search; the default does nothing."""

    def resumed(self, final: int, best: float | None, baseline: float | None) -> None:
        """Called once at the start: how many trials are final already, their highest reward, the baseline."""

    def trial_finished(self, trial: Trial) -> None:
        """Called when a trial has its final status in the ledger."""

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        """Called when an update is in the ledger."""

    def close(self) -> None:
        """Called once at the end, also after an error."""


class Observers(Observer):
    """Passes everything on to several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def resumed(self, final: int, best: float | None, baseline: float | None) -> None:
        for observer in self._observers:
            observer.resumed(final, best, baseline)

    def trial_finished(self, trial: Trial) -> None:
        for observer in self._observers:
            observer.trial_finished(trial)

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        for observer in self._observers:
            observer.updated(version, metrics)

    def close(self) -> None:
        for observer in self._observers:
            observer.close()
