"""What keeps quiet: the chatter of TensorFlow's C++ libraries always, progress with `--quiet`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")


@contextmanager
def quiet_tensorflow(log: Path | None = None) -> Iterator[None]:
    """Sends what native code writes to file descriptor 2 to `log`, or nowhere.

    Python's own `sys.stderr`, and with it every traceback and warning of Python code, stays on the
    terminal. Environment settings alone do not do this: TensorFlow logs before it reads them.

    Args:
        log: File to append to; None throws the chatter away.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    terminal = os.dup(2)
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    python_stderr = sys.stderr
    os.dup2(target, 2)
    os.close(target)
    try:
        with os.fdopen(os.dup(terminal), "w", buffering=1) as stream:
            sys.stderr = stream if python_stderr is sys.__stderr__ else python_stderr
            yield
    finally:
        sys.stderr = python_stderr
        os.dup2(terminal, 2)
        os.close(terminal)
