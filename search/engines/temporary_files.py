"""Temporary files that end with their process, even by kill -9: TensorFlow leaves one for each function it converts."""

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator

from tf_autodropout.search.engines.guard import guard


def own_temporary_files(ends_with: int) -> None:
    """Gives this process temporary files of its own, and has its guard remove them with it.

    Args:
        ends_with: Number of the process that this one, and the process group that it leads, must not outlive.
    """
    directory = tempfile.mkdtemp(prefix="tf_autodropout-")
    own = os.getpid()
    guard(directory, ends_with, group=own if os.getpgid(0) == own else 0)
    os.environ["TMPDIR"] = tempfile.tempdir = directory


@contextlib.contextmanager
def temporary_files_in_block() -> Iterator[None]:
    """What this process makes of temporary files in the block is removed when it ends."""
    before, default = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = _guarded(os.getpid())
    try:
        yield
    finally:
        tempfile.tempdir = default
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


@functools.cache
def _guarded(process: int) -> str:
    """A directory that ends with a process; one for each."""
    directory = tempfile.mkdtemp(prefix="tf_autodropout-")
    guard(directory, process, group=0)  # its group may be that of a whole line of the shell
    return directory
