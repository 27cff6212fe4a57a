"""A small process beside a worker, which outlives it by a moment and ends and removes what it leaves.

A worker may die at any moment, by kill -9 too, or stop; its subprocesses and temporary files would stay. Run as a
script, by `guard`; it imports nothing of this package, and so starts at once.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time

_POLL_SECONDS = 0.2  # where the system has no file descriptors for processes
_PATIENCE_SECONDS = 5.0  # for files that processes still write while they die


def guard(directory: str, ends_with: int, group: int) -> None:
    """Starts a guard of this process. When this process ends, or the other one does, the guard removes a directory and
    kills a process group.

    Args:
        directory: What is removed.
        ends_with: Number of the process that this one must not outlive.
        group: Number of the process group, which this process leads; 0 for none.
    """
    processes = dict.fromkeys([os.getpid(), ends_with])
    command = [sys.executable, "-I", "-S", __file__, directory, str(group), *map(str, processes)]
    nothing = subprocess.DEVNULL
    # A session of its own, and (see below) no child of this process: what ends those leaves it alone.
    subprocess.run(command, cwd="/", start_new_session=True, check=True, stdin=nothing, stdout=nothing, stderr=nothing)


def _wait(processes: list[int]) -> None:
    """Returns as soon as one of the processes has ended."""
    try:
        handles = [os.pidfd_open(process) for process in processes]
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not Linux, or an old one
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the number is another user's process by now
            while True:
                for process in processes:
                    os.kill(process, 0)
                time.sleep(_POLL_SECONDS)
        return
    select.select(handles, [], [])


def _main(directory: str, group: int, processes: list[int]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _wait(processes)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(group, signal.SIGKILL)
    end = time.monotonic() + _PATIENCE_SECONDS
    while os.path.lexists(directory) and time.monotonic() < end:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.01)


if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    _main(sys.argv[1], int(sys.argv[2]), [int(process) for process in sys.argv[3:]])
