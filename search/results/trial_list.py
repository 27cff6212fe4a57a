"""The trials that a report names: those with the highest rewards, and those that came to nothing."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tf_autodropout.patterns.checks import printable
from tf_autodropout.search.core import Status
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.results.finalists import contenders, raced

MOST_TRIALS, MOST_FAILURES = 10, 5
HEADINGS = ("trial", "reward", "mean over new seeds", "trained for")
_MOST_REASON = 200  # characters
_LOG = "log.txt"


@dataclass(frozen=True)
class Failure:
    """A trial that came to nothing.

    Args:
        number: Of the trial.
        status: `failed` or `invalid`.
        attempts: How often it was begun.
        reason: Of the last attempt, in one line.
    """

    number: int
    status: Status
    attempts: int
    reason: str

    def __str__(self) -> str:
        tried = f" after {self.attempts} attempts" if self.attempts > 1 else ""
        return f"trial {self.number} {self.status}{tried}: {self.reason}"


def highest(ledger: LedgerReader, finalists: int) -> list[tuple[str, ...]]:
    """Returns cells, under `HEADINGS`, of the trials with the highest rewards: at most ten, each PatternSet once.

    Args:
        ledger: Of the run.
        finalists: How many raced at most.
    """
    seconds = {row["number"]: (row["started_at"], row["finished_at"]) for row in ledger.rows()}
    again = {trial.number: earned for trial, earned in raced(ledger, finalists)}
    lines: list[tuple[str, ...]] = []
    for trial in contenders(ledger, MOST_TRIALS):
        began, ended = seconds[trial.number]
        timed = isinstance(began, int | float) and isinstance(ended, int | float)
        took = f"{ended - began:.{0 if ended - began >= 10 else 1}f} s" if timed else ""
        mean = f"{statistics.fmean(e):.4f} ({len(e)})" if (e := again.get(trial.number)) else ""
        lines.append((str(trial.number), f"{trial.reward:.4f}", mean, took))
    return lines


def failures(ledger: LedgerReader) -> list[Failure]:
    """Returns the trials that have failed or are invalid, by number."""
    bad = (Status.FAILED, Status.INVALID)
    return [
        Failure(row["number"], Status(row["status"]), row["attempts"], _reason(row["error"]))
        for row in ledger.rows()
        if row["status"] in bad
    ]


def told(failed: Sequence[Failure]) -> list[str]:
    """Returns a line for each of the first failures, and how many more there are."""
    lines = [str(one) for one in failed[:MOST_FAILURES]]
    if (more := len(failed) - MOST_FAILURES) > 0:
        lines.append(f"and {more} more: {_LOG}")
    return lines


def _reason(error: object) -> str:
    text = printable(" ".join(str(error or "no reason given").split()))
    return text if len(text) <= _MOST_REASON else f"{text[:_MOST_REASON]}..."
