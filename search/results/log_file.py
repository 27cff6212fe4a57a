"""`log.txt`: what happened in a run, in words."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

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
    """
    handler = _Handler(directory / FILE_NAME, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
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


class _Handler(logging.FileHandler):
    """Lets errors through, where logging would print a traceback and go on."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # it is called from within an except clause
