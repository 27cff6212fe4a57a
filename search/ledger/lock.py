"""Who may work on a run: one search at a time, on a disk of its own machine."""

import errno
import os
from pathlib import Path

from tf_autodropout.search.ledger.errors import LedgerError

_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
# File systems that machines share: SQLite's write-ahead log has its index in memory, which they do not share.
_SHARED = {"afs", "beegfs", "ceph", "cifs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs"}
_SHARED |= {"gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs"}
_MOUNTS = Path("/proc/self/mountinfo")


class RunLock:
    """Holds a directory for one search until it is closed or its process ends.

    The lock is on the directory itself, so there is no file that somebody could remove or put a link in place of.

    Args:
        directory: Output directory of a run, which exists.

    Raises:
        LedgerError: another process is at work on it, or its file system cannot be used for a run.
    """

    def __init__(self, directory: Path) -> None:
        try:
            import fcntl
        except ImportError:
            raise LedgerError(
                "a search needs the file locks of Linux or macOS: on Windows run it in the Windows Subsystem for Linux"
            ) from None
        check_local(directory)
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            if error.errno in _BUSY:
                raise LedgerError(f"another process is at work on {directory}") from None
            raise LedgerError(
                f"{directory} cannot be locked: {error.strerror}; its file system has no file locks, so name a "
                "directory on another disk"
            ) from None

    def close(self) -> None:
        """Gives the directory free."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def check_local(directory: Path) -> None:
    """Raises `LedgerError` for a directory on a file system that machines share, as far as the system tells."""
    kind = _file_system(directory)
    if kind in _SHARED:
        raise LedgerError(
            f"{directory} is on a file system that machines share ({kind}), where SQLite's write-ahead log does not "
            "work; name a directory on a local disk"
        )


def _file_system(directory: Path) -> str | None:
    """The kind of the file system that a directory is on: of the mount that is the longest beginning of its path."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return None
    place, found, kind = directory.resolve(), -1, None
    for line in lines:
        # 36 35 98:0 /root /mount/point options ... - type source options
        mounted, _, about = line.partition(" - ")
        point = Path(mounted.split()[4].replace("\\040", " "))
        if place.is_relative_to(point) and len(point.parts) >= found:
            found, kind = len(point.parts), about.split()[0]
    return kind
