"""Does the search hold at the paper's scale? 16,384 trials, 1,000 in flight, on a clock that only counts.

A child answers at once, with a score of its PatternSet; how long it *would* have trained is drawn at random,
and a simulated clock puts the outcomes in order. Everything else is real: controller, learner, queues, ledger,
log and TensorBoard events.

- **Scale.** Durations are uniform between 20 and 60 minutes. Reported: wall-clock time; what ledger, queues and
  decoding cost a trial, that is the whole loop less searcher and TensorBoard; the process' resident memory after
  the first 1,000 trials and at the end, as it is and the peak so far (compilation).
- **Stragglers.** Half of the workers are 10 times slower. Throughput until the last trial is handed out, in
  trials per simulated hour, against what the workers can give: the sum of their speeds. Beside it, what a loop
  would give that waits for all workers before it hands out again.

Run: `python benchmarks/search_scale.py`, three minutes on two cores. Results: `benchmarks/search_scale.md`.
"""

import argparse
import heapq
import random
import resource
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from environment import environment

import tf_autodropout as tad
from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.core import Call, Observer, Outcome, Status, Trial
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.loop import Observers, search_loop
from tf_autodropout.search.results.log_file import log_file
from tf_autodropout.search.results.tensorboard import TensorBoard
from tf_autodropout.search.searchers import RandomSearch, Reinforce
from tf_autodropout.search.space import SearchSpace

BATCH = 16  # M
MARK = 1000  # trials after which memory is noted for the first time


class SimulatedWorkers:
    """An engine of workers on a simulated clock: each takes the oldest trial that waits.

    Args:
        minutes: Of each worker: how long a trial takes it, given a random number in [0, 1).
        seed: Seeds the durations.
    """

    def __init__(self, minutes: Sequence[Callable[[float], float]], seed: int = 0) -> None:
        self._minutes = minutes
        self._random = random.Random(seed)
        self._idle = list(range(len(minutes)))
        self.slots = len(minutes)
        self._waiting: deque[Call] = deque()
        self._training: list[tuple[float, int, int, PatternSet]] = []  # until when, number, worker
        self.now = 0.0
        self.last_handed_out = 0.0

    def submit(self, call: Call) -> None:
        """Queues a trial."""
        self._waiting.append(call)

    def next(self) -> Outcome:
        """Moves the clock to the next outcome."""
        while self._waiting and self._idle:
            call, worker = self._waiting.popleft(), self._idle.pop()
            until = self.now + self._minutes[worker](self._random.random())
            self.last_handed_out = self.now
            heapq.heappush(self._training, (until, call.number, worker, call.begin().patterns))
        self.now, number, worker, patterns = heapq.heappop(self._training)
        self._idle.append(worker)
        return Outcome(number, Status.FINISHED, _score(patterns), {"seconds": 0.0}, f"worker {worker}")

    def close(self) -> None:
        """Has nothing to close."""


def _score(patterns: PatternSet) -> float:
    """Some function of the patterns that can be learned, never below 0."""
    return 2 + sum(pattern.rate - 0.02 * pattern.stride for pattern in patterns.values())


class Stopwatch:
    """Counts the seconds spent in methods of an object, and those of the processor."""

    def __init__(self, target: Any, *methods: str) -> None:
        self.seconds = self.processor = 0.0
        for name in methods:
            setattr(target, name, self._timed(getattr(target, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begin, processor = time.perf_counter(), time.process_time()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - begin
                self.processor += time.process_time() - processor

        return call


class MemoryMark(Observer):
    """Notes the memory after the first `MARK` trials."""

    def __init__(self) -> None:
        self._trials, self.now, self.peak = 0, 0.0, 0.0

    def trial_finished(self, trial: Trial) -> None:
        """Counts."""
        self._trials += 1
        if self._trials == MARK:
            self.now, self.peak = memory()


def memory() -> tuple[float, float]:
    """Returns this process' resident memory, of now and the largest so far, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_scale(out: Path, trials: int, in_flight: int) -> dict[str, float]:
    """Runs the whole search once; returns the figures of the table."""
    space = SearchSpace(tad.sites(tad.models.transformer_lm(1000, 32, hidden_dim=128)).as_sites())
    searcher, config = Reinforce(space, 0), {"task": {"name": "simulated"}}
    workers = SimulatedWorkers([lambda u: 20 + 40 * u] * in_flight)
    ledger = Ledger(out, config)
    events, mark = TensorBoard(out / "tensorboard", space), MemoryMark()
    learning = Stopwatch(searcher, "suggest", "update", "state", "restore")
    writing = Stopwatch(events, "trial_finished", "updated")
    begin, processor = time.perf_counter(), time.process_time()
    with log_file(out):
        search_loop(searcher, ledger, workers, space.decode, trials, in_flight, BATCH, Observers([events, mark]))
    seconds, (now, peak) = time.perf_counter() - begin, memory()
    processor = time.process_time() - processor
    assert ledger.counts() == {Status.FINISHED: trials}
    ledger.close()
    own = seconds - learning.seconds - writing.seconds
    own_processor = processor - learning.processor - writing.processor
    begin = time.perf_counter()
    ledger = Ledger(out, config)
    search_loop(searcher, ledger, workers, space.decode, trials, in_flight, BATCH)
    resumed = time.perf_counter() - begin
    ledger.close()
    return {
        "trials": trials,
        "in flight (C)": in_flight,
        "wall-clock time, s": round(seconds, 1),
        "processor time, s": round(processor, 1),
        "of the wall-clock time searcher: samples, updates, state, s": round(learning.seconds, 1),
        "of the wall-clock time TensorBoard, s": round(writing.seconds, 1),
        "the rest (ledger, queues, decoding, log), ms a trial": round(1000 * own / trials, 2),
        "of the rest processor time, ms a trial": round(1000 * own_processor / trials, 2),
        f"memory after {MARK:,} trials, MiB": round(mark.now),
        "memory at the end, MiB": round(now),
        f"peak memory until {MARK:,} trials, MiB": round(mark.peak),
        "peak memory until the end, MiB": round(peak),
        "ledger, MiB": round((out / "ledger.sqlite").stat().st_size / 2**20),
        "taking up the finished run, s": round(resumed, 1),
    }


def measure_stragglers(out: Path, trials: int, workers: int) -> dict[str, float]:
    """Returns throughputs in trials per simulated hour, half of the workers 10 times slower."""
    space = SearchSpace(tad.sites(tad.models.transformer_lm(1000, 32, hidden_dim=128)).as_sites())
    minutes = [(lambda u: 4.0)] * (workers // 2) + [(lambda u: 40.0)] * (workers - workers // 2)
    engine = SimulatedWorkers(minutes)
    ledger = Ledger(out, {"task": {"name": "simulated"}})
    # One trial more than workers: a worker that is done finds the next one waiting.
    search_loop(RandomSearch(space, 0), ledger, engine, space.decode, trials, workers + 1, BATCH)
    ledger.close()
    finished = trials - workers  # by the time that the last one was handed out
    return {
        "what the workers can give": 60 * sum(1 / duration(0) for duration in minutes),
        "this loop": 60 * finished / engine.last_handed_out,
        "a loop that waits for all of its workers": 60 * workers / max(duration(0) for duration in minutes),
    }


def main() -> None:
    """Prints the report as Markdown and writes it."""
    parser = argparse.ArgumentParser(description="The search at the paper's scale, on a simulated clock.")
    parser.add_argument("--trials", type=int, default=16_384)
    parser.add_argument("--in-flight", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=64, help="of the stragglers' measurement")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "search_scale")
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    scale = measure_scale(options.out / "scale", options.trials, options.in_flight)
    stragglers = measure_stragglers(options.out / "stragglers", 4096, options.workers)
    share = stragglers["this loop"] / stragglers["what the workers can give"]
    lines = [
        "# The search at scale",
        "",
        "```sh",
        "python benchmarks/search_scale.py",
        "```",
        "",
        "What is measured, and how: the docstring of `search_scale.py`.",
        "",
        environment(),
        "",
        f"| REINFORCE, 35 tokens, M = {BATCH} | |",
        "|---|---:|",
        *(f"| {name} | {value:,} |" for name, value in scale.items()),
        "",
        f"| {options.workers} workers, half of them 10 times slower | trials an hour |",
        "|---|---:|",
        *(f"| {name} | {value:.1f} |" for name, value in stragglers.items()),
        "",
        f"This loop gives {share:.1%} of what the workers can give.",
    ]
    write_text(options.table, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
