"""The faults of a child, as one table; and a search that meets them, on any engine.

It knows no TensorFlow, so that a worker starts in a second. `python -m tests.faults DIRECTORY FAULT` is a search of
three trials in its own process, the second with the fault.
"""

import contextlib
import multiprocessing
import os
import re
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.faulty_task import FaultyTask
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import Engine, Result, Status
from tf_autodropout.search.engines import InProcess
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.loop import search_loop, trial_seed
from tf_autodropout.search.searchers.random_search import RandomSearch

FAILED, INVALID, FINISHED = Status.FAILED, Status.INVALID, Status.FINISHED
DEATH = "the process (was killed|died|ended|has closed)|worker process has died|TERM|killed by `ray.kill`"
LATE = "no result within the time limit"


def raises(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


def returns(answer: Any) -> Callable[[], Any]:
    return lambda: answer


def metric(value: Any, name: Any = "own") -> Callable[[], Any]:
    return lambda: Result(1.0, {name: value})


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Unpicklable(Exception):
    def __init__(self, one: int, other: int) -> None:
        super().__init__("only one argument")


class Own(BaseException):
    pass


class Bad:
    """Raises at whatever is done with it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"bad {name}")

    def __repr__(self) -> str:
        raise RuntimeError("bad repr")


def nested() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def forks(copy: Callable[[], Any] = lambda: Result(77.0)) -> Callable[[], Any]:
    """The child forks, and the copy does something else."""

    def act() -> Any:
        return copy() if os.fork() == 0 else Result(1.0)

    return act


def slowly(answer: Any) -> Callable[[], Any]:
    def act() -> Any:
        time.sleep(1.5)
        return answer

    return act


def directory_removed() -> Result:
    directory = Path("here").resolve()
    directory.mkdir(exist_ok=True)
    os.chdir(directory)
    directory.rmdir()
    return Result(1.0)


def recursion_limit() -> Result:
    for limit in range(30, 1000):
        with contextlib.suppress(RecursionError):
            sys.setrecursionlimit(limit)
            return Result(1.0)
    raise AssertionError


def subprocess_left() -> Result:
    os.spawnlp(os.P_NOWAIT, "sleep", "sleep", LONG)
    return Result(1.0)


def multiprocessing_inside() -> Result:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return Result(float(pool.map(abs, [-1])[0]))


def thread_left() -> Result:
    threading.Thread(target=time.sleep, args=[3600], daemon=True).start()
    return Result(1.0)


def dies_of(number: int) -> Callable[[], Any]:
    def act() -> None:
        os.kill(os.getpid(), number)
        time.sleep(3600)

    return act


def holds_the_lock() -> None:
    re.match("(a+)+$", "a" * 60 + "b")


def killed_with_a_child() -> None:
    if os.fork() == 0:  # holds all that this process has open
        time.sleep(3600)
    os.spawnlp(os.P_NOWAIT, "sleep", "sleep", LONG)
    os.kill(os.getpid(), signal.SIGKILL)


def stops_after_its_answer() -> Result:
    os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", f"sleep 0.3; kill -STOP {os.getpid()}")
    return Result(1.0)


def sockets() -> list[int]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith("socket:"):
                found.append(int(link.name))
    return found


def writes(message: bytes, then: Callable[[], Any]) -> Callable[[], Any]:
    """Writes into the connection with the search, where there is one alone."""

    def act() -> Any:
        if len(own := sockets()) == 1:
            os.write(own[0], message)
        return then()

    return act


def closes_everything() -> Result:
    os.closerange(3, 4096)
    return Result(1.0)


ANSWER = b'[0, 1, "finished", 77.0, {}]'
NOBODY = struct.pack("!Q", len(ANSWER)) + ANSWER  # to no call
LONG = "3601"  # seconds of a subprocess, by which tests know it


@dataclass(frozen=True)
class Fault:
    """What a child does, and what is to come of its trial.

    Args:
        act: Does it; returns what the task returns.
        status: Of the trial in the end.
        reason: Regular expression for the reason of its last failure; empty if it has none.
        takes: What it takes along, if anything: `"process"`, or `"time"`: all up to the time limit. Such a fault is one
            of the first attempt only.
    """

    act: Callable[[], Any]
    status: Status
    reason: str = ""
    takes: str = ""


FAULTS: dict[str, Fault] = {
    # What `train` returns.
    "nothing": Fault(returns(None), FAILED, "return a Result. Received: None"),
    "a float": Fault(returns(0.5), FAILED, "return a Result. Received: 0.5"),
    "a text": Fault(returns("0.5"), FAILED, "return a Result. Received: '0.5'"),
    "an array": Fault(returns(np.ones(3)), FAILED, "return a Result. Received: array"),
    "something bad": Fault(Bad, FAILED, "RuntimeError: bad __class__"),
    "reward nothing": Fault(returns(Result(None)), FAILED, "the reward to be a number. Received: None"),  # type: ignore
    "reward a text": Fault(returns(Result("0.5")), FAILED, "the reward to be a number. Received: '0.5'"),  # type: ignore
    "reward an array": Fault(returns(Result(np.ones(2))), FAILED, "the reward to be a number"),  # type: ignore
    "reward complex": Fault(returns(Result(1j)), FAILED, "the reward to be a number"),  # type: ignore
    "reward huge": Fault(returns(Result(10**400)), FAILED, "Received: an integer of 1329 bits"),
    "reward negative": Fault(returns(Result(-1.0)), FAILED, "Expected a reward >= 0"),
    "reward nan": Fault(returns(Result(float("nan"))), INVALID, "reward is nan"),
    "reward infinite": Fault(returns(Result(float("inf"))), INVALID, "reward is inf"),
    "reward of NumPy": Fault(returns(Result(np.float32(0.5))), FINISHED),  # type: ignore
    "stopped without rungs": Fault(returns(Result(1.0, {}, stopped=True)), FAILED, "to have been given rungs"),
    "metrics nothing": Fault(returns(Result(1.0, None)), FAILED, "Expected metrics by name"),  # type: ignore
    "metrics a list": Fault(returns(Result(1.0, [1])), FAILED, "Expected metrics by name"),  # type: ignore
    "a set": Fault(metric({1}), FAILED, r"JSON types in metric 'own'. Received: \{1\} \(set\)"),
    "bytes": Fault(metric(b"1"), FAILED, r"JSON types in metric 'own'. Received: b'1' \(bytes\)"),
    "integer keys": Fault(metric(1.0, name=3), FAILED, "texts as names in metrics. Received: 3"),
    "integer keys inside": Fault(metric({3: 1.0}), FAILED, "texts as names in metric 'own'"),
    "a huge integer": Fault(metric(10**5000), FAILED, "an integer of 16610 bits"),
    "nested metrics": Fault(lambda: metric(nested())(), FAILED, "nested at most"),
    "cyclic metrics": Fault(lambda: metric(cyclic())(), FAILED, "nested at most"),
    "a lambda": Fault(metric(raises), FAILED, "JSON types in metric 'own'"),
    "a lock": Fault(lambda: metric(threading.Lock())(), FAILED, "JSON types in metric 'own'"),
    "something bad inside": Fault(lambda: metric(Bad())(), FAILED, "RuntimeError: bad"),
    "large metrics": Fault(lambda: metric("x" * 50_000_000)(), FAILED, "at most 16 MiB"),
    "a large array": Fault(lambda: metric(np.zeros(10_000_000))(), FAILED, "at most 16 MiB"),
    "surrogates": Fault(metric("\udc80", name="\udc81"), FINISHED),
    "metric nan": Fault(metric(float("nan")), FINISHED),
    "arrays": Fault(metric({"a": np.arange(3), "b": (1, np.bool_(True))}), FINISHED),
    "metric 'error'": Fault(metric({1: 2}, name="error"), FAILED, "texts as names in metric 'error'"),
    "metric 'error' a number": Fault(metric(0.1, name="error"), FAILED, "Expected no metric 'error'"),
    "a learning curve that is none": Fault(metric("down", name="train_loss"), FAILED, "a list as metric 'train_loss'"),
    "rewards of no rung": Fault(metric([1.0], name="rung_rewards"), FAILED, "'rung_rewards' as rungs"),
    "stopped nowhere": Fault(metric("early", name="stopped_at"), FAILED, "'stopped_at' to be a number"),
    # What it raises.
    "error": Fault(raises(RuntimeError("a fault")), FAILED, "^RuntimeError: a fault$"),
    "no memory": Fault(lambda: np.empty(1 << 60, np.uint8), FAILED, "MemoryError: Unable to allocate 1.00 EiB"),
    "divergence": Fault(raises(FloatingPointError("loss is nan")), INVALID, "^loss is nan$"),
    "recursion": Fault(lambda: FAULTS["recursion"].act(), FAILED, "RecursionError"),
    "error with surrogates": Fault(
        raises(ValueError("\udc80 \x1b]52;\x07\0")), FAILED, r"ValueError: \\udc80 \\x1b\]52"
    ),
    "error of 50 MB": Fault(
        lambda: raises(ValueError("x" * 50_000_000))(), FAILED, r"ValueError: x{1900,2000} \.\.\.$"
    ),
    "error without text": Fault(raises(Mute()), FAILED, "Mute: its text raises ValueError"),
    "error that cannot be copied": Fault(raises(Unpicklable(1, 2)), FAILED, "Unpicklable: only one argument"),
    "exit": Fault(raises(SystemExit(0)), FAILED, "SystemExit: 0"),
    "exit 3": Fault(raises(SystemExit(3)), FAILED, "SystemExit: 3"),
    "interrupt": Fault(raises(KeyboardInterrupt("of its own")), FAILED, "KeyboardInterrupt: of its own"),
    "generator's exit": Fault(raises(GeneratorExit()), FAILED, "GeneratorExit"),
    "an error of its own": Fault(raises(Own("mine")), FAILED, "Own: mine"),
    # What it leaves.
    "fork": Fault(forks(), FINISHED),
    "fork that answers late": Fault(forks(slowly(Result(77.0))), FINISHED),
    "fork that raises": Fault(forks(raises(RuntimeError("in the copy"))), FINISHED),
    "fork that exits": Fault(forks(raises(SystemExit(0))), FINISHED),
    "a directory that is gone": Fault(directory_removed, FINISHED),
    "a low recursion limit": Fault(recursion_limit, FINISHED),
    "a subprocess": Fault(subprocess_left, FINISHED),
    "multiprocessing": Fault(multiprocessing_inside, FINISHED),
    "a thread": Fault(thread_left, FINISHED),
    # What takes the process along.
    "killed": Fault(dies_of(signal.SIGKILL), FINISHED, DEATH, "process"),
    "terminated": Fault(dies_of(signal.SIGTERM), FINISHED, DEATH, "process"),
    "segmentation fault": Fault(dies_of(signal.SIGSEGV), FINISHED, DEATH, "process"),
    "abort": Fault(os.abort, FINISHED, DEATH, "process"),
    "a signal without name": Fault(dies_of(signal.SIGRTMIN + 1), FINISHED, DEATH, "process"),
    "end with 0": Fault(lambda: os._exit(0), FINISHED, DEATH, "process"),
    "end with 3": Fault(lambda: os._exit(3), FINISHED, DEATH, "process"),
    "killed, its child lives": Fault(killed_with_a_child, FINISHED, DEATH, "process"),
    "closed files": Fault(closes_everything, FINISHED, f"{DEATH}|{LATE}", "process"),
    "noise": Fault(writes(b"\xff" * 64, returns(Result(1.0))), FINISHED, "", "process"),
    "an answer of nobody": Fault(writes(NOBODY, returns(Result(1.0))), FINISHED, "", "process"),
    # What takes time.
    "hang": Fault(lambda: time.sleep(3600), FINISHED, LATE, "time"),
    "hang with Python's lock": Fault(holds_the_lock, FINISHED, LATE, "time"),
    "stopped": Fault(dies_of(signal.SIGSTOP), FINISHED, LATE, "time"),
    "stopped in mid-answer": Fault(
        writes(struct.pack("!Q", 90) + b"[1", dies_of(signal.SIGSTOP)), FINISHED, LATE, "time"
    ),
    "stopped after its answer": Fault(stops_after_its_answer, FINISHED, "", "time"),
}


@dataclass(frozen=True)
class MakeTask:
    """Picklable maker of a task whose trial number i has the i-th fault; an empty name is none.

    Args:
        directory: For what is noted of trials.
        faults: Names in `FAULTS`.
        search_seed: Seed of the search.
    """

    directory: Path
    faults: tuple[str, ...]
    search_seed: int = 0

    def __call__(self) -> "TaskWithFaults":
        seeds = (trial_seed(self.search_seed, number) for number in range(1, 1 + len(self.faults)))
        return TaskWithFaults(self.directory, dict(zip(seeds, self.faults, strict=True)))


class TaskWithFaults(FaultyTask):
    """Has the fault of a seed, on each attempt or on the first alone."""

    def __init__(self, directory: Path, faults: dict[int, str]) -> None:
        super().__init__(directory)
        self._faults = faults

    def train(self, patterns: PatternSet, seed: int) -> Result:
        if (name := self._faults.get(seed)) and self._meets(FAULTS[name], seed):
            return FAULTS[name].act()
        return super().train(patterns, seed)

    def _meets(self, fault: Fault, seed: int) -> bool:
        try:
            (self._directory / f"met-{seed}").touch(exist_ok=False)
        except FileExistsError:
            return not fault.takes
        return True


def search(engine: Engine, directory: Path, trials: int) -> list[dict[str, Any]]:
    """Runs a search to its end, or goes on with one; returns the ledger's rows."""
    ledger = Ledger(directory / "run", {})
    try:
        search_loop(RandomSearch(FaultyTask.space, 0), ledger, engine, FaultyTask.space.decode, trials)
        return list(ledger.rows())
    finally:
        ledger.close()
        engine.close()


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Waits for a condition; returns whether it holds."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def check(row: dict[str, Any], fault: Fault) -> None:
    """A trial has ended as it should."""
    assert row["status"] == fault.status
    assert (row["reward"] is None) == (fault.status is FAILED)
    assert row["reward"] != 77.0
    if fault.reason:
        assert re.search(fault.reason, row["error"])
    elif not fault.takes:
        assert row["error"] is None
    if fault.status is FAILED:
        assert row["attempts"] == 2


def main(arguments: Sequence[str]) -> None:
    directory, name = Path(arguments[0]), arguments[1]
    search(InProcess(MakeTask(directory, ("", name))()), directory, 3)


if __name__ == "__main__":
    main(sys.argv[1:])
