"""How long the controller takes: 16 PatternSets at 25 sites (200 tokens) to sample, and one update.

Run: `python benchmarks/controller.py`, half a minute. Results: `benchmarks/controller.md`.
"""

import statistics
import time
from collections.abc import Callable

from environment import environment

import tf_autodropout as tad
from tf_autodropout.search.searchers.controller import Controller
from tf_autodropout.search.searchers.learner import Learner
from tf_autodropout.search.space import SearchSpace

REPEATS = 20


def milliseconds(call: Callable[[int], object]) -> tuple[float, float]:
    """Returns the first call's time, compilation included, and the median of the later ones."""
    times = []
    for index in range(REPEATS + 1):
        start = time.perf_counter()
        call(index)
        times.append(1000 * (time.perf_counter() - start))
    return times[0], statistics.median(times[1:])


def main() -> None:
    """Prints the table as Markdown."""
    space = SearchSpace(tad.sites(tad.models.wide_resnet(28, 10)).as_sites())
    controller = Controller(space.vocabulary_sizes)
    learner = Learner(controller)
    tokens, log_prob = (x.numpy() for x in controller.sample(16, (1, 0)))
    rewards = [index / 16 for index in range(16)]
    fresh = Controller(space.vocabulary_sizes)
    rows = {
        "sample": milliseconds(lambda index: fresh.sample(16, (0, index))[0].numpy()),
        "update": milliseconds(lambda index: learner.update(tokens, log_prob, rewards)),
    }
    print(f"{environment()} {len(space.decisions)} tokens at {len(space.sites)} sites, 16 PatternSets.\n")
    print(f"| | median of {REPEATS} | first call, with compilation |\n|---|---:|---:|")
    for name, (first, median) in rows.items():
        print(f"| {name} | {median:.0f} ms | {first:.0f} ms |")


if __name__ == "__main__":
    main()
