"""The command line in processes of their own."""

import signal
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "tf_autodropout.search"]


def kill_after_the_first_trial(directory: Path, *arguments: str) -> None:
    """Runs a search of two trials and ends it by kill -9 as soon as the first one is told.

    Args:
        directory: Where it is run.
        *arguments: Of the command.
    """
    process = subprocess.Popen([*COMMAND, *arguments], cwd=directory, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("1/2"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
