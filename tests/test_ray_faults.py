"""The Ray engine where something fails for good: every fault of the matrix, starts, places, tokens, killed searches."""

import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

# Both are read once, when Ray is imported.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
pytest.importorskip("ray", reason="Ray is not installed: pip install 'tf_autodropout[ray]'")
import ray

from tests.faults import FAULTS, MakeTask, check, search, within
from tests.faulty_task import FaultyTask, MakeFaulty
from tests.test_engines import call, outcomes
from tests.test_liveness import STARTS, begin, check_start, marked
from tests.test_ray_cluster import ROOT, Node
from tf_autodropout.search.core import Status
from tf_autodropout.search.engines import ray_cluster, worker_pool
from tf_autodropout.search.engines.ray_cluster import RayCluster

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two processes for all tests here: an engine that finds one leaves it running."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def rows(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    directory = tmp_path_factory.mktemp("ray")
    names = tuple(FAULTS)
    engine = RayCluster(MakeTask(directory, names), time_limit=15)
    return dict(zip(names, search(engine, directory, len(names)), strict=True))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault(rows: dict[str, dict], name: str) -> None:
    check(rows[name], FAULTS[name])


@pytest.mark.parametrize("name", STARTS)
def test_actors_that_do_not_start_end_the_search_with_the_reason(
    cluster: None, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check_start(RayCluster, name, monkeypatch, caplog)
    assert len(caplog.records) < 10


def test_a_module_that_the_machines_lack_ends_the_search_with_its_name(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "REST_SECONDS", 0.1)
    module = types.ModuleType("only_here")
    exec("def make():\n    raise AssertionError", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    engine = RayCluster(module.make, workers=2)
    engine.submit(call(1))
    try:
        with pytest.raises(RuntimeError, match="^The workers do not start: ModuleNotFoundError: .* 'only_here'$"):
            engine.next()
    finally:
        engine.close()


def test_three_equal_errors_in_a_row_end_a_search_with_that_error(cluster: None, tmp_path: Path) -> None:
    engine = RayCluster(MakeTask(tmp_path, ("exit",) * 20), workers=1)
    with pytest.raises(RuntimeError, match="^3 trials in a row failed with the same error: SystemExit: 0$"):
        search(engine, tmp_path, 20)


def test_without_a_place_a_search_waits_and_then_ends(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "REST_SECONDS", 0.1)
    monkeypatch.setattr(ray_cluster, "_POLL_SECONDS", 0.2)
    holder = ray.remote(FaultyTask).options(num_cpus=2).remote(tmp_path)  # another program's
    ray.get(holder.describe.remote())
    monkeypatch.setattr(ray_cluster, "_PLACE_SECONDS", 1.0)
    engine = RayCluster(MakeFaulty(tmp_path))
    engine.submit(call(1))
    try:
        with pytest.raises(
            RuntimeError, match="^The workers do not start: no machine has given it a place within 1 s$"
        ):
            engine.next()
    finally:
        engine.close()
    monkeypatch.setattr(ray_cluster, "_PLACE_SECONDS", 60.0)
    engine = RayCluster(MakeFaulty(tmp_path))
    engine._look()
    ray.kill(holder)
    try:
        assert outcomes(engine, 1)[0].status is Status.FINISHED
    finally:
        engine.close()


CONNECT = """
from pathlib import Path
from tests.faulty_task import MakeFaulty
from tf_autodropout.search.engines.ray_cluster import RayCluster
try:
    RayCluster(MakeFaulty(Path(".")), address="127.0.0.1:6400")
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("of_the_cluster", "own", "said"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, {}, "asks for no token: everybody who reaches it may run code on it"),
        ({}, {"RAY_AUTH_TOKEN": "f" * 32}, "Expected that of a Ray cluster. Received: address='127.0.0.1:6400'"),
    ],
    ids=["a cluster without tokens", "another token"],
)
def test_a_cluster_of_another_token_or_of_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_the_cluster: dict[str, str], own: dict[str, str], said: str
) -> None:
    with monkeypatch.context() as patch:
        for name, value in of_the_cluster.items():
            patch.setenv(name, value)
        head = Node("127.0.0.1", tmp_path / "head.log", head=True)
    try:
        assert within(60, lambda: "Ray runtime started" in (tmp_path / "head.log").read_text())
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])} | own
        done = subprocess.run(
            [sys.executable, "-c", CONNECT], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
    finally:
        head.kill()
    assert said in done.stdout


def test_a_search_that_is_killed_leaves_no_actor_and_no_file(tmp_path: Path) -> None:
    driver = begin(tmp_path, "ray")
    driver.kill()
    driver.wait()

    def left() -> list[str]:  # Ray's own agents look for their head for a minute
        return [command for command in marked(str(tmp_path)) if not command.startswith(AGENTS)]

    assert within(20, lambda: not left()), left()
    assert list((tmp_path / "temporary").glob("tf_autodropout-*")) == []
