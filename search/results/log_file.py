"""`log.txt`: what happened in a run, in words."""

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from tf_autodropout.patterns.checks import printable
from tf_autodropout.search.ledger import LedgerError

FILE_NAME = "log.txt"
_LOGGER = logging.getLogger("tf_autodropout.search")


@contextlib.contextmanager
def log_file(directory: Path) -> Iterator[logging.Logger]:
    """Appends what `tf_autodropout.search` logs to `log.txt`, and how the block ended if it was not by itself.

    Args:
        directory: Directory of the run.

    Returns:
        As a context: the logger.

    Raises:
        OSError: the file cannot be written, also from a call of the logger.
        LedgerError: it is a link, or no file.
    """
    handler = _Handler(directory / FILE_NAME, encoding="utf-8", delay=True)
    handler.setFormatter(_Printable("%(asctime)s %(message)s"))
    before = _LOGGER.level
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(min(logging.INFO, _LOGGER.getEffectiveLevel()))
    try:
        yield _LOGGER
    except BaseException as error:
        with contextlib.suppress(OSError):  # the disk is full, perhaps: the error itself says so
            _LOGGER.error("stopped by %s: %s", type(error).__name__, " ".join(str(error).split()))
        raise
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(before)
        handler.close()


class _Printable(logging.Formatter):
    """Names and errors come from tasks and files: what they hold of control characters does not reach a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Handler(logging.FileHandler):
    """Lets errors through, where logging would print a traceback and go on."""

    def _open(self) -> TextIOWrapper:
        # Not through a link, which a stranger's directory may have, and without waiting for the reader of a pipe.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(self.baseFilename, flags, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise LedgerError(f"{self.baseFilename} is a symbolic link; remove it") from None
            if error.errno == errno.ENXIO:
                raise LedgerError(f"{self.baseFilename} is no file; remove it") from None
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise LedgerError(f"{self.baseFilename} is no file; remove it")
        return open(descriptor, "a", encoding=self.encoding, errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # it is called from within an except clause
