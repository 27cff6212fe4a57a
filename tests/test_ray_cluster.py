"""The Ray engine on real Ray nodes of this machine: faults, a node that is killed, one that joins late."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Both are read once, when Ray is imported.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
pytest.importorskip("ray", reason="Ray is not installed: pip install 'tf_autodropout[ray]'")
import ray

from tests.faulty_task import FaultyTask, MakeFaulty
from tests.test_engines import SOFT, outcomes, plan, reasons
from tf_autodropout.search.core import Observer, Status, Trial
from tf_autodropout.search.engines.ray_cluster import RayCluster
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.loop import search_loop
from tf_autodropout.search.searchers import RandomSearch

ROOT = Path(__file__).parents[1]
PORT = 6400


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield
    ray.shutdown()


class Node:
    """A Ray node with two CPUs, as a process group of its own."""

    def __init__(self, address: str, log: Path, head: bool = False) -> None:
        role = ["--head", f"--port={PORT}", "--include-dashboard=false"] if head else [f"--address=127.0.0.1:{PORT}"]
        limits = ["--num-cpus=2", "--object-store-memory=80000000", "--include-log-monitor=false"]
        command = [str(Path(sys.executable).with_name("ray")), "start", *role, f"--node-ip-address={address}", *limits]
        self._address = address
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [*command, "--block"],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Ends the whole node at once, as a machine that loses its power."""
        for pid in _descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def _descendants(pid: int) -> list[int]:
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rsplit(")", 1)[1].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found


def connect(directory: Path, **options: object) -> RayCluster:
    """Connects as soon as the head is up."""
    for _ in range(40):
        try:
            return RayCluster(MakeFaulty(directory), address=f"127.0.0.1:{PORT}", **options)  # type: ignore
        except ValueError:
            time.sleep(0.5)
    raise AssertionError("the head node did not start")


def test_faults(environment: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    head = Node("127.0.0.1", tmp_path / "head.log", head=True)
    try:
        plan(tmp_path, ["raise", "memory", "diverge", "nan", "kill", "exit", "hang"])
        with caplog.at_level("INFO", "tf_autodropout.search"):
            engine = connect(tmp_path, time_limit=8)
            found = outcomes(engine, 10)
        engine.close()
    finally:
        head.kill()
    said = reasons(found)
    assert {reason: said.get(reason) for reason in SOFT} == SOFT
    assert said["failed no result within the time limit of 8 s"] == 1
    assert said["finished"] == 3
    assert said["failed SystemExit: 3"] == 1
    assert sum(count for reason, count in said.items() if "worker process has died" in reason) == 1
    assert all(one.worker.startswith("worker ") and " on machine " in one.worker for one in found)
    assert "has joined" in caplog.text
    assert "another takes its place" in caplog.text


class Act(Observer):
    """Does things when a number of trials are final."""

    def __init__(self, deeds: dict[int, Callable[[], None]]) -> None:
        self._deeds, self._done = deeds, 0

    def trial_finished(self, trial: Trial) -> None:
        self._done += 1
        if deed := self._deeds.get(self._done):
            deed()


@pytest.mark.slow
def test_one_node_is_killed_and_one_joins_late(
    environment: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan(tmp_path, ["slow"] * 1000)
    nodes = [Node("127.0.0.1", tmp_path / "0.log", head=True)]
    ledger = Ledger(tmp_path / "run", {})
    joined: list[float] = []
    try:
        engine = connect(tmp_path)
        nodes.append(Node("127.0.0.2", tmp_path / "1.log"))

        def join() -> None:
            joined.append(time.time())
            nodes.append(Node("127.0.0.3", tmp_path / "2.log"))

        # Six trials in flight; the second node has joined long before the 60th, as each takes a fifth of a second.
        late = {
            150: nodes[1].kill,
            200: join,
        }
        with caplog.at_level("INFO", "tf_autodropout.search"):
            search_loop(
                RandomSearch(FaultyTask.space, 0), ledger, engine, FaultyTask.space.decode, 600, 6, 16, Act(late)
            )
        engine.close()
        trials = ledger.trials()
    finally:
        ledger.close()
        for node in nodes:
            if node.process.poll() is None:
                node.kill()
    assert [trial.number for trial in trials] == list(range(1, 601))
    assert {trial.status for trial in trials} == {Status.FINISHED}
    assert any(trial.attempts > 1 for trial in trials)  # those that were on the node when it was killed
    places = {trial.worker.split()[-1] for trial in trials}
    assert {"127.0.0.2", "127.0.0.3"} <= places
    text = caplog.text
    assert "machine 127.0.0.2 has joined" in text
    assert "machine 127.0.0.2 is lost; the search goes on with" in text
    assert "machine 127.0.0.3 has joined" in text
    assert "it is tried again" in text
    first = min(record.created for record in caplog.records if "on machine 127.0.0.3 is ready" in record.message)
    assert first - joined[0] < 30 + 60  # 30 s to be used; the node itself takes its time to start


def test_without_authentication_or_cluster_it_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ValueError, match="token authentication is switched off"):
        RayCluster(MakeFaulty(tmp_path))
    with pytest.raises(ValueError, match="workers=0"):
        RayCluster(MakeFaulty(tmp_path), workers=0)
