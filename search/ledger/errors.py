"""What can be wrong with a run's directory."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tf_autodropout.patterns.checks import printable

_SHOWN = 300  # characters
# Python reads SQLite's messages as UTF-8, and those on a damaged file quote it.
OF_SQLITE = (sqlite3.DatabaseError, UnicodeDecodeError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LedgerError(ValueError):
    """The directory cannot serve this run; the message says why."""


class StorageError(RuntimeError):
    """The run's files cannot be written just now, because the disk is full for one. Nothing is lost."""


@contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Turns what SQLite and the system say of files that cannot be written into one error that names `place`.

    Raises:
        StorageError: the disk is full, another program holds a lock, or the place is gone.
        LedgerError: what is there is damaged, or may not be written.
    """
    try:
        yield
    except OF_SQLITE as error:
        raise from_sqlite(error, place) from None
    except OSError as error:
        if not place.exists():
            raise gone(place) from None
        if error.errno not in _FULL:
            raise
        raise _full(place, error.strerror or str(error)) from None


def gone(place: Path) -> StorageError:
    """The error for files that were taken away under a run."""
    return StorageError(f"{place} is gone: it was deleted or moved while a search was at work on it, which ends here")


def damaged(place: Path, reason: object) -> LedgerError:
    """The error for what cannot have been written by this package."""
    return LedgerError(f"{place} is damaged: {one_line(reason)}; go on from a copy, or begin a new run elsewhere")


def one_line(reason: object) -> str:
    """Returns a reason as a message has it: SQLite quotes the file."""
    return printable(" ".join(str(reason).split()))[:_SHOWN]


def _full(place: Path, reason: str) -> StorageError:
    return StorageError(
        f"cannot write to {place}: {reason}; what was finished is kept, and the search goes on once there is room"
    )


def from_sqlite(error: Exception, place: Path) -> LedgerError | StorageError:
    """The error for what SQLite says of a file."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the higher bits tell kinds of it
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            f"another program has locked {place} ({error}); what was finished is kept, and the search goes on once "
            "that program lets it go"
        )
    if not place.exists():
        return gone(place)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return _full(place, one_line(error))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return LedgerError(f"cannot write to {place}: {one_line(error)}")
    return damaged(place, error)
