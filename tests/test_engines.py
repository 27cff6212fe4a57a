"""Engines: the same faults end alike in all of them; processes die for real."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.faulty_task import FaultyTask, MakeFaulty
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.answers import checked
from tf_autodropout.search.core import Call, Opponent, Outcome, Scoring, Status, Training
from tf_autodropout.search.engines import Engine, InProcess, WorkerProcesses
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.engines.slots import machine_slots
from tf_autodropout.search.loop import trial_seed
from tf_autodropout.search.results.evaluation import work_through

ROOT = Path(__file__).parents[1]
PATTERNS = FaultyTask.space.decode([0] * len(FaultyTask.space.vocabulary_sizes))


def call(number: int, begun: Callable[[int], None] = lambda number: None) -> Call:
    """The call of a trial, as the loop makes it."""

    def begin() -> Training:
        begun(number)
        return Training(PATTERNS, trial_seed(3, number))

    return Call(number, f"trial {number}", begin)


def plan(directory: Path, faults: Sequence[str]) -> None:
    for index, fault in enumerate(faults):
        (directory / f"fault-{index:02}").write_text(fault)


def outcomes(engine: Engine, count: int) -> list[Outcome]:
    """All outcomes of trials 1 ... count; every trial starts once, before its outcome."""
    started: list[int] = []
    for number in range(1, count + 1):
        engine.submit(call(number, started.append))
    found = []
    for _ in range(count):
        found.append(checked(engine.next()))
        assert found[-1].number in started
    assert sorted(started) == list(range(1, count + 1))
    assert sorted(outcome.number for outcome in found) == list(range(1, count + 1))
    return found


def after(engine: Engine, *works: Training | Scoring) -> list[Outcome]:
    """The outcomes of works after a search, in the order of the works; each begins once or, after a fault, twice."""
    started: list[int] = []
    found = dict(work_through(engine, works, started.append))
    assert set(started) == set(found) == set(range(len(works)))
    return [found[index] for index in sorted(found)]


def reasons(found: Sequence[Outcome]) -> dict[str, int]:
    """How often a trial ended in each way."""
    said = [f"{one.status} {one.metrics.get('error', '')}".split(" for an array")[0].strip() for one in found]
    return {reason: said.count(reason) for reason in said}


SOFT = {
    "failed RuntimeError: a passing fault": 1,
    "failed MemoryError: Unable to allocate 1.00 EiB": 1,
    "invalid training loss is nan": 1,
    "invalid reward is nan": 1,
}
HARD = {
    "failed the process was killed (SIGKILL), by hand or for lack of memory": 1,
    "failed the process died of SIGSEGV": 1,
    "failed SystemExit: 3": 1,
    "failed no result within the time limit of 5 s": 1,
}


def test_worker_processes_faults(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan(tmp_path, ["raise", "memory", "diverge", "nan", "kill", "segfault", "exit", "hang"])
    engine = WorkerProcesses(MakeFaulty(tmp_path), workers=2, time_limit=5)
    try:
        with caplog.at_level("INFO", "tf_autodropout.search"):
            found = outcomes(engine, 12)
    finally:
        engine.close()
    assert reasons(found) == SOFT | HARD | {"finished": 4}
    for one in found:
        assert one.worker.startswith(("worker 0 (process", "worker 1 (process"))
        if one.status is Status.FINISHED:  # a seed does not depend on where and when it is trained
            assert one.metrics["seed"] == trial_seed(3, one.number)
    killed = next(one for one in found if "SIGKILL" in str(one.metrics.get("error")))
    assert f"{killed.worker} ended in trial {killed.number}: the process was killed" in caplog.text
    assert caplog.text.count("another takes its place") == 3


def test_a_worker_that_dies_between_trials_costs_no_trial(tmp_path: Path) -> None:
    engine = WorkerProcesses(MakeFaulty(tmp_path), workers=1)
    try:
        (first,) = outcomes(engine, 1)
        pid = int(first.worker.split()[-1].rstrip(")"))
        os.kill(pid, signal.SIGKILL)
        engine._workers[0].process.wait()  # its main thread may be a zombie while other threads still end
        (second,) = outcomes(engine, 1)
        assert second.status is Status.FINISHED
        assert second.worker != first.worker
        # What follows a search is trained in a worker as well, and survives its death.
        plan(tmp_path, ["kill"])
        assert after(engine, Training(PATTERNS, 7))[0].metrics["seed"] == 7
        trained, tested = after(engine, Training(PATTERNS, 1), Scoring(Opponent("all", PATTERNS), 1))
        assert tested.metrics["test"] == trained.reward
        plan(tmp_path, ["diverge"])
        (outcome,) = after(engine, Training(PATTERNS, 7))
        assert (outcome.status, "nan" in outcome.metrics["error"]) == (Status.INVALID, True)
        plan(tmp_path, ["raise", "raise"])
        (outcome,) = after(engine, Scoring(Opponent("none", PatternSet({})), 7))
        assert (outcome.status, "a passing fault" in outcome.metrics["error"]) == (Status.FAILED, True)
    finally:
        engine.close()
    seen = {line.split()[1] for line in (tmp_path / "trained").read_text().splitlines()}
    assert str(os.getpid()) not in seen


def broken() -> FaultyTask:
    raise OSError("no data here")


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    return tmp_path


def test_slots_of_cores(devices: Path) -> None:
    assert [slot.cores for slot in machine_slots(None, devices)] == [(0,), (1,), (2,), (3,)]
    assert [slot.cores for slot in machine_slots(2, devices)] == [(0, 2), (1, 3)]
    assert [slot.cores for slot in machine_slots(5, devices)][4] == (0,)
    assert all(not slot.environment for slot in machine_slots(2, devices))
    with pytest.raises(ValueError, match="Expected an integer >= 1. Received: workers=0"):
        machine_slots(0, devices)


def test_slots_of_gpus(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl"):
        (devices / name).touch()
    visible = [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in machine_slots(None, devices)]
    assert visible == ["0", "1", "10"]
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in machine_slots(2, devices)] == ["0,10", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert len(machine_slots(None, devices)) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert len(machine_slots(None, devices)) == 4


def test_slots_of_tpu_chips(devices: Path) -> None:
    for number in range(4):
        (devices / f"accel{number}").touch()
    each = machine_slots(None, devices)
    assert [slot.environment["TPU_VISIBLE_CHIPS"] for slot in each] == ["0", "1", "2", "3"]
    assert {slot.environment["TPU_PROCESS_BOUNDS"] for slot in each} == {"1,1,1"}
    (whole,) = machine_slots(1, devices)
    assert "TPU_VISIBLE_CHIPS" not in whole.environment
    with pytest.raises(ValueError, match="Expected 1 or 4, the TPU chips"):
        machine_slots(3, devices)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"engine": "threads"}, "Expected one of in-process, processes, ray. Received: engine='threads'"),
        ({"strategy": "gpu"}, "Expected one of default, auto"),
        ({"precision": "float16"}, "Expected one of float32, bfloat16"),
        ({"workers": 2}, "need the engine"),
        ({"time_limit": 2}, "need the engine"),
        ({"engine": "processes", "address": "auto"}, "needs the engine 'ray'"),
        ({"engine": "processes", "strategy": "multiworker"}, "needs the engine 'in-process'"),
    ],
)
def test_bad_engine_configs_are_refused(arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        EngineConfig(**arguments)
    with pytest.raises(ValueError, match="time_limit=0"):
        WorkerProcesses(broken, time_limit=0)


def test_calls_after_a_search_use_all_workers(tmp_path: Path) -> None:
    engine = WorkerProcesses(MakeFaulty(tmp_path), workers=2)
    try:
        plan(tmp_path, ["slow"] * 6)
        found = after(engine, *(Training(PATTERNS, seed) for seed in range(6)))
    finally:
        engine.close()
    assert [outcome.metrics["seed"] for outcome in found] == list(range(6))
    workers = {line.split()[1] for line in (tmp_path / "trained").read_text().splitlines()}
    assert len(workers) == 2


def test_calls_in_this_process_come_in_order(tmp_path: Path) -> None:
    plan(tmp_path, ["diverge", "raise", "raise", "none", "none", "raise"])
    found = after(InProcess(FaultyTask(tmp_path)), *(Training(PATTERNS, seed) for seed in range(4)))
    # One that raises is tried once more, after the others: the second finishes so, the third does not.
    assert [outcome.status for outcome in found] == [Status.INVALID, Status.FINISHED, Status.FAILED, Status.FINISHED]


def test_a_search_that_trains_elsewhere_leaves_the_gpus_to_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    hidden: list[tuple[object, str]] = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda devices, kind: hidden.append((devices, kind)))
    EngineConfig("in-process").prepare()
    assert hidden == []
    EngineConfig("processes").prepare()
    assert hidden == [([], "GPU")]
