"""Reads a run's ledger."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import LEARNING_CURVE, Status, Suggestion, Trial
from tf_autodropout.search.ledger.errors import OF_SQLITE, LedgerError, StorageError, damaged, from_sqlite, one_line
from tf_autodropout.search.ledger.integrity import check_file
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
        LedgerError: the directory holds no run of this version, or a damaged one; also from each method.
        StorageError: another program has locked the file; likewise.
    """

    def __init__(self, directory: Path) -> None:
        if stored_config(directory) is None:
            raise LedgerError(f"{directory} holds no run")
        self._file = directory / FILE_NAME
        self._db = _connect(self._file)
        try:
            check_file(self._db, self._file)
        except (LedgerError, StorageError):
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def arguments(self) -> dict[str, Any]:
        """Returns what the run was last called with: all that `resume` needs."""
        return self._read_json(self._read("SELECT value FROM run WHERE key = 'arguments'")[0][0])

    def version(self) -> str:
        """Returns the version of this package that wrote last."""
        return str(self._read("SELECT value FROM run WHERE key = 'version'")[0][0])

    def latest_checkpoint(self) -> tuple[int, bytes] | None:
        """Returns version and state of the newest checkpoint."""
        rows = self._read("SELECT version, state FROM checkpoints ORDER BY version DESC LIMIT 1")
        return rows[0] if rows else None

    def update_metrics(self) -> list[dict[str, Any]]:
        """Returns what each update logged, oldest first."""
        rows = self._read("SELECT version, metrics FROM checkpoints ORDER BY version")
        return [{"version": version} | self._read_json(metrics) for version, metrics in rows]

    def baseline(self) -> float | None:
        """Returns the baseline that the newest update logged; None if there is none."""
        rows = self._read("SELECT metrics FROM checkpoints ORDER BY version DESC LIMIT 1")
        return self._read_json(rows[0][0]).get("baseline") if rows else None

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
        return [self._trial(row) for row in self._read(query, count)]

    def outcomes(self) -> list[tuple[int, Status, float | None]]:
        """Returns number, status and reward of the final trials in the order in which they finished."""
        query = "SELECT number, status, reward FROM trials WHERE finish_order IS NOT NULL ORDER BY finish_order"
        return [(number, Status(status), reward) for number, status, reward in self._read(query)]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Returns the trials one after the other as the columns of the file, all from one moment.

        Raises:
            LedgerError: the file is damaged. StorageError: another program has locked it.
        """
        cursor = self._db.execute("SELECT * FROM trials ORDER BY number")
        names = [column[0] for column in cursor.description]
        while True:
            try:
                row = cursor.fetchone()
            except OF_SQLITE as error:
                raise from_sqlite(error, self._file) from None
            if row is None:
                return
            yield dict(zip(names, row, strict=True))

    def count(self, version: int | None = None) -> int:
        """Returns the number of trials, all or those suggested by one controller version."""
        if version is None:
            return self._read("SELECT COUNT(*) FROM trials")[0][0]
        query = "SELECT COUNT(*) FROM trials WHERE controller_version = ?"
        return self._read(query, version)[0][0]

    def counts(self) -> dict[Status, int]:
        """Returns the number of trials in each status that occurs."""
        stored = dict(self._read("SELECT status, COUNT(*) FROM trials GROUP BY status"))
        return {status: stored[status.value] for status in Status if status.value in stored}

    def highest_reward(self) -> float | None:
        """Returns the highest reward of a finished trial; None if there is none."""
        query = "SELECT MAX(reward) FROM trials WHERE status = ?"
        return self._read(query, Status.FINISHED.value)[0][0]

    def last_error(self) -> str | None:
        """Returns the reason of the last trial with one; None if nothing went wrong."""
        query = "SELECT error FROM trials WHERE error IS NOT NULL ORDER BY number DESC LIMIT 1"
        rows = self._read(query)
        return rows[0][0] if rows else None

    def top(self, count: int) -> list[Trial]:
        """Returns the finished trials with the highest rewards, best first, the first one of equals first."""
        return self._select(f"status = '{Status.FINISHED.value}'", "reward DESC, number", count)

    def evaluation(self, name: str, seed: int) -> dict[str, Any] | None:
        """Returns the stored metrics of one further training: of a name, on a seed."""
        rows = self._read("SELECT metrics FROM evaluations WHERE name = ? AND seed = ?", name, seed)
        return self._read_json(rows[0][0]) if rows else None

    def evaluations(self) -> list[tuple[str, int, dict[str, Any]]]:
        """Returns name, seed and metrics of all further trainings, in the order in which they were written."""
        rows = self._read("SELECT name, seed, metrics FROM evaluations ORDER BY rowid")
        return [(name, seed, self._read_json(metrics)) for name, seed, metrics in rows]

    def _read(self, query: str, *values: Any) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except OF_SQLITE as error:
            raise from_sqlite(error, self._file) from None

    def _read_json(self, text: Any) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise damaged(self._file, error) from None
        if not isinstance(found, dict):
            raise damaged(self._file, f"expected a JSON object. Received: {type(found).__name__}")
        return found

    def _trial(self, row: tuple[Any, ...]) -> Trial:
        number, tokens, log_prob, version, patterns, status, attempts, failures, worker, reward, curve, metrics = row
        try:
            return Trial(
                number,
                Suggestion(tuple(json.loads(tokens)), log_prob, version),
                PatternSet.from_json(patterns),
                Status(status),
                attempts,
                reward,
                self._read_json(metrics) | ({LEARNING_CURVE: json.loads(curve)} if curve else {}),
                failures,
                worker or "",
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise damaged(self._file, f"trial {number}: {error}") from None


def _connect(path: Path) -> sqlite3.Connection:
    """Opens the file of a run that may be at work; where this user may not write, that of one that is not."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    db = sqlite3.connect(address, uri=True, isolation_level=None)
    try:
        db.execute("SELECT 1 FROM run")
    except OF_SQLITE as error:  # SQLite writes its index of a write-ahead log beside the file
        db.close()
        if isinstance(found := from_sqlite(error, path), StorageError):
            raise found from None
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise LedgerError(
                f"{path} has unfinished writes beside it, and cannot be read from here: {one_line(error)}"
            ) from None
        db = sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
    return db
