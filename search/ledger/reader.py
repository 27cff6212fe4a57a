"""Reads a run's ledger."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import LEARNING_CURVE, Status, Suggestion, Trial
from tf_autodropout.search.ledger.errors import LedgerError
from tf_autodropout.search.ledger.schema import FILE_NAME, FINAL, stored_config

_TRIAL = (
    "number, tokens, log_prob, controller_version, patterns, status, attempts, failures, worker, reward, "
    "learning_curve, metrics"
)


class LedgerReader:
    """What a run's ledger says; may be read while a search is at work.

    Args:
        directory: Output directory of the run.

    Raises:
        LedgerError: the directory holds no run of this version.
    """

    def __init__(self, directory: Path) -> None:
        if stored_config(directory) is None:
            raise LedgerError(f"{directory} holds no run")
        self._db = _connect(directory / FILE_NAME)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def arguments(self) -> dict[str, Any]:
        """Returns what the run was last called with: all that `resume` needs."""
        return json.loads(self._db.execute("SELECT value FROM run WHERE key = 'arguments'").fetchone()[0])

    def latest_checkpoint(self) -> tuple[int, bytes] | None:
        """Returns version and state of the newest checkpoint."""
        return self._db.execute("SELECT version, state FROM checkpoints ORDER BY version DESC LIMIT 1").fetchone()

    def update_metrics(self) -> list[dict[str, Any]]:
        """Returns what each update logged, oldest first."""
        rows = self._db.execute("SELECT version, metrics FROM checkpoints ORDER BY version")
        return [{"version": version} | json.loads(metrics) for version, metrics in rows]

    def baseline(self) -> float | None:
        """Returns the baseline that the newest update logged; None if there is none."""
        row = self._db.execute("SELECT metrics FROM checkpoints ORDER BY version DESC LIMIT 1").fetchone()
        return json.loads(row[0]).get("baseline") if row else None

    def trials(self, unfinished: bool = False, unconsumed: bool = False) -> list[Trial]:
        """Returns trials: all in the order of their numbers, the unfinished ones likewise, or those
        with a reward that no update has used, in the order in which they finished."""
        where, order = "1", "number"
        if unfinished:
            where = f"status NOT IN {FINAL}"
        elif unconsumed:
            where, order = "consumed_by IS NULL AND reward IS NOT NULL", "finish_order"
        return self._select(where, order)

    def _select(self, where: str, order: str, count: int = -1) -> list[Trial]:
        query = f"SELECT {_TRIAL} FROM trials WHERE {where} ORDER BY {order} LIMIT ?"
        return [_trial(row) for row in self._db.execute(query, (count,))]

    def outcomes(self) -> list[tuple[int, Status, float | None]]:
        """Returns number, status and reward of the final trials in the order in which they finished."""
        query = "SELECT number, status, reward FROM trials WHERE finish_order IS NOT NULL ORDER BY finish_order"
        return [(number, Status(status), reward) for number, status, reward in self._db.execute(query)]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Returns the trials one after the other as the columns of the file, all from one moment."""
        cursor = self._db.execute("SELECT * FROM trials ORDER BY number")
        names = [column[0] for column in cursor.description]
        return (dict(zip(names, row, strict=True)) for row in cursor)

    def count(self, version: int | None = None) -> int:
        """Returns the number of trials, all or those suggested by one controller version."""
        if version is None:
            return self._db.execute("SELECT COUNT(*) FROM trials").fetchone()[0]
        query = "SELECT COUNT(*) FROM trials WHERE controller_version = ?"
        return self._db.execute(query, (version,)).fetchone()[0]

    def counts(self) -> dict[Status, int]:
        """Returns the number of trials in each status that occurs."""
        stored = dict(self._db.execute("SELECT status, COUNT(*) FROM trials GROUP BY status"))
        return {status: stored[status.value] for status in Status if status.value in stored}

    def highest_reward(self) -> float | None:
        """Returns the highest reward of a finished trial; None if there is none."""
        query = "SELECT MAX(reward) FROM trials WHERE status = ?"
        return self._db.execute(query, (Status.FINISHED.value,)).fetchone()[0]

    def last_error(self) -> str | None:
        """Returns the reason of the last trial with one; None if nothing went wrong."""
        query = "SELECT error FROM trials WHERE error IS NOT NULL ORDER BY number DESC LIMIT 1"
        row = self._db.execute(query).fetchone()
        return row[0] if row else None

    def top(self, count: int) -> list[Trial]:
        """Returns the finished trials with the highest rewards, best first, the first one of equals first."""
        return self._select(f"status = '{Status.FINISHED.value}'", "reward DESC, number", count)

    def evaluation(self, name: str, seed: int) -> dict[str, Any] | None:
        """Returns the stored metrics of one further training: of a name, on a seed."""
        row = self._db.execute("SELECT metrics FROM evaluations WHERE name = ? AND seed = ?", (name, seed)).fetchone()
        return json.loads(row[0]) if row else None


def _connect(path: Path) -> sqlite3.Connection:
    """Opens the file of a run that may be at work; where this user may not write, that of one that is not."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    db = sqlite3.connect(address, uri=True, isolation_level=None)
    try:
        db.execute("SELECT 1 FROM run")
    except sqlite3.OperationalError as error:  # SQLite writes its index of a write-ahead log beside the file
        db.close()
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise LedgerError(
                f"{path} has unfinished writes beside it, and cannot be read from here: {error}"
            ) from None
        db = sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
    return db


def _trial(row: tuple[Any, ...]) -> Trial:
    number, tokens, log_prob, version, patterns, status, attempts, failures, worker, reward, curve, metrics = row
    return Trial(
        number,
        Suggestion(tuple(json.loads(tokens)), log_prob, version),
        PatternSet.from_json(patterns),
        Status(status),
        attempts,
        reward,
        json.loads(metrics) | ({LEARNING_CURVE: json.loads(curve)} if curve else {}),
        failures,
        worker or "",
    )
