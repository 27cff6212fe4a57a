"""The interface of a search method."""

from collections.abc import Sequence
from typing import Any, Protocol

from tf_autodropout.search.trial import Suggestion, Trial


class Searcher(Protocol):
    """Suggests trials and learns from their rewards. The loop saves its state in the ledger."""

    @property
    def version(self) -> int:
        """Number of updates so far."""

    def suggest(self, count: int) -> list[Suggestion]:
        """Returns the next `count` suggestions; the same ones after the same history."""

    def update(self, trials: Sequence[Trial]) -> dict[str, float]:
        """Learns from a batch of trials with rewards; returns what to log."""

    def state(self) -> bytes:
        """Returns the state after the last update."""

    def restore(self, version: int, state: bytes | None, suggested: int) -> None:
        """Goes back to a state, after which `suggested` suggestions have been made.

        `state` is None for version 0, before the first update.
        """

    def describe(self) -> dict[str, Any]:
        """Returns the settings, as JSON types: part of what identifies a run."""
