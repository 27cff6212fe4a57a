"""Population-based training of patterns against Thompson sampling, at equal training steps, on `pydoc`.

The population: 64 children, each trained once, in eight stretches of 25 steps. After each stretch all are measured on
validation. The worst quarter then continues from the weights of members of the best quarter, drawn at random, with
their patterns mutated: each decision is drawn anew with probability 0.1, else moved to a neighbour with 0.2. What
comes out is a schedule, eight PatternSets one after the other. It begins with no dropout and the classics, as searches
do, the rest is random. Thompson sampling has the same 12,800 steps, 64 trials of 200: the first trials of a campaign's
searches.

The six best of each are trained from scratch on two more seeds, and the best mean counts, as at the end of a search;
for the population the schedules, and, as candidates of their own, the last PatternSets of the six kept all the time.
Then all three lines are trained on ten fresh seeds of each search, and measured on test. What is trained is kept in
`--out`, and a stopped benchmark goes on.

    python benchmarks/population.py runs/campaign --out runs/population    # three searches: 35 minutes of a core

Results: `benchmarks/population.md`, of one search; the other two were not run.

Reference:
    Jaderberg et al., Population Based Training of Neural Networks, 2017, Section 3, with truncation selection; Ho et
    al., Population Based Augmentation, ICML 2019: the schedule as what is found. The mutation is ours.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from campaign import cell
from environment import environment

from tf_autodropout.layers import assign_patterns
from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.document import write_text
from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.core import Opponent
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.tasks.opponents import known_patterns
from tf_autodropout.search.tasks.pydoc import pydoc_task
from tf_autodropout.search.tasks.text import TextTask

MEMBERS, STRETCH, BEST, MORE, FRESH = 64, 25, 6, 2, 10
QUARTER, ANEW, MOVED = 0.25, 0.1, 0.2
SCHEDULE, LAST, THOMPSON = "population: schedule", "population: last set, all the time", "Thompson, 64 trials"
Tokens = tuple[int, ...]


class Trainer:
    """Trains the child of `pydoc` with patterns that change from stretch to stretch.

    Args:
        task: Whose child it is.
    """

    def __init__(self, task: TextTask) -> None:
        self.task, self.child = task, task.child_for(Opponent.none())
        self.child._steps_per_call = STRETCH  # before it is traced
        self.stretches = self.child.steps // STRETCH
        self._variables = [*self.child.model.variables, *self.child.optimizer.variables]

    def begin(self, seed: int) -> list[np.ndarray]:
        """Returns the state of a child that begins."""
        self.child.reset(PatternSet({}), seed)
        return self._state()

    def stretch(self, state: Sequence[np.ndarray], seed: int, number: int, patterns: PatternSet) -> list[np.ndarray]:
        """Returns the state after one more stretch; seed: of the order of the examples."""
        self.child.reset(PatternSet({}), seed)
        for variable, value in zip(self._variables, state, strict=True):
            variable.assign(value)
        self._advance(number, patterns)
        return self._state()

    def valid(self) -> float:
        """Returns the reward of the child as it is now."""
        return self.task.reward(self.task.measure(self.child, "valid"))

    def from_scratch(self, schedule: Sequence[PatternSet], seed: int) -> dict[str, float]:
        """Trains a schedule; returns reward and test perplexity."""
        self.child.reset(PatternSet({}), seed)
        for number, patterns in enumerate(schedule):
            self._advance(number, patterns)
        return {"reward": self.valid(), "test": self.task.measure(self.child, "test")}

    def _advance(self, number: int, patterns: PatternSet) -> None:
        assign_patterns(self.child.model, patterns)
        until = STRETCH * (number + 1)
        self.child.train(done=STRETCH * number, ends=lambda steps: steps >= until)

    def _state(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self._variables]


def mutated(tokens: Tokens, sizes: Sequence[int], rng: np.random.Generator) -> Tokens:
    """Returns tokens some of which are drawn anew or moved by one."""
    found = []
    for token, size in zip(tokens, sizes, strict=True):
        chance = rng.random()
        if chance < ANEW:
            token = int(rng.integers(size))
        elif chance < ANEW + MOVED:
            token = int(np.clip(token + rng.choice([-1, 1]), 0, size - 1))
        found.append(token)
    return tuple(found)


def population(trainer: Trainer, seed: int) -> list[list[Tokens]]:
    """Returns the schedules of the six best members, in tokens, best first."""
    space, rng = trainer.task.space, np.random.default_rng([seed, 7])
    sizes = space.vocabulary_sizes
    known = [tokens for one in known_patterns(space.sites) if (tokens := space.encode(one)) is not None]
    drawn = [tuple(int(rng.integers(size)) for size in sizes) for _ in range(MEMBERS - len(known))]
    history: list[list[Tokens]] = [[tokens] for tokens in [*known, *drawn]]
    seeds = [site_seed(seed, "member", member) for member in range(MEMBERS)]
    states = [trainer.begin(one) for one in seeds]
    rewards = [0.0] * MEMBERS
    for number in range(trainer.stretches):
        for member in range(MEMBERS):
            patterns = space.decode(history[member][-1])
            states[member] = trainer.stretch(states[member], seeds[member], number, patterns)
            rewards[member] = trainer.valid()
        order = np.argsort(rewards)[::-1].tolist()
        print(f"  stretch {number + 1}: best {max(rewards):.4f}, mean {statistics.fmean(rewards):.4f}", flush=True)
        if number == trainer.stretches - 1:
            break
        count = int(QUARTER * MEMBERS)
        following = [[*one, one[-1]] for one in history]
        for member in order[-count:]:
            parent = order[int(rng.integers(count))]
            states[member] = states[parent]
            following[member] = [*history[parent], mutated(history[parent][-1], sizes, rng)]
        history = following
    return [history[member] for member in order[:BEST]]


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Returns what a file holds, made if it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(make()))
    return json.loads(path.read_text("utf-8"))


def best_of(trainer: Trainer, schedules: Sequence[Sequence[PatternSet]], seed: int, store: Path) -> int:
    """Returns which has the best mean reward on two more seeds."""
    means = [
        statistics.fmean(
            kept(
                store / f"{place}-{index}.json",
                lambda one=one, index=index: trainer.from_scratch(one, site_seed(seed, "more", index)),  # type: ignore[misc]
            )["reward"]
            for index in range(MORE)
        )
        for place, one in enumerate(schedules)
    ]
    return int(np.argmax(means))


def search(trainer: Trainer, campaign: Path, seed: int, store: Path) -> dict[str, list[float]]:
    """Returns the test perplexities of the three lines on ten fresh seeds of a search."""
    decode, stretches = trainer.task.space.decode, trainer.stretches
    schedules = [
        [decode(tokens) for tokens in one] for one in kept(store / "population.json", lambda: population(trainer, seed))
    ]
    reader = LedgerReader(campaign / f"pydoc-thompson-128-{seed}")
    trials = sorted(reader.trials()[:MEMBERS], key=lambda trial: -(trial.reward or 0.0))[:BEST]
    reader.close()
    lines = {
        SCHEDULE: schedules,
        LAST: [[one[-1]] * stretches for one in schedules],
        THOMPSON: [[trial.patterns] * stretches for trial in trials],
    }
    scores: dict[str, list[float]] = {}
    for number, (name, candidates) in enumerate(lines.items()):
        chosen = candidates[best_of(trainer, candidates, seed, store / f"more-{number}")]
        scores[name] = [
            kept(
                store / f"fresh-{number}-{index}.json",
                lambda chosen=chosen, index=index: trainer.from_scratch(chosen, site_seed(seed, "fresh", index)),  # type: ignore[misc]
            )["test"]
            for index in range(FRESH)
        ]
        print(f"seed {seed}, {name}: {statistics.fmean(scores[name]):.2f}", flush=True)
    return scores


def main() -> None:
    """Runs what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path, help="directory of a campaign's runs of `pydoc`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/population"))
    options = parser.parse_args()
    trainer = Trainer(pydoc_task())
    found = {seed: search(trainer, options.campaign, seed, options.out / str(seed)) for seed in options.seeds}
    lines = [
        "# Population-based training of patterns",
        "",
        "What is measured, and how: the docstring of `population.py`, whose command made this.",
        "",
        f"{environment()} Test perplexity on `pydoc`, mean of {FRESH} fresh seeds; leads over Thompson sampling are "
        "paired, positive where it is worse, with a BCa interval and the p of the sign-flip test.",
        "",
        f"| search | {' | '.join((SCHEDULE, LAST, THOMPSON))} | lead of the schedule | lead of its last set |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    ahead: dict[str, list[list[float]]] = {SCHEDULE: [], LAST: []}
    for seed, scores in found.items():
        for name, all_leads in ahead.items():
            all_leads.append([b - a for a, b in zip(scores[name], scores[THOMPSON], strict=True)])
        means = " | ".join(f"{statistics.fmean(one):.2f}" for one in scores.values())
        lines.append(f"| seed {seed} | {means} | {' | '.join(cell(leads[-1]) for leads in ahead.values())} |")
    means = " | ".join(
        f"{statistics.fmean(statistics.fmean(scores[name]) for scores in found.values()):.2f}"
        for name in (SCHEDULE, LAST, THOMPSON)
    )
    together = [cell([statistics.fmean(column) for column in zip(*leads, strict=True)]) for leads in ahead.values()]
    lines += [f"| mean | {means} | {' | '.join(together)} |", ""]
    write_text(Path(__file__).with_suffix(".md"), "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
