"""Writes a run's ledger."""

import fcntl
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import LEARNING_CURVE, Outcome, Status, Suggestion, Trial
from tf_autodropout.search.ledger.errors import LedgerError, storage_errors
from tf_autodropout.search.ledger.reader import LedgerReader
from tf_autodropout.search.ledger.schema import (
    FILE_NAME,
    FINAL,
    LOCK_NAME,
    SCHEMA,
    check_config,
    check_directory,
    dump,
)


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
            self._lock = open(directory / LOCK_NAME, "w")  # noqa: SIM115 (held as long as the ledger)
        except OSError as error:
            raise LedgerError(f"cannot write to {directory}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise LedgerError(f"another process is at work on {directory}") from None
        self._file = directory / FILE_NAME
        self._db = sqlite3.connect(self._file, isolation_level=None)
        try:
            with storage_errors(self._file):
                self._open(directory, config, arguments or {})
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
                self._db.execute("INSERT INTO run VALUES ('config', ?)", (dump(config),))
                self._set_arguments(arguments)
            # From here on the config is in the main file, where it can be read without a trace.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # Again, now with the lock: a process may have been killed before that checkpoint.
        stored = self._db.execute("SELECT value FROM run WHERE key = 'config'").fetchone()[0]
        check_config(directory, json.loads(stored), config)
        made = self.count()
        if arguments.get("trials", made) < made:
            raise LedgerError(
                f"{directory} holds {made} trials. Expected 'trials' >= {made}. Received: {arguments['trials']}"
            )
        if arguments and arguments != self.arguments():
            self._set_arguments(arguments)

    def _set_arguments(self, arguments: Mapping[str, Any]) -> None:
        self._db.execute("INSERT OR REPLACE INTO run VALUES ('arguments', ?)", (dump(arguments),))

    def close(self) -> None:
        """Closes the file and gives the directory free."""
        self._db.close()
        self._lock.close()

    def add(self, suggestions: Iterable[tuple[Suggestion, PatternSet]]) -> list[Trial]:
        """Writes new trials as queued and returns them."""
        added = []
        with self._transaction():
            for suggestion, patterns in suggestions:
                cursor = self._db.execute(
                    "INSERT INTO trials (tokens, patterns, log_prob, controller_version, status, queued_at)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        dump(suggestion.tokens),
                        patterns.to_json(),
                        suggestion.log_prob,
                        suggestion.version,
                        Status.QUEUED.value,
                        time.time(),
                    ),
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
                "UPDATE trials SET status = ?, failures = 0, metrics = '{}', finished_at = NULL, finish_order = NULL"
                " WHERE status = ?",
                (Status.QUEUED.value, Status.FAILED.value),
            )

    def finish(self, outcome: Outcome) -> bool:
        """Writes an outcome; False if the trial was final already (a duplicate counts once)."""
        metrics = dict(outcome.metrics)
        curve = metrics.pop(LEARNING_CURVE, None)
        with self._transaction():
            cursor = self._db.execute(
                f"UPDATE trials SET status = ?, reward = ?, metrics = ?, learning_curve = ?, worker = ?,"
                f" failures = failures + ?, error = COALESCE(?, error), finished_at = ?,"
                f" finish_order = (SELECT COALESCE(MAX(finish_order), 0) + 1 FROM trials)"
                f" WHERE number = ? AND status NOT IN {FINAL}",
                (
                    outcome.status.value,
                    None if outcome.reward is None else float(outcome.reward),
                    dump(metrics),
                    None if curve is None else dump(curve),
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
            self._db.execute("UPDATE checkpoints SET state = NULL WHERE state IS NOT NULL")
            self._db.execute(
                "INSERT INTO checkpoints VALUES (?, ?, ?, ?)", (version, state, dump(metrics), time.time())
            )
            self._db.executemany(
                "UPDATE trials SET consumed_by = ? WHERE number = ? AND consumed_by IS NULL",
                [(version, number) for number in consumed],
            )

    def add_evaluation(self, name: str, seed: int, metrics: Mapping[str, Any]) -> None:
        """Stores the metrics of one further training, for the choice of the best or for the final table."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?)", (name, seed, dump(metrics)))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All statements inside become durable together, or none."""
        with storage_errors(self._file):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have ended it already
                    self._db.execute("ROLLBACK")
                raise
