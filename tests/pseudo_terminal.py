"""Runs a program in a real pseudo-terminal, and reads what stands there in the end."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping

_CODE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


def spoken(code: str, columns: int, extra: Mapping[str, str] = {}) -> str:
    """Returns all that a Python program writes to a terminal of so many columns, escape codes included."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"} | dict(extra)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True
    )
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    assert process.wait(60) == 0, b"".join(parts).decode()
    return b"".join(parts).decode()


def screen(said: str, columns: int) -> list[str]:
    """Returns the lines that a terminal shows after all that: what rich uses of its codes is acted upon."""
    rows: list[list[str]] = [[]]
    row = column = 0
    place = 0
    while place < len(said):
        if found := _CODE.match(said, place):
            count, kind = found[1], found[2]
            if kind == "A":
                row = max(row - int(count or 1), 0)
            elif kind == "K":
                rows[row] = [] if count == "2" else rows[row][:column]
            place = found.end()
            continue
        letter, place = said[place], place + 1
        if letter == "\r":
            column = 0
        elif letter == "\n":
            row += 1
        else:
            if column == columns:
                row, column = row + 1, 0
            rows += [[] for _ in range(row + 1 - len(rows))]
            rows[row] += [" "] * (column + 1 - len(rows[row]))
            rows[row][column] = letter
            column += 1
        rows += [[] for _ in range(row + 1 - len(rows))]
    return ["".join(one).rstrip() for one in rows]
