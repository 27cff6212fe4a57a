"""The fault matrix: every fault of a child on every engine ends its attempt, and never the search."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import FAULTS, LONG, MakeTask, check, search, within
from tf_autodropout.search.engines import InProcess, WorkerProcesses
from tf_autodropout.search.ledger import LedgerReader

ROOT = Path(__file__).parents[1]
SOFT = tuple(name for name, fault in FAULTS.items() if not fault.takes)
HARD = tuple(name for name, fault in FAULTS.items() if fault.takes == "process")
LONGER = tuple(name for name, fault in FAULTS.items() if fault.takes == "time")
IN_DEFAULT_RUN = ("killed", "hang", "end with 0")  # in this process, where each is two drivers


def test_the_matrix_is_large_enough() -> None:
    assert 3 * len(FAULTS) >= 3 * 32


def own_subprocesses() -> list[int]:
    """Subprocesses of this process that faults have left."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (path / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if int(parent) == os.getpid() and (path / "cmdline").read_bytes() == f"sleep\0{LONG}\0".encode():
                found.append(int(path.name))
    return found


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    directory = tmp_path_factory.mktemp("in-process")
    before = os.getcwd()
    rows = search(InProcess(MakeTask(directory, SOFT)()), directory, len(SOFT))
    assert os.getcwd() == before
    for left in own_subprocesses():  # in the caller's process they are the caller's
        os.kill(left, signal.SIGKILL)
        os.waitpid(left, 0)
    return dict(zip(SOFT, rows, strict=True))


@pytest.mark.parametrize("name", SOFT)
def test_in_process(in_process: dict[str, dict], name: str) -> None:
    check(in_process[name], FAULTS[name])


@pytest.mark.parametrize(
    "name", [name if name in IN_DEFAULT_RUN else pytest.param(name, marks=pytest.mark.slow) for name in HARD + LONGER]
)
def test_in_process_the_search_goes_on_after_it_was_taken_along(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "tests.faults", str(tmp_path), name]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    driver = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)
    try:
        assert within(60, lambda: driver.poll() is not None or any(tmp_path.glob("met-*")))
        driver.wait(2)
    except subprocess.TimeoutExpired:  # as a user would who sees it hang
        driver.kill()
        driver.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(driver.pid, signal.SIGKILL)
    done = subprocess.run(command, cwd=tmp_path, env=environment, timeout=60, check=False)
    assert done.returncode == 0
    reader = LedgerReader(tmp_path / "run")
    rows = list(reader.rows())
    reader.close()
    assert [row["status"] for row in rows] == ["finished"] * 3
    assert [row["failures"] for row in rows] == [0] * 3  # a training that dies with the search is no failure


def rows_of(directory: Path, names: tuple[str, ...], time_limit: float) -> dict[str, dict]:
    engine = WorkerProcesses(MakeTask(directory, names), workers=2, time_limit=time_limit)
    return dict(zip(names, search(engine, directory, len(names)), strict=True))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    return rows_of(tmp_path_factory.mktemp("processes"), SOFT + HARD, time_limit=60)


@pytest.mark.parametrize("name", SOFT + HARD)
def test_worker_processes(processes: dict[str, dict], name: str) -> None:
    check(processes[name], FAULTS[name])


@pytest.fixture(scope="module")
def slow_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    return rows_of(tmp_path_factory.mktemp("processes"), LONGER, time_limit=8)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONGER)
def test_worker_processes_that_hang(slow_processes: dict[str, dict], name: str) -> None:
    check(slow_processes[name], FAULTS[name])
