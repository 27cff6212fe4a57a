"""What does a cheaper trial tell of a full one? On random PatternSets of two tasks, `pydoc` and `digits`.

Each of 64 PatternSets is trained in full on two seeds, so that it is known how well one full training ranks the sets as
another one does: nothing cheaper can be expected to do better. Against the second full training stand

- the validation reward of the first one after a quarter and half of its steps: where `Halving` judges;
- short trials from one checkpoint, which has been trained under random patterns, another PatternSet at each step: each
  trial has the last half, quarter or tenth of the steps with patterns of its own. It is the paper's own future work.

Measured by Spearman's rank correlation, of all sets and of the better half by the second training, which is where a
search has to choose; intervals by bootstrap over the sets. Below it, successive halving replayed on the recorded
rewards of the first seed, in 500 random orders, with several rungs and shares that go on: how many of the training
steps are taken, how often the best trial is kept, what the best kept one is worth, and what the best of fewer trials is
worth that take as many steps, each to its end. How far the expected rewards of ended trials are from what they came to
is in the last column.

    python benchmarks/cheap_trials.py --out runs/cheap_trials        # about 25 minutes of one quiet core

A stopped benchmark goes on. Results: `benchmarks/cheap_trials.md`.

Reference:
    Pham and Le, AutoDropout, AAAI 2021, "Conclusion"; Li et al., A System for Massively Parallel Hyperparameter Tuning,
    MLSys 2020, Algorithm 2.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from environment import environment
from scipy.stats import spearmanr

from tf_autodropout.layers import assign_patterns
from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.document import write_text
from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.children.child_task import ChildTask
from tf_autodropout.search.core import RUNG_REWARDS, Opponent, Rung, Status, Suggestion, Trial
from tf_autodropout.search.halving import Halving
from tf_autodropout.search.tasks.registry import make_task

SETS, ORDERS, RESAMPLED = 64, 500, 2_000
PARTS = (0.5, 0.25, 0.1)  # of the steps, that a short trial has
RUNGS = (0.25, 0.5)  # of the steps, where full trainings are measured
HALVINGS = tuple((parts, keep) for parts in ((0.25, 0.5), (0.5,), (0.25,)) for keep in (0.5, 0.75))
STEPS_PER_CALL = 10  # so that a tenth of the steps are whole calls
FULL = ("full, seed 0", "full, seed 1")


class Checkpoints:
    """A child in the middle of a training under random patterns, as often as it is asked for.

    Args:
        task: Whose child it is.
    """

    def __init__(self, task: ChildTask) -> None:
        self._task = task
        self._kept: dict[float, list[np.ndarray]] = {}  # by the part that is to come
        self.child = task.child_for(Opponent.none())

    def continued(self, part: float, patterns: PatternSet) -> float:
        """Returns the reward of a training whose last `part` of the steps has these patterns."""
        child, done = self.child, round((1 - part) * self.child.steps)
        variables = [*child.model.variables, *child.optimizer.variables]
        if part not in self._kept:
            child.reset(PatternSet({}), site_seed(0, "checkpoint"))
            draws = self._task.space.draws(site_seed(0, "patterns of the checkpoint"))
            child.train(ends=lambda steps: steps >= done, drawn=draws.__next__)
            self._kept[part] = [variable.numpy() for variable in variables]
        child.reset(PatternSet({}), site_seed(0, "checkpoint"))
        for variable, value in zip(variables, self._kept[part], strict=True):
            variable.assign(value)
        assign_patterns(child.model, patterns)
        child.train(done=done)
        return self._task.reward(self._task.measure(child, "valid"))


def record(name: str, out: Path) -> dict[str, np.ndarray]:
    """Trains what `out` does not hold; returns the rewards of all sets by the kind of the training."""
    task = make_task(name)
    assert isinstance(task, ChildTask)
    task.child_for(Opponent.none())._steps_per_call = STEPS_PER_CALL
    checkpoints, rng = Checkpoints(task), np.random.default_rng(0)
    sizes = task.space.vocabulary_sizes
    sets = [task.space.decode([int(rng.integers(size)) for size in sizes]) for _ in range(SETS)]
    rungs = tuple(map(Rung, RUNGS))
    rows: dict[str, list[float]] = {}
    for number, patterns in enumerate(sets):
        path = out / name / f"{number}.json"
        if not path.exists():
            row = {}
            for seed, told in enumerate(FULL):
                result = task.train(patterns, seed, rungs)
                row[told] = result.reward
                if not seed:
                    row |= dict(zip(map(at, RUNGS), result.metrics[RUNG_REWARDS], strict=True))
            row |= {continued(part): checkpoints.continued(part, patterns) for part in PARTS}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(row))
            print(name, number, {told: round(value, 3) for told, value in row.items()}, flush=True)
        for told, value in json.loads(path.read_text("utf-8")).items():
            rows.setdefault(told, []).append(value)
    return {told: np.array(values) for told, values in rows.items()}


def at(part: float) -> str:
    """Returns what the table calls the reward at a rung."""
    return f"the same training after {part:.0%} of its steps"


def continued(part: float) -> str:
    """Returns what the table calls a short trial."""
    return f"the last {part:.0%} of the steps, from the checkpoint"


def correlation(cheap: np.ndarray, full: np.ndarray) -> str:
    """Returns Spearman's correlation with its bootstrap interval."""
    rng = np.random.default_rng(0)
    places = rng.integers(len(full), size=(RESAMPLED, len(full)))
    low, high = np.nanquantile([spearmanr(cheap[p], full[p]).statistic for p in places], [0.025, 0.975])
    return f"{spearmanr(cheap, full).statistic:.2f} [{low:.2f}, {high:.2f}]"


def trial(number: int, rewards: Sequence[float], final: float, status: Status) -> Trial:
    """Returns a trial as `Halving` takes it up."""
    return Trial(number, Suggestion((), 0.0, 0), PatternSet({}), status, 1, final, {RUNG_REWARDS: list(rewards)})


def replay(
    rewards: np.ndarray, order: np.ndarray, parts: Sequence[float], keep: float
) -> tuple[float, bool, float, list[float]]:
    """Returns share of the steps, whether the best was kept, best kept reward, errors of expectation."""
    halving, steps, kept, errors = Halving(int(order[0]), parts, keep), 0.0, [], []
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


def replays(rows: dict[str, np.ndarray], parts: Sequence[float], keep: float) -> str:
    """Returns the line of successive halving with these settings."""
    rewards = np.stack([*(rows[at(part)] for part in parts), rows[FULL[0]]], 1)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(SETS) for _ in range(ORDERS)]
    found = [replay(rewards, order, parts, keep) for order in orders]
    steps, hits, best = (np.array([one[index] for one in found], float) for index in range(3))
    errors = np.concatenate([one[3] for one in found])
    fewer = [rewards[order[: round(steps.mean() * SETS)], -1].max() for order in orders]
    wrong = f"{errors.mean():+.3f} ± {errors.std():.3f}" if len(errors) else "none was ended"
    rungs = " and ".join(f"{part:.0%}" for part in parts)
    return (
        f"| {rungs} | {keep:.0%} | {steps.mean():.2f} | {hits.mean():.0%} | {best.mean():.4f} | {np.mean(fewer):.4f} | "
        f"{wrong} |"
    )


def section(name: str, rows: dict[str, np.ndarray]) -> list[str]:
    """Returns the Markdown of a task."""
    first, full = (rows[told] for told in FULL)
    better = full >= np.median(full)
    noise = float(np.sqrt(np.mean((first - full) ** 2) / 2))
    parts = {FULL[0]: 1.0} | {at(part): part for part in RUNGS} | {continued(part): part for part in PARTS}
    return [
        f"## {name}",
        "",
        f"{environment('scipy')} {SETS} random PatternSets; reward of a full training {full.mean():.3f} ± "
        f"{full.std():.3f}, between two seeds of one set ± {noise:.3f}.",
        "",
        "| what is known of a set | steps | rank correlation with another full training | of the better half |",
        "|---|---:|---:|---:|",
        *(
            f"| {told} | {100 * part:.0f} % | {correlation(rows[told], full)} | "
            f"{correlation(rows[told][better], full[better])} |"
            for told, part in parts.items()
        ),
        "",
        f"Successive halving, {ORDERS} replays of {SETS} trials; the best of all has {first.max():.4f}:",
        "",
        "| rungs at | go on | steps taken | best trial kept | best reward | without, same steps | expected less true |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(replays(rows, *halving) for halving in HALVINGS),
        "",
    ]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["pydoc", "digits"])
    parser.add_argument("--out", type=Path, default=Path("runs/cheap_trials"))
    options = parser.parse_args()
    lines = [
        "# Cheaper trials",
        "",
        "What is measured, and how: the docstring of `cheap_trials.py`, whose command made this.",
        "",
    ]
    for name in options.tasks:
        lines += section(name, record(name, options.out))
    write_text(Path(__file__).with_suffix(".md"), "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
