"""What does a rung tell of the final reward, and what does halving save? On random PatternSets of `pydoc`.

Every child is trained to its end and judged on the way, at the rungs of `Halving`. Then the search is replayed on
the recorded rewards, in 500 random orders: how many of the training steps are taken, how often the best trial is
kept, what the best kept one is worth, and how far the expected rewards of the ended ones are from those that they
had in truth. The spread between seeds, beside it, is that of four PatternSets on two seeds each.

    python benchmarks/halving.py --out runs/halving        # about 8 minutes on 2 cores

A stopped benchmark goes on. Results: `benchmarks/halving.md`.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from environment import environment

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.core import RUNG_REWARDS, Rung, Status, Suggestion, Training, Trial
from tf_autodropout.search.engines import WorkerProcesses
from tf_autodropout.search.halving import Halving
from tf_autodropout.search.results.evaluation import work_through
from tf_autodropout.search.tasks.pydoc import pydoc_task
from tf_autodropout.search.tasks.registry import make_task

TRIALS, TWICE, ORDERS = 64, 4, 500


def record(out: Path) -> list[dict[str, list[float]]]:
    """Trains what `out` does not hold; returns the rewards at the rungs, the final one last, by trial and seed."""
    out.mkdir(parents=True, exist_ok=True)
    space, rng = pydoc_task().space, np.random.default_rng(0)
    sets = [space.decode([int(rng.integers(size)) for size in space.vocabulary_sizes]) for _ in range(TRIALS)]
    rungs = tuple(Rung(rung.part) for rung in Halving(0).rungs(0))
    jobs = [(number, seed) for number in range(TRIALS) for seed in ((0, 1) if number < TWICE else (0,))]
    paths = [out / f"{number}-{seed}.json" for number, seed in jobs]
    missing = [place for place, path in enumerate(paths) if not path.exists()]
    workers = WorkerProcesses(partial(make_task, "pydoc"))
    try:
        works = [Training(sets[jobs[place][0]], jobs[place][1], rungs) for place in missing]
        for index, outcome in work_through(workers, works):
            if outcome.status is not Status.FINISHED:
                raise RuntimeError(outcome.metrics["error"])
            rewards = [*outcome.metrics[RUNG_REWARDS], outcome.reward]
            write_text(paths[missing[index]], json.dumps(rewards))
    finally:
        workers.close()
    trials: list[dict[str, list[float]]] = [{} for _ in range(TRIALS)]
    for (number, seed), path in zip(jobs, paths, strict=True):
        trials[number][str(seed)] = json.loads(path.read_text())
    return trials


def trial(number: int, rewards: Sequence[float], final: float, status: Status) -> Trial:
    """Returns a trial as `Halving` takes it up."""
    return Trial(number, Suggestion((), 0.0, 0), PatternSet({}), status, 1, final, {RUNG_REWARDS: list(rewards)})


def replay(rewards: np.ndarray, order: np.ndarray) -> tuple[float, bool, float, list[float]]:
    """Returns share of the steps, whether the best was kept, best kept reward, errors of expectation."""
    halving, steps, kept, errors = Halving(int(order[0])), 0.0, [], []
    for number, place in enumerate(order, start=1):
        *seen, final = rewards[place]
        for index, rung in enumerate(halving.rungs(number)):
            if seen[index] < rung.threshold:
                expected = rung.expected(seen[index])
                errors.append(expected - final)
                halving.add(trial(number, seen[: index + 1], expected, Status.STOPPED))
                steps += rung.part
                break
        else:
            kept.append(final)
            halving.add(trial(number, seen, final, Status.FINISHED))
            steps += 1
    return steps / len(order), max(kept) == rewards[:, -1].max(), max(kept), errors


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/halving"))
    out = parser.parse_args().out
    trials = record(out)
    rewards = np.array([one["0"] for one in trials])
    pairs = [(one["0"][-1], one["1"][-1]) for one in trials[:TWICE]]
    noise = (statistics.fmean((a - b) ** 2 for a, b in pairs) / 2) ** 0.5
    halving = Halving(0)
    for number, (*seen, final) in enumerate(rewards.tolist(), start=1):
        halving.add(trial(number, seen, final, Status.FINISHED))
    lines = [
        "# Successive halving on `pydoc`",
        "",
        "```sh",
        "python benchmarks/halving.py",
        "```",
        "",
        "What is measured, and how: the docstring of `halving.py`.",
        "",
        f"{environment()} {TRIALS} random PatternSets; final rewards {rewards[:, -1].mean():.3f} ± "
        f"{rewards[:, -1].std():.3f}, between two seeds of one PatternSet ± {noise:.3f}.",
        "",
        "| rung at | correlation with the final reward | slope | error of the line, ± |",
        "|---|---:|---:|---:|",
    ]
    for place, rung in enumerate(halving.rungs(0)):
        fit = halving.fit(place)
        error = (rewards[:, -1] - fit.intercept - fit.slope * rewards[:, place]).std()
        lines.append(f"| {rung.part:.0%} of the steps | {fit.correlation:.2f} | {fit.slope:.2f} | {error:.3f} |")
    rng = np.random.default_rng(0)
    replays = [replay(rewards, rng.permutation(TRIALS)) for _ in range(ORDERS)]
    steps, hits, best = (np.array([one[index] for one in replays], float) for index in range(3))
    errors = np.concatenate([one[3] for one in replays])
    lines += [
        "",
        f"| {ORDERS} replays of {TRIALS} trials | |",
        "|---|---:|",
        f"| share of the training steps that is taken | {steps.mean():.2f} |",
        f"| the best trial is trained to its end | {hits.mean():.0%} |",
        f"| best reward of a trial trained to its end; of all | {best.mean():.3f}; {rewards[:, -1].max():.3f} |",
        f"| expected less true reward of ended trials, mean ± deviation | {errors.mean():+.3f} ± {errors.std():.3f} |",
    ]
    write_text(Path(__file__).with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
