"""The scripts in examples/ with all of their 16 trials: killed in the middle, begun again, on each engine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tf_autodropout.search.ledger import LedgerReader

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def begin(name: str, engine: str, out: Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts the script as a process."""
    command = [sys.executable, "-m", "tests.example_session", name, engine, str(out)]
    everywhere = str(ROOT / "tests" / "everywhere")  # stand-ins for workers too
    paths = os.pathsep.join(filter(None, (str(ROOT), everywhere, os.environ.get("PYTHONPATH"))))
    with log.open("ab") as file:
        return subprocess.Popen(
            command, cwd=log.parent, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": paths}
        )


def finished(out: Path) -> int:
    """How many trials the ledger has as finished; 0 where there is none yet."""
    try:
        reader = LedgerReader(out)
    except (OSError, ValueError):
        return 0
    try:
        return sum(row["status"] == "finished" for row in reader.rows())
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("own_network", "in-process"),
        ("own_network", "processes"),
        ("own_network", "ray"),
        ("pipeline", "processes"),
        ("pipeline", "ray"),
        ("text", "in-process"),
        ("text", "processes"),
        ("text", "ray"),
    ],
)
def test_killed_in_the_middle_it_goes_on_and_ends(name: str, engine: str, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log.txt"
    process = begin(name, engine, out, log)
    while finished(out) < 5:
        assert process.poll() is None, log.read_text("utf-8")[-3000:]
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = finished(out)
    assert 5 <= before < 16

    process = begin(name, engine, out, log)
    assert process.wait(timeout=1800) == 0, log.read_text("utf-8")[-3000:]

    rows = json.loads(next(line for line in log.read_text("utf-8").splitlines()[::-1] if line.startswith("[[")))
    assert rows == [[number, "finished"] for number in range(17)]
    files = {file.name for file in out.iterdir()}
    assert {"best.json", "best.png", "best_so_far.png", "report.md", "table.json"} <= files
    assert "no dropout" in (out / "report.md").read_text("utf-8")
