"""The ledger's tables, and what a directory must be like to hold them."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_autodropout.search.core import Status
from tf_autodropout.search.ledger.errors import LedgerError

SCHEMA_VERSION = 2
FILE_NAME = "ledger.sqlite"
LOCK_NAME = "ledger.lock"

# finish_order: 1 is the first trial that got its final status; a failed one that is retried leaves a gap. error is
# the reason of the last attempt that failed, also of a trial that finished later. Of the checkpoints all metrics are
# kept, but only the newest state: it is all that going on needs.
SCHEMA = f"""
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
    failures INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    error TEXT,
    reward REAL,
    learning_curve TEXT,
    metrics TEXT NOT NULL DEFAULT '{{}}',
    queued_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    finish_order INTEGER UNIQUE,
    consumed_by INTEGER
);
CREATE TABLE checkpoints (version INTEGER PRIMARY KEY, state BLOB, metrics TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE evaluations (
    name TEXT NOT NULL, seed INTEGER NOT NULL, metrics TEXT NOT NULL, PRIMARY KEY (name, seed)
);
"""
FINAL = tuple(status.value for status in Status if status not in (Status.QUEUED, Status.RUNNING))


def check_directory(directory: Path, config: Mapping[str, Any] | None = None) -> None:
    """Raises `LedgerError` unless `directory` is free, or holds a run with this `config`; writes nothing."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise LedgerError(f"{directory} is a file, not a directory")
    if not (directory / FILE_NAME).exists():
        if any(path.name != LOCK_NAME for path in directory.iterdir()):
            raise LedgerError(f"{directory} holds other files and no run; name an empty or a new directory")
        return
    stored = stored_config(directory)
    if config is not None and stored is not None:
        check_config(directory, stored, config)


def check_config(directory: Path, stored: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raises `LedgerError` with the first difference unless the two configs agree."""
    if difference := _difference(stored, json.loads(dump(config))):
        name, old, new = difference
        raise LedgerError(f"{directory} holds another run: its {name} is {_short(old)}, this run's is {_short(new)}")


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first place where two configs differ, as deep inside as it can be told, and what is there."""
    for key in sorted(old.keys() | new.keys()):
        one, other = old.get(key), new.get(key)
        if isinstance(one, dict) and isinstance(other, dict) and one.get("name") == other.get("name"):
            if inside := _difference(one, other):
                return f"{key} {inside[0]}", *inside[1:]
        elif one != other:
            return key, one, other
    return None


def stored_config(directory: Path) -> dict[str, Any] | None:
    """Reads the config of the run in `directory`, without writing; None if it was not begun."""
    path = directory / FILE_NAME
    if not path.exists():
        raise LedgerError(f"{directory} holds no run (no {FILE_NAME})")
    try:
        # immutable: reads the main file alone and leaves nothing beside it. Where a write-ahead log is left
        # of a run that works or was killed, the main file alone may be half of an older and half of a newer one.
        logged = path.with_name(f"{path.name}-wal")
        alone = "" if logged.exists() and logged.stat().st_size else "&immutable=1"
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{alone}", uri=True)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                return None
            if version != SCHEMA_VERSION:
                raise LedgerError(
                    f"{path}: expected schema version {SCHEMA_VERSION}. Received: {version}; "
                    "go on with the version of tf_autodropout that made it, or begin a new run elsewhere"
                )
            return json.loads(db.execute("SELECT value FROM run WHERE key = 'config'").fetchone()[0])
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{path} is not a ledger: {error}") from None


def dump(value: Any) -> str:
    """Returns JSON text; equal values give equal text."""
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """Turns numbers and arrays of NumPy into Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"Expected JSON types or NumPy's. Received: {value!r}")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
