"""The ledger: one SQLite file that holds every trial and is the only truth of a run.

A trial's suggestion, status and outcome, and the searcher's checkpoint together with the trials it
learned from, are each written in one transaction. Whatever moment the process dies at, the file
says what is finished, what is to be trained again, and with which controller state to go on.
"""

import fcntl
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.trial import Outcome, Status, Suggestion, Trial

SCHEMA_VERSION = 1
FILE_NAME = "ledger.sqlite"
_LOCK_NAME = "ledger.lock"

_SCHEMA = f"""
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE trials (
    number INTEGER PRIMARY KEY,
    tokens TEXT NOT NULL,
    patterns TEXT NOT NULL,
    log_prob REAL NOT NULL,
    controller_version INTEGER NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reward REAL,
    metrics TEXT NOT NULL DEFAULT '{{}}',
    queued_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    finish_order INTEGER UNIQUE,
    consumed_by INTEGER
);
CREATE TABLE checkpoints (version INTEGER PRIMARY KEY, state BLOB NOT NULL, metrics TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE evaluations (
    name TEXT NOT NULL, seed INTEGER NOT NULL, metrics TEXT NOT NULL, PRIMARY KEY (name, seed)
);
"""
_FINAL = tuple(status.value for status in (Status.FINISHED, Status.FAILED, Status.INVALID))


class LedgerError(ValueError):
    """The directory cannot serve this run; the message says why."""


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
        self._db = sqlite3.connect(f"{(directory / FILE_NAME).resolve().as_uri()}?mode=ro", uri=True)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def latest_checkpoint(self) -> tuple[int, bytes] | None:
        """Returns version and state of the newest checkpoint."""
        return self._db.execute("SELECT version, state FROM checkpoints ORDER BY version DESC LIMIT 1").fetchone()

    def update_metrics(self) -> list[dict[str, Any]]:
        """Returns what each update logged, oldest first."""
        rows = self._db.execute("SELECT version, metrics FROM checkpoints ORDER BY version")
        return [{"version": version} | json.loads(metrics) for version, metrics in rows]

    def trials(self, unfinished: bool = False, unconsumed: bool = False) -> list[Trial]:
        """Returns trials: all in the order of their numbers, the unfinished ones likewise, or those
        with a reward that no update has used, in the order in which they finished."""
        where, order = "1", "number"
        if unfinished:
            where = f"status NOT IN {_FINAL}"
        elif unconsumed:
            where, order = "consumed_by IS NULL AND reward IS NOT NULL", "finish_order"
        return self._select(where, order)

    def _select(self, where: str, order: str, count: int = -1) -> list[Trial]:
        rows = self._db.execute(
            "SELECT number, tokens, log_prob, controller_version, patterns, status, attempts, reward, metrics"
            f" FROM trials WHERE {where} ORDER BY {order} LIMIT ?",
            (count,),
        )
        return [_trial(row) for row in rows]

    def finished_in_order(self) -> list[Trial]:
        """Returns the final trials in the order in which they finished."""
        order = dict(self._db.execute("SELECT number, finish_order FROM trials WHERE finish_order IS NOT NULL"))
        return sorted((trial for trial in self.trials() if trial.number in order), key=lambda t: order[t.number])

    def count(self, version: int | None = None) -> int:
        """Returns the number of trials, all or those suggested by one controller version."""
        if version is None:
            return self._db.execute("SELECT COUNT(*) FROM trials").fetchone()[0]
        query = "SELECT COUNT(*) FROM trials WHERE controller_version = ?"
        return self._db.execute(query, (version,)).fetchone()[0]

    def top(self, count: int) -> list[Trial]:
        """Returns the finished trials with the highest rewards, best first, the first one of equals first."""
        return self._select(f"status = '{Status.FINISHED.value}'", "reward DESC, number", count)

    def evaluation(self, name: str, seed: int) -> dict[str, Any] | None:
        """Returns the stored metrics of one further training: of a name, on a seed."""
        row = self._db.execute("SELECT metrics FROM evaluations WHERE name = ? AND seed = ?", (name, seed)).fetchone()
        return json.loads(row[0]) if row else None


class Ledger(LedgerReader):
    """All trials of one run.

    Args:
        directory: Output directory of the run; made if it does not exist.
        config: What identifies the run, as JSON types. A directory that holds a run with another
            config is refused.

    Raises:
        LedgerError: another run's directory, a directory with other things in it, one that
            another process works on, one that cannot be written. Nothing on disk has changed then.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        check_directory(directory, config)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = open(directory / _LOCK_NAME, "w")  # noqa: SIM115 (held as long as the ledger)
        except OSError as error:
            raise LedgerError(f"cannot write to {directory}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise LedgerError(f"another process is at work on {directory}") from None
        self._db = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
        try:
            self._open(directory, config)
        except BaseException:
            self.close()
            raise

    def _open(self, directory: Path, config: Mapping[str, Any]) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # safe against a killed process
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO run VALUES ('config', ?)", (_dump(config),))
            # From here on the config is in the main file, where it can be read without a trace.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # Again, now with the lock: a process may have been killed before that checkpoint.
        stored = self._db.execute("SELECT value FROM run WHERE key = 'config'").fetchone()[0]
        _check_config(directory, json.loads(stored), config)

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
                        _dump(suggestion.tokens),
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
        self._db.execute(
            f"UPDATE trials SET status = ?, attempts = attempts + 1, started_at = ?"
            f" WHERE number = ? AND status NOT IN {_FINAL}",
            (Status.RUNNING.value, time.time(), number),
        )

    def finish(self, outcome: Outcome) -> bool:
        """Writes an outcome; False if the trial was final already (a duplicate counts once)."""
        cursor = self._db.execute(
            f"UPDATE trials SET status = ?, reward = ?, metrics = ?, finished_at = ?,"
            f" finish_order = (SELECT COALESCE(MAX(finish_order), 0) + 1 FROM trials)"
            f" WHERE number = ? AND status NOT IN {_FINAL}",
            (outcome.status.value, outcome.reward, _dump(outcome.metrics), time.time(), outcome.number),
        )
        return cursor.rowcount == 1

    def checkpoint(self, version: int, state: bytes, consumed: Iterable[int], metrics: Mapping[str, Any]) -> None:
        """Writes an update: the searcher's new state and the trials it learned from, together."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO checkpoints VALUES (?, ?, ?, ?)", (version, state, _dump(metrics), time.time())
            )
            self._db.executemany(
                "UPDATE trials SET consumed_by = ? WHERE number = ? AND consumed_by IS NULL",
                [(version, number) for number in consumed],
            )

    def add_evaluation(self, name: str, seed: int, metrics: Mapping[str, Any]) -> None:
        """Stores the metrics of one further training, for the choice of the best or for the final table."""
        self._db.execute("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?)", (name, seed, _dump(metrics)))

    def evaluate_once(self, name: str, seed: int, evaluate: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Returns the stored metrics of a further training, or calls `evaluate` and stores what it returns."""
        metrics = self.evaluation(name, seed)
        if metrics is None:
            metrics = dict(evaluate())
            self.add_evaluation(name, seed, metrics)
        return metrics

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db)


class _Transaction:
    """All statements inside become durable together, or none."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: Any, *_: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")


def check_directory(directory: Path, config: Mapping[str, Any] | None = None) -> None:
    """Raises `LedgerError` unless `directory` is free, or holds a run with this `config`; writes nothing."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise LedgerError(f"{directory} is a file, not a directory")
    if not (directory / FILE_NAME).exists():
        if any(path.name != _LOCK_NAME for path in directory.iterdir()):
            raise LedgerError(f"{directory} holds other files and no run; name an empty or a new directory")
        return
    stored = stored_config(directory)
    if config is not None and stored is not None:
        _check_config(directory, stored, config)


def _check_config(directory: Path, stored: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    wanted = json.loads(_dump(config))
    for key in sorted(stored.keys() | wanted.keys()):
        if stored.get(key) != wanted.get(key):
            raise LedgerError(
                f"{directory} holds another run: its {key} is {_short(stored.get(key))}, "
                f"this run's is {_short(wanted.get(key))}"
            )


def stored_config(directory: Path) -> dict[str, Any] | None:
    """Reads the config of the run in `directory`, without writing; None if it was not begun."""
    path = directory / FILE_NAME
    if not path.exists():
        raise LedgerError(f"{directory} holds no run (no {FILE_NAME})")
    try:
        # immutable: reads the main file alone and leaves nothing beside it.
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                return None
            if version != SCHEMA_VERSION:
                raise LedgerError(f"{path}: expected schema version {SCHEMA_VERSION}. Received: {version}")
            return json.loads(db.execute("SELECT value FROM run WHERE key = 'config'").fetchone()[0])
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{path} is not a ledger: {error}") from None


def _trial(row: tuple[Any, ...]) -> Trial:
    number, tokens, log_prob, version, patterns, status, attempts, reward, metrics = row
    suggestion = Suggestion(tuple(json.loads(tokens)), log_prob, version)
    return Trial(
        number, suggestion, PatternSet.from_json(patterns), Status(status), attempts, reward, json.loads(metrics)
    )


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
