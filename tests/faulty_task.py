"""A task that answers at once, or fails in the way that a file tells: for engines, whose workers import it.

It knows no TensorFlow, so that a worker starts in a second.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_autodropout.patterns import PatternSet, Site, TransformerPattern
from tf_autodropout.search.core import Opponent, Result
from tf_autodropout.search.space import SearchSpace


@dataclass(frozen=True)
class MakeFaulty:
    """Picklable maker of a `FaultyTask`."""

    directory: Path

    def __call__(self) -> "FaultyTask":
        return FaultyTask(self.directory)


class FaultyTask:
    """Does once what `directory/fault` says, then answers; leaves a line for each training."""

    name, score, lower_is_better = "faulty", "test points", False
    space = SearchSpace((Site("first", TransformerPattern, (8, 4), "first", "all"),))

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def train(self, patterns: PatternSet, seed: int) -> Result:
        with (self._directory / "trained").open("a") as lines:
            lines.write(f"{seed} {os.getpid()}\n")
        fault = self._take_fault()
        if fault == "raise":
            raise RuntimeError("a passing fault")
        if fault == "memory":
            np.empty(1 << 60, np.uint8)
        if fault == "diverge":
            raise FloatingPointError("training loss is nan")
        if fault == "nan":
            return Result(float("nan"))
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "exit":
            raise SystemExit(3)
        if fault == "hang":
            time.sleep(3600)
        if fault == "slow":
            time.sleep(0.2)
        return Result(sum(pattern.rate for pattern in patterns.values()), {"seed": seed})

    def test(self, opponent: Opponent, seed: int) -> Result:
        reward = self.train(opponent.patterns, seed).reward
        return Result(reward, {"valid": reward, "test": reward})

    def opponents(self) -> list[Opponent]:
        return [Opponent("no dropout", PatternSet({}))]

    def describe(self) -> dict[str, object]:
        return {"name": self.name}

    def _take_fault(self) -> str:
        # A rename succeeds in one process only.
        for path in sorted(self._directory.glob("fault-*")):
            taken = path.with_name(f"taken-{path.name}-{os.getpid()}")
            try:
                path.rename(taken)
            except FileNotFoundError:
                continue
            return taken.read_text()
        return ""
