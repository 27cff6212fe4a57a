"""Writes a run's ledger."""

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tf_autodropout import version as package
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import LEARNING_CURVE, Outcome, Status, Suggestion, Trial
from tf_autodropout.search.ledger.errors import LedgerError, damaged, gone, storage_errors
from tf_autodropout.search.ledger.integrity import check_file
from tf_autodropout.search.ledger.lock import RunLock
from tf_autodropout.search.ledger.reader import LedgerReader
from tf_autodropout.search.ledger.schema import (
    FILE_NAME,
    FINAL,
    SCHEMA,
    check_config,
    check_directory,
    digest,
    dump,
)

_log = logging.getLogger(__name__)


class Ledger(LedgerReader):
    """All trials of one run.

    Args:
        directory: Output directory of the run; made if it does not exist.
        config: What identifies the run, as JSON types. A directory that holds a run with another
            config is refused.
        arguments: What the run is called with, as JSON types, for `resume`; replaces those of before.

    Raises:
        LedgerError: another run's directory, a directory with other things in it, one that
            another process works on, one that cannot be written. Nothing on disk has changed then.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], arguments: Mapping[str, Any] | None = None) -> None:
        check_directory(directory, config)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"cannot write to {directory}: {error.strerror}") from None
        if not os.access(directory, os.W_OK):
            raise LedgerError(f"cannot write to {directory}: it is read-only here")
        self._lock = RunLock(directory)
        self._file = directory / FILE_NAME
        self.recovered = ""  # what had to be done about damage, in words
        try:
            with storage_errors(self._file):
                self._db = sqlite3.connect(self._file, isolation_level=None)
                self._open(directory, config, arguments or {})
                self._identity = _identity(self._file)
        except BaseException:
            self.close()
            raise

    def _open(self, directory: Path, config: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # safe against a killed process
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
            with self._transaction():
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._set("config", dump(config))
                self._set("version", package.__version__)
                self._set("arguments", dump(arguments))
            # From here on the config is in the main file, where it can be read without a trace.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        check_file(self._db, self._file)
        # Again, now with the lock: a process may have been killed before that checkpoint.
        check_config(directory, self._read_json(self._stored("config")), config)
        made = self.count()
        if arguments.get("trials", made) < made:
            raise LedgerError(
                f"{directory} holds {made} trials. Expected 'trials' >= {made}. Received: {arguments['trials']}"
            )
        self._drop_damaged_checkpoint()
        if arguments and arguments != self.arguments():
            self._set("arguments", dump(arguments))
        if self._stored("version") != package.__version__:
            self._set("version", package.__version__)

    def _drop_damaged_checkpoint(self) -> None:
        """Goes back to the older checkpoint, or to the beginning, if the newest one is not what was written."""
        rows = self._read("SELECT version, state, metrics, digest FROM checkpoints ORDER BY version DESC LIMIT 2")
        intact = [
            state is not None and digest(version, state, metrics) == made for version, state, metrics, made in rows
        ]
        if all(intact[:1]):
            return
        if len(rows) == 2 and not intact[1]:
            raise damaged(self._file, "neither of its two checkpoints is what was written")
        kept = rows[1][0] if len(rows) == 2 else 0
        with self._transaction():
            self._db.execute("DELETE FROM checkpoints WHERE version > ?", (kept,))
            self._db.execute("UPDATE trials SET consumed_by = NULL WHERE consumed_by > ?", (kept,))
        self.recovered = (
            f"checkpoint {rows[0][0]} is damaged: the search goes on from checkpoint {kept} and learns again"
        )
        _log.warning("%s: %s", self._file, self.recovered)

    def _stored(self, key: str) -> str:
        return self._read("SELECT value FROM run WHERE key = ?", key)[0][0]

    def _set(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO run VALUES (?, ?, ?)", (key, value, digest(key, value)))

    def close(self) -> None:
        """Closes the file and gives the directory free."""
        try:
            if hasattr(self, "_db"):
                self._db.close()
        finally:
            self._lock.close()

    def add(self, suggestions: Iterable[tuple[Suggestion, PatternSet]]) -> list[Trial]:
        """Writes new trials as queued and returns them."""
        added = []
        with self._transaction():
            for suggestion, patterns in suggestions:
                made = (
                    dump(suggestion.tokens),
                    patterns.to_json(),
                    float(suggestion.log_prob),
                    int(suggestion.version),
                )
                cursor = self._db.execute(
                    "INSERT INTO trials (tokens, patterns, log_prob, controller_version, status, queued_at, digest)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*made, Status.QUEUED.value, time.time(), digest(*made)),
                )
                assert cursor.lastrowid is not None
                added.append(Trial(cursor.lastrowid, suggestion, patterns))
        return added

    def start(self, number: int) -> None:
        """Marks a trial as running: one more attempt."""
        with self._transaction():
            self._db.execute(
                f"UPDATE trials SET status = ?, attempts = attempts + 1, started_at = ?"
                f" WHERE number = ? AND status NOT IN {FINAL}",
                (Status.RUNNING.value, time.time(), number),
            )

    def queue_again(self, outcome: Outcome) -> None:
        """Writes a failed attempt and its reason; the trial is queued as before."""
        with self._transaction():
            self._db.execute(
                f"UPDATE trials SET status = ?, failures = failures + 1, worker = ?, error = ?"
                f" WHERE number = ? AND status NOT IN {FINAL}",
                (Status.QUEUED.value, outcome.worker or None, outcome.metrics.get("error"), outcome.number),
            )

    def retry_failed(self) -> None:
        """Queues the failed trials again, as if they had not failed yet; their last reason stays."""
        with self._transaction():
            self._db.execute(
                "UPDATE trials SET status = ?, failures = 0, metrics = '{}', finished_at = NULL, finish_order = NULL,"
                " outcome_digest = NULL WHERE status = ?",
                (Status.QUEUED.value, Status.FAILED.value),
            )

    def finish(self, outcome: Outcome) -> bool:
        """Writes an outcome; False if the trial was final already (a duplicate counts once)."""
        metrics = dict(outcome.metrics)
        curve = metrics.pop(LEARNING_CURVE, None)
        with self._transaction():
            place = self._db.execute("SELECT COALESCE(MAX(finish_order), 0) + 1 FROM trials").fetchone()[0]
            came = (
                outcome.status.value,
                None if outcome.reward is None else float(outcome.reward),
                dump(metrics),
                None if curve is None else dump(curve),
                place,
            )
            cursor = self._db.execute(
                f"UPDATE trials SET status = ?, reward = ?, metrics = ?, learning_curve = ?, finish_order = ?,"
                f" outcome_digest = ?, worker = ?, failures = failures + ?, error = COALESCE(?, error), finished_at = ?"
                f" WHERE number = ? AND status NOT IN {FINAL}",
                (
                    *came,
                    digest(*came),
                    outcome.worker or None,
                    outcome.status is Status.FAILED,
                    metrics.get("error"),
                    time.time(),
                    outcome.number,
                ),
            )
        return cursor.rowcount == 1

    def checkpoint(self, version: int, state: bytes, consumed: Iterable[int], metrics: Mapping[str, Any]) -> None:
        """Writes an update: the searcher's new state and the trials it learned from, together."""
        with self._transaction():
            self._db.execute(
                "UPDATE checkpoints SET state = NULL"
                " WHERE state IS NOT NULL AND version < (SELECT MAX(version) FROM checkpoints)"
            )
            told = dump(metrics)
            self._db.execute(
                "INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?)",
                (version, state, digest(version, state, told), told, time.time()),
            )
            self._db.executemany(
                "UPDATE trials SET consumed_by = ? WHERE number = ? AND consumed_by IS NULL",
                [(version, number) for number in consumed],
            )

    def add_evaluation(self, name: str, seed: int, metrics: Mapping[str, Any]) -> None:
        """Stores the metrics of one further training, for the choice of the best or for the final table."""
        told = dump(metrics)
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?)", (name, seed, told, digest(name, seed, told))
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All statements inside become durable together, or none."""
        if hasattr(self, "_identity") and _identity(self._file) != self._identity:  # SQLite would write on, to nowhere
            raise gone(self._file.parent)
        with storage_errors(self._file):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have ended it already
                    self._db.execute("ROLLBACK")
                raise


def _identity(file: Path) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
