"""The ledger's tables, and what a directory must be like to hold them."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_autodropout import version as package
from tf_autodropout.search.core import Status
from tf_autodropout.search.ledger.errors import OF_SQLITE, LedgerError, StorageError, damaged, from_sqlite, one_line

SCHEMA_VERSION = 3
FILE_NAME = "ledger.sqlite"

# finish_order: 1 is the first trial that got its final status; a failed one that is retried leaves a gap. error is
# the reason of the last attempt that failed, also of a trial that finished later. Of the checkpoints all metrics are
# kept, but only the two newest states: the newest is all that going on needs, the other one is there should it be
# damaged. run has config, arguments and the version of this package that wrote last. SQLite has no checksums of what it
# stores; the digests are ours.
SCHEMA = f"""
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest TEXT NOT NULL);
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
    consumed_by INTEGER,
    digest TEXT NOT NULL,
    outcome_digest TEXT
);
CREATE TABLE checkpoints (
    version INTEGER PRIMARY KEY, state BLOB, digest TEXT NOT NULL, metrics TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE evaluations (
    name TEXT NOT NULL, seed INTEGER NOT NULL, metrics TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (name, seed)
);
"""
_FIRST = ("task", "name")  # what a user knows a run by
FINAL = tuple(status.value for status in Status if status not in (Status.QUEUED, Status.RUNNING))


def check_directory(directory: Path, config: Mapping[str, Any] | None = None) -> None:
    """Raises `LedgerError` unless `directory` is free, or holds a run with this `config`; writes nothing."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise LedgerError(f"{directory} is a file, not a directory")
    if not (directory / FILE_NAME).exists():
        if any(directory.iterdir()):
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
    for key in sorted(old.keys() | new.keys(), key=lambda key: (key not in _FIRST, key)):
        one, other = old.get(key), new.get(key)
        if isinstance(one, dict) and isinstance(other, dict) and one.get("name") == other.get("name"):
            if inside := _difference(one, other):
                return f"{key} {inside[0]}", *inside[1:]
        elif key == "task" and isinstance(one, dict) and isinstance(other, dict):
            return key, one.get("name"), other.get("name")
        elif one != other:
            return key, one, other
    return None


def stored_config(directory: Path) -> dict[str, Any] | None:
    """Reads the config of the run in `directory`, without writing; None if it was not begun.

    Raises:
        LedgerError: there is no run, or one that this version cannot read, or what is there is damaged.
        StorageError: another program has locked the file.
    """
    path = directory / FILE_NAME
    if not path.exists():
        raise LedgerError(f"{directory} holds no run (no {FILE_NAME})")
    if path.is_symlink():
        raise LedgerError(f"{path} is a symbolic link; name the directory that holds the file itself")
    # immutable: reads the main file alone and leaves nothing beside it. Where a write-ahead log is left
    # of a run that works or was killed, the main file alone may be half of an older and half of a newer one.
    logged = path.with_name(f"{path.name}-wal")
    alone = "" if logged.exists() and logged.stat().st_size else "&immutable=1"
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{alone}", uri=True)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                return None
            check_version(path, version, db)
            value, checksum = db.execute("SELECT value, digest FROM run WHERE key = 'config'").fetchone()
        finally:
            db.close()
        if digest("config", value) != checksum:
            raise damaged(path, "the run's config is not what was written")
        return json.loads(value)
    except OF_SQLITE as error:
        found = from_sqlite(error, path)
        raise (
            found if isinstance(found, StorageError) else LedgerError(f"{path} is not a ledger: {one_line(error)}")
        ) from None
    except TypeError:
        raise damaged(path, "it has no config") from None


def check_version(path: Path, schema: int, db: sqlite3.Connection) -> None:
    """Raises `LedgerError` for a ledger of other tables, or that a newer version of this package has written."""
    try:
        (made_by,) = db.execute("SELECT value FROM run WHERE key = 'version'").fetchone() or (None,)
    except OF_SQLITE:
        made_by = None
    if made_by is not None and _numbers(made_by) > _numbers(package.__version__):
        raise LedgerError(
            f"{path} was written by tf_autodropout {made_by}, which is newer than this one, "
            f"{package.__version__}; go on with that version or a later one"
        )
    if schema != SCHEMA_VERSION:
        raise LedgerError(
            f"{path}: expected schema version {SCHEMA_VERSION}. Received: {schema}; "
            "go on with the version of tf_autodropout that made it, or begin a new run elsewhere"
        )


def _numbers(version: object) -> list[int]:
    return [int(number) for number in re.findall(r"\d{1,9}", str(version))[:3]]


def digest(*values: Any) -> str:
    """Returns a checksum of texts and bytes."""
    made = hashlib.sha256()
    for value in values:
        # SQLite gives a negative zero back as a positive one.
        value = value + 0.0 if isinstance(value, float) else value
        part = value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")
        made.update(len(part).to_bytes(8, "big") + part)
    return made.hexdigest()


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
