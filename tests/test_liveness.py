"""No exit path of a search leaves a process or a temporary file; workers that do not start end it with the reason."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import MakeTask, search, within
from tests.faulty_task import FaultyTask, MakeFaulty
from tests.test_engines import after, call, outcomes, plan
from tf_autodropout.search.core import Engine, Status, Training
from tf_autodropout.search.engines import InProcess, WorkerProcesses, guard, slots, worker_pool
from tf_autodropout.search.engines.slots import Slot

ROOT = Path(__file__).parents[1]
MARK = "TF_AUTODROPOUT_TEST"

# Three workers: after they have left subprocesses, one hangs, one holds Python's lock, one has stopped.
LEAVES = ("a subprocess", "a subprocess", "a subprocess", "hang", "hang with Python's lock", "stopped")
DRIVER = """
import signal, sys
from pathlib import Path
from tests.faults import MakeTask
from tests.test_engines import call
from tf_autodropout.search.engines import WorkerProcesses
from tests.test_liveness import LEAVES

def fail(number, frame):
    raise RuntimeError("the search has an error of its own")

signal.signal(signal.SIGUSR1, fail)
if sys.argv[2] == "ray":
    from tf_autodropout.search.engines.ray_cluster import RayCluster
    import ray
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False, configure_logging=False)
    engine = RayCluster(MakeTask(Path(sys.argv[1]), LEAVES, search_seed=3), workers=3)
else:
    engine = WorkerProcesses(MakeTask(Path(sys.argv[1]), LEAVES, search_seed=3), workers=3)
for number in range(1, 1 + len(LEAVES)):
    engine.submit(call(number))
while True:
    engine.next()
"""


def marked(mark: str) -> list[str]:
    """Command lines of the processes that carry a mark in their environment; zombies have none."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def begin(directory: Path, engine: str) -> subprocess.Popen[bytes]:
    """A search of which three workers never answer, once all of them are at it."""
    temporary = directory / "temporary"
    temporary.mkdir()
    script = directory / "driver.py"
    script.write_text(DRIVER)
    path = os.pathsep.join([str(ROOT), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, MARK: str(directory), "TMPDIR": str(temporary)}
    environment["RAY_TMPDIR"] = "/tmp"  # sockets of Ray take short paths only
    driver = subprocess.Popen([sys.executable, script, directory, engine], env=environment, stderr=subprocess.DEVNULL)
    assert within(60, lambda: len(list(directory.glob("met-*"))) == len(LEAVES) or driver.poll() is not None)
    assert driver.poll() is None
    assert len(list(temporary.glob("tf_autodropout-*"))) == 3
    assert sum("sleep 3601" in command for command in marked(str(directory))) == 3
    return driver


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=["kill", "term", "ctrl-c", "error"]
)
def test_however_a_search_ends_its_workers_leave_nothing(tmp_path: Path, number: int) -> None:
    driver = begin(tmp_path, "processes")
    driver.send_signal(number)
    driver.wait(20)
    assert within(10, lambda: not marked(str(tmp_path))), marked(str(tmp_path))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_search_that_ends_by_itself_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    names = ("a subprocess", "fork", "killed, its child lives", "multiprocessing")
    rows = search(WorkerProcesses(MakeTask(tmp_path, names), workers=2), tmp_path, len(names))
    assert {row["status"] for row in rows} == {"finished"}
    assert within(10, lambda: not marked(str(tmp_path))), marked(str(tmp_path))
    assert within(10, lambda: not list((tmp_path / "temporary").iterdir()))


def raise_import_error() -> None:
    import nothing_of_that_name  # noqa: F401


STARTS: dict[str, tuple[Callable[[], object], str]] = {
    "import": (raise_import_error, "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    "exit": (lambda: sys.exit(2), "SystemExit: 2"),
    "end": (lambda: os._exit(4), "the process ended with exit code 4|worker process has died"),
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed|worker process has died"),
    "hang": (lambda: time.sleep(3600), "no result within the time limit of 1.5 s"),
    "stopped": (lambda: os.kill(os.getpid(), signal.SIGSTOP), "no result within the time limit of 1.5 s"),
}


@dataclass(frozen=True)
class MakeNothing:
    """Picklable maker of a task that cannot be built."""

    name: str

    def __call__(self) -> FaultyTask:
        STARTS[self.name][0]()
        raise AssertionError


def check_start(
    make: Callable[..., Engine], name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers of an engine that do not start end the search, with the reason, after a few of them."""
    monkeypatch.setattr(worker_pool, "REST_SECONDS", 0.1)
    limit = 1.5 if STARTS[name][1].startswith("no result") else None
    engine = make(MakeNothing(name), workers=1, time_limit=limit)
    engine.submit(call(1))
    try:
        with pytest.raises(RuntimeError, match=f"^The workers do not start: .*({STARTS[name][1]})"):
            engine.next()
    finally:
        engine.close()
    assert sum("while it started" in record.message for record in caplog.records) == worker_pool.MAX_FAILED_STARTS


@pytest.mark.parametrize(
    "name", [name if name in ("import", "hang") else pytest.param(name, marks=pytest.mark.slow) for name in STARTS]
)
def test_workers_that_do_not_start_end_the_search_with_the_reason(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check_start(WorkerProcesses, name, monkeypatch, caplog)


@dataclass(frozen=True)
class MakeWhereItIsWhole:
    directory: Path

    def __call__(self) -> FaultyTask:
        if "BROKEN" in os.environ:
            raise OSError("no data here")
        time.sleep(0.2)
        return FaultyTask(self.directory)


def test_a_part_of_the_machine_that_serves_no_worker_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_pool, "REST_SECONDS", 0.1)
    two = [Slot("worker 0", (0,), {"BROKEN": "1"}), Slot("worker 1", (0,))]
    monkeypatch.setattr(slots, "machine_slots", lambda workers: two)
    monkeypatch.setattr("tf_autodropout.search.engines.worker_processes.machine_slots", lambda workers: two)
    engine = WorkerProcesses(MakeWhereItIsWhole(tmp_path))
    try:
        found, end = [], time.monotonic() + 60
        while engine.slots == 2 and time.monotonic() < end:
            found += after(engine, Training(FaultyTask.space.decode([0] * 5), 1))
        assert engine.slots == 1
        found += outcomes(engine, 3)
    finally:
        engine.close()
    assert {one.status for one in found} == {Status.FINISHED}
    assert caplog.text.count("no data here; another takes its place") == 2
    assert caplog.text.count("no data here; it is given up") == 1


@dataclass(frozen=True)
class MakeMortal:
    """Builds a task whose process ends soon after."""

    directory: Path

    def __call__(self) -> FaultyTask:
        threading.Timer(0.3, lambda: os._exit(5)).start()
        return FaultyTask(self.directory)


def test_workers_that_die_between_trials_again_and_again_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "REST_SECONDS", 0.1)
    engine = WorkerProcesses(MakeMortal(tmp_path), workers=1)
    engine._look()
    try:
        with pytest.raises(RuntimeError, match="do not start: the process ended with exit code 5"):
            engine.next()  # nothing waits for training
    finally:
        engine.close()


@pytest.mark.parametrize("where", ["in-process", "processes"])
def test_three_equal_errors_in_a_row_end_a_search_with_that_error(tmp_path: Path, where: str) -> None:
    make = MakeTask(tmp_path, ("", "", *["exit"] * 20))
    engine = InProcess(make()) if where == "in-process" else WorkerProcesses(make, workers=1)
    with pytest.raises(RuntimeError, match="^3 trials in a row failed with the same error: SystemExit: 0$"):
        search(engine, tmp_path, 20)


def test_a_task_that_cannot_be_sent_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(ValueError, match="this one cannot be sent .TypeError: cannot pickle '_thread.lock' object"):
        WorkerProcesses(lambda: lock)  # type: ignore[arg-type, return-value]


def test_a_worker_that_stops_does_not_hold_up_another(tmp_path: Path) -> None:
    engine = WorkerProcesses(MakeTask(tmp_path, ("stopped in mid-answer",), search_seed=3), workers=2)
    try:
        for number in range(1, 5):
            engine.submit(call(number))
        assert sorted(engine.next().number for _ in range(3)) == [2, 3, 4]  # without a time limit
    finally:
        engine.close()


def test_an_answer_to_another_call_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan(tmp_path, ["hang"])
    engine = WorkerProcesses(MakeFaulty(tmp_path), workers=1)
    try:
        engine.submit(call(1))
        assert within(30, lambda: _step(engine) or engine._workers[0].busy)
        (worker,) = engine._workers
        for identity, number in ((worker.identity - 1, 1), (worker.identity, 2), (worker.identity, 1)):
            assert not engine._outcomes
            engine._answered(worker, json.dumps([identity, number, "finished", 1.0, {}]).encode())
        assert [outcome.number for outcome in engine._outcomes] == [1]
        engine._answered(worker, json.dumps([worker.identity, 1, "finished", 2.0, {}]).encode())  # a second one
        assert len(engine._outcomes) == 1
    finally:
        engine.close()
    assert caplog.text.count("gave an answer that nobody waits for; it is refused") == 3


def _step(engine: WorkerProcesses) -> None:
    """What `next` does before it has something to return."""
    engine._look()
    (worker,) = engine._workers
    if worker.process is None:
        engine._start(worker)
    if worker.idle:
        worker.begin(engine._waiting.popleft())
    engine._listen()


def test_temporary_files_of_a_worker_go_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    engine = WorkerProcesses(MakeFaulty(tmp_path), workers=1)
    try:
        assert after(engine, Training(FaultyTask.space.decode([0] * 5), 1))[0].status is Status.FINISHED
        (directory,) = tmp_path.glob("tf_autodropout-*")
        (directory / "__autograph_generated_file1.py").touch()
        process = engine._workers[0].process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        assert within(10, lambda: not directory.exists())
    finally:
        engine.close()


def test_processes_that_the_system_cannot_start_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(worker_pool, "REST_SECONDS", 0.05)
    monkeypatch.setattr(subprocess, "Popen", fails)
    engine = WorkerProcesses(MakeFaulty(tmp_path), workers=2)
    with pytest.raises(RuntimeError, match="do not start: BlockingIOError: .* Resource temporarily unavailable"):
        engine.next()
    engine.close()


def test_a_guard_takes_a_number_that_another_user_has_now_for_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(process: int, number: int) -> None:
        raise PermissionError

    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr(os, "kill", refuses)
    guard._wait([os.getpid()])


def test_a_guard_waits_where_the_system_has_no_handles_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    with subprocess.Popen(["sleep", "0.5"]) as process:
        begin = time.monotonic()
        threading.Thread(target=process.wait).start()
        guard._wait([os.getpid(), process.pid])
        assert 0.3 < time.monotonic() - begin < 10
