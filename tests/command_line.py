"""The command line in processes of their own."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults import within

COMMAND = [sys.executable, "-m", "tf_autodropout.search"]


def kill_after_the_first_trial(directory: Path, *arguments: str) -> None:
    """Runs a search of two trials and ends it by kill -9 as soon as the first one is told; no temporary file is left.

    Args:
        directory: Where it is run.
        *arguments: Of the command.
    """
    with tempfile.TemporaryDirectory() as temporary:
        environment = os.environ | {"TMPDIR": temporary}
        process = subprocess.Popen(
            [*COMMAND, *arguments], cwd=directory, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("1/2"):
                assert any(Path(temporary).iterdir())
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
        process.stdout.close()
        assert within(10, lambda: not any(Path(temporary).iterdir()))
