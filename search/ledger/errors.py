"""What can be wrong with a run's directory."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LedgerError(ValueError):
    """The directory cannot serve this run; the message says why."""


class StorageError(RuntimeError):
    """The run's files cannot be written just now, because the disk is full for one. Nothing is lost."""


@contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Turns what SQLite and the system say of a full disk into one `StorageError` that names `place`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        reason = str(error)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        reason = error.strerror or str(error)
    else:
        return
    raise StorageError(
        f"cannot write to {place}: {reason}; what was finished is kept, and the search goes on once there is room"
    )
