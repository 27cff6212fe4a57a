"""Does learning beat random search? A synthetic reward with a known optimum.

Space: 8 ConvNet sites, each deciding for itself, Fig. 3's 8 tokens each: 64 tokens, 10^37 sequences.
Chosen before any result, and not the 40 tokens of 8 Transformer sites: ConvNets are the paper's
main case, and the longer sequence is the harder one, for credit as for importance weights.

Reward of a sequence: a sum of random tables, drawn anew for each seed.
- 60 % of the variance: a score for each value of each token.
- 25 %: an interaction of each pair of tokens of one site.
- 15 %: interactions between size and stride of a site and size and stride of the next.
All tables are centred along each axis, so the shares are exact, and the true reward of uniformly
random sequences has mean 0 and standard deviation 1, exactly. Only size and stride link the
sites, so the optimum is found exactly: enumerate each site, then Viterbi along the chain.

Search: the loop's order of events without its machinery. `C` = 16 trials are suggested in advance and
finish first in, first out; each that finishes makes room for one suggestion; every `M` = 16 finished
trials make an update. With noise, the searcher sees the true reward plus a Gaussian of standard
deviation 1, as large as the spread of the true reward itself.

Measure: best-so-far true reward, the largest true reward among the trials so far. A win is a strictly
larger one than random search's on the same tables. Settings were tuned on seeds 100 to 119, and seeds 0 to 19 are
reported.

Run: `python benchmarks/synthetic.py`, three minutes on one core. Results: `benchmarks/synthetic.md`.
"""

import argparse
import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from environment import environment

from tf_autodropout.patterns import ConvPattern, Site
from tf_autodropout.search.core import Status, Suggestion, Trial
from tf_autodropout.search.searchers import RandomSearch, Reinforce, Searcher
from tf_autodropout.search.space import SearchSpace

C, M = 16, 16
LINKING = 2  # the first tokens of a site interact with those of the next: size and stride
SHARES = {"token": 0.60, "site": 0.25, "neighbours": 0.15}  # of the variance
MARKS = (64, 128, 256, 512)
NOISES = {"none": 0.0, "as large as the signal": 1.0}


def conv_space(sites: int = 8) -> SearchSpace:
    """Returns a space of `sites` ConvNet sites, 8 tokens each."""
    return SearchSpace(
        tuple(Site(f"site{i}", ConvPattern, (16, 16, 32), block=f"block{i}", stage="stage") for i in range(sites))
    )


class SyntheticReward:
    """A random reward over the sequences of a space, with mean 0 and standard deviation 1.

    Args:
        space: The search space; every group of sites has the same tokens.
        seed: Seeds the tables.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        self._sizes = [len(values) for values in space.grid.values()]  # S tokens per site
        self._sites, per_site = len(space.groups), len(self._sizes)

        def tables(
            pairs: Sequence[tuple[int, ...]], count: int, share: float
        ) -> list[dict[tuple[int, ...], np.ndarray]]:
            scale = math.sqrt(share / (count * len(pairs)))
            shape = {pair: [self._sizes[token] for token in pair] for pair in pairs}
            return [{pair: scale * _centred(rng.standard_normal(shape[pair])) for pair in pairs} for _ in range(count)]

        singles = [(token,) for token in range(per_site)]
        couples = list(itertools.combinations(range(per_site), 2))
        links = list(itertools.product(range(LINKING), repeat=2))
        self._single = tables(singles, self._sites, SHARES["token"])
        self._couple = tables(couples, self._sites, SHARES["site"])
        self._link = tables(links, self._sites - 1, SHARES["neighbours"])

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Returns the true reward, `(n,)`, of sequences, `(n, L)`."""
        t = np.asarray(tokens).reshape(len(tokens), self._sites, len(self._sizes))  # (n, sites, S)
        reward = np.zeros(len(t))
        for site in range(self._sites):
            for which, table in (self._single[site] | self._couple[site]).items():
                reward += table[tuple(t[:, site, token] for token in which)]
        for site, link in enumerate(self._link):
            for (left, right), table in link.items():
                reward += table[t[:, site, left], t[:, site + 1, right]]
        return reward

    def optimum(self) -> float:
        """Returns the largest reward of any sequence: exact dynamic programming along the sites."""
        linking = tuple(range(LINKING))
        best = np.zeros(())  # best reward of the sites so far, by the linking tokens of the last
        for site in range(self._sites):
            alone = np.zeros(self._sizes)  # reward of this site alone, by all its tokens
            for which, table in (self._single[site] | self._couple[site]).items():
                alone = alone + _spread(table, which, len(self._sizes))
            alone = alone.max(axis=tuple(range(LINKING, len(self._sizes))))
            if site:
                joint = best.reshape(best.shape + (1,) * LINKING)  # before, then here
                for (left, right), table in self._link[site - 1].items():
                    joint = joint + _spread(table, (left, LINKING + right), 2 * LINKING)
                best = joint.max(axis=linking)
            best = best + alone
        return float(best.max())


def _centred(table: np.ndarray) -> np.ndarray:
    """Makes each axis average to zero, and the mean square one."""
    for axis in range(table.ndim):
        table = table - table.mean(axis, keepdims=True)
    return table / math.sqrt(np.mean(table**2))


def _spread(table: np.ndarray, axes: tuple[int, ...], ndim: int) -> np.ndarray:
    """Broadcasts a table whose axes are `axes`, in ascending order, of `ndim`."""
    shape = [1] * ndim
    for axis, size in zip(axes, table.shape, strict=True):
        shape[axis] = size
    return table.reshape(shape)


def search(
    searcher: Searcher,
    space: SearchSpace,
    true_reward: Callable[[np.ndarray], np.ndarray],
    noise: np.ndarray,
    capacity: int = C,
    batch: int = M,
) -> np.ndarray:
    """Runs one search.

    Args:
        searcher: The search method.
        space: Its search space.
        true_reward: Sequences to true rewards.
        noise: What is added to the reward of each trial, `(trials,)`.
        capacity: C.
        batch: M.

    Returns:
        The true reward of each trial in the order in which they finished, `(trials,)`.
    """
    unfinished: deque[Suggestion] = deque(searcher.suggest(capacity))
    finished: list[Trial] = []
    history: list[float] = []
    for number in range(len(noise)):
        suggestion = unfinished.popleft()
        history.append(float(true_reward(np.array([suggestion.tokens]))[0]))
        reward = history[-1] + float(noise[number])
        patterns = space.decode(suggestion.tokens)
        finished.append(Trial(number, suggestion, patterns, Status.FINISHED, attempts=1, reward=reward))
        unfinished.extend(searcher.suggest(1))
        if len(finished) == batch:
            searcher.update(finished)
            finished = []
    return np.array(history)


def compare(seeds: Sequence[int], trials: int) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, object]]:
    """Runs both searchers on every seed, without and with noise.

    Returns:
        Noise to searcher to best-so-far, `(seeds, trials)`, as a fraction of the optimum under
        `"<searcher> fraction"`; and the settings of Reinforce.
    """
    space = conv_space()
    runs: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in NOISES}
    for seed in seeds:
        true_reward = SyntheticReward(space, seed)
        optimum = true_reward.optimum()
        unit = np.random.default_rng([seed, 1]).standard_normal(trials)
        learner = Reinforce(space, seed)
        fresh = learner.state()
        for name, scale in NOISES.items():
            learner.restore(0, fresh, 0)  # as new, and compiled already
            for searcher in (learner, RandomSearch(space, seed)):
                best = np.maximum.accumulate(search(searcher, space, true_reward, scale * unit))
                runs[name].setdefault(searcher.name, []).append(best)
                runs[name].setdefault(f"{searcher.name} fraction", []).append(best / optimum)
    stacked = {name: {key: np.stack(rows) for key, rows in result.items()} for name, result in runs.items()}
    return stacked, learner.describe()


def markdown(results: dict[str, dict[str, np.ndarray]], trials: int) -> list[str]:
    """Returns the lines of a Markdown table: mean over seeds and its 95 % confidence interval."""
    rows = [
        "| noise | trials | REINFORCE | random | wins | of the optimum: REINFORCE | random |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        for mark in sorted({m for m in MARKS if m < trials} | {trials}):
            at = {key: best[:, mark - 1] for key, best in result.items()}
            wins = int(np.sum(at["reinforce"] > at["random"]))
            rows.append(
                f"| {name} | {mark} | {_interval(at['reinforce'])} | {_interval(at['random'])} "
                f"| {wins}/{len(at['random'])} | {at['reinforce fraction'].mean():.0%} "
                f"| {at['random fraction'].mean():.0%} |"
            )
    return rows


def _interval(values: np.ndarray) -> str:
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{values.mean():.2f} ± {half:.2f}"


def main() -> None:
    """Prints the report as Markdown."""
    parser = argparse.ArgumentParser(description="REINFORCE against random search on a synthetic reward.")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0, help="tuned on 100 to 119, reported on 0 to 19")
    parser.add_argument("--trials", type=int, default=512)
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    results, settings = compare(seeds, args.trials)
    print(f"- {environment()}")
    print(f"- Seeds: {seeds[0]} to {seeds[-1]}; trials: {args.trials}; C = {C}, M = {M}")
    print(f"- REINFORCE: {', '.join(f'{name} {value}' for name, value in settings.items() if name != 'name')}")
    print("\n" + "\n".join(markdown(results, args.trials)))


if __name__ == "__main__":
    main()
