"""Which model of the reward ranks PatternSets best that it has not seen? On the trainings of the released table.

The default searcher, Thompson sampling, takes the reward for a sum over the groups of sites. Beside that model stand
the same with pair terms (products of what two groups drop), Gaussian processes on the same features (linear plus
squared exponential, and Matérn 3/2), and boosted trees, which `Surrogate` has. Each is fitted on 64 or 128 PatternSets
in random order, one training each, as a search would have seen them, and ranks the rest by what their trainings came to
on average: Spearman's correlation, mean of 20 orders, and the difference to the additive model in the same orders, mean
± standard deviation (orders share PatternSets: no test of independent samples would hold). The PatternSets are those on
the grid of the task's space, most of them a search's own trials.

    python benchmarks/reward_models.py                    # about 10 minutes of one core
    python benchmarks/reward_models.py --table FILE       # of campaigns of one's own

Results: `benchmarks/reward_models.md`.

Reference:
    Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, Sections 2.2 and 4.2.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from environment import environment
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel, Matern, WhiteKernel
from sklearn.linear_model import BayesianRidge

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.children.surrogate import Surrogate
from tf_autodropout.search.released.benchmark import Benchmark, benchmark
from tf_autodropout.search.released.table import read_table
from tf_autodropout.search.searchers.group_features import GroupFeatures
from tf_autodropout.search.space import SearchSpace

ORDERS, SEEN = 20, (64, 128)
OF_SHARE = 3  # features of a group that pair terms are made of: whether it drops, how much, and the square
ADDITIVE = "additive over groups"
Fit = Callable[[Sequence[PatternSet], Sequence[float]], Callable[[PatternSet], float]]


class Features:
    """What models see of a PatternSet: the features of Thompson sampling.

    Args:
        space: The search space.
        pairs: Whether products of two groups' shares are added.
    """

    def __init__(self, space: SearchSpace, pairs: bool = False) -> None:
        self._space, self._groups, self._pairs = space, GroupFeatures(space), pairs

    def __call__(self, patterns: Sequence[PatternSet]) -> np.ndarray:
        """Returns a row for each set, all of which are on the grid."""
        tokens = np.array([self._space.encode(one) for one in patterns])
        groups = self._groups.rows(tokens)
        parts = list(groups)
        if self._pairs:
            for place, first in enumerate(groups):
                for second in groups[:place]:
                    products = first[:, :OF_SHARE, None] * second[:, None, :OF_SHARE]
                    parts.append(products.reshape(len(tokens), -1))
        return np.concatenate(parts, 1)


def linear(features: Features, patterns: Sequence[PatternSet], rewards: Sequence[float]) -> Callable:
    """Returns Bayesian ridge regression; both variances are those under which the rewards are most probable."""
    model = BayesianRidge().fit(features(patterns), rewards)
    return lambda one: float(model.predict(features([one]))[0])


def process(
    features: Features, kernel: Kernel, patterns: Sequence[PatternSet], rewards: Sequence[float]
) -> Callable[[PatternSet], float]:
    """Returns a Gaussian process; the kernel's parameters are those under which the rewards are most probable."""
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(features(patterns), rewards)
    return lambda one: float(model.predict(features([one]))[0])


def models(space: SearchSpace) -> dict[str, Fit]:
    """Returns the models by what the table calls them."""
    alone, pairs = Features(space), Features(space, pairs=True)
    smooth = ConstantKernel() * DotProduct(1.0, "fixed") + ConstantKernel() * RBF(3.0, (0.5, 50)) + WhiteKernel(0.1)
    rough = ConstantKernel() * Matern(3.0, (0.5, 50), nu=1.5) + WhiteKernel(0.1)
    return {
        ADDITIVE: partial(linear, alone),
        "with pair terms": partial(linear, pairs),
        "Gaussian process, linear and squared exponential": partial(process, alone, smooth),
        "Gaussian process, Matérn 3/2": partial(process, alone, rough),
        "boosted trees": partial(Surrogate, space.sites),
    }


def on_grid(recorded: Benchmark) -> Benchmark:
    """Returns what is recorded of the PatternSets that the searcher could have suggested."""
    known = [
        (patterns, training)
        for patterns, answer in recorded.items()
        if recorded.space.encode(patterns) is not None
        for training in answer.trainings
    ]
    return Benchmark(recorded.space, recorded.settings, recorded.score, recorded.lower_is_better, known)


def section(task: str, recorded: Benchmark) -> list[str]:
    """Returns the Markdown of a task."""
    lines = [
        f"## {task}",
        "",
        f"{environment('scikit-learn')} {len(recorded)} PatternSets, {ORDERS} orders.",
        "",
        "| model | fitted on | rank correlation | more than the additive one, in the same orders |",
        "|---|---:|---:|---:|",
    ]
    for seen in SEEN:
        if seen > len(recorded) // 2:
            continue
        of: dict[str, list[float]] = {}
        for name, fit in models(recorded.space).items():
            of[name] = [recorded.ranking(fit, seen, 1, seed) for seed in range(ORDERS)]
            ahead = [a - b for a, b in zip(of[name], of[ADDITIVE], strict=True)]
            more = "" if name == ADDITIVE else f"{statistics.fmean(ahead):+.3f} ± {statistics.stdev(ahead):.3f}"
            lines.append(f"| {name} | {seen} | {statistics.fmean(of[name]):.3f} | {more} |")
            print(lines[-1], flush=True)
    return [*lines, ""]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="default: the released one")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    lines = [
        "# Models of the reward",
        "",
        "What is measured, and how: the docstring of `reward_models.py`, whose command made this.",
        "",
    ]
    table = options.table or Path(__file__).parents[1] / "search" / "released" / "trials.parquet"
    for task in sorted({row["task"] for row in read_table(table)[0]}):
        lines += section(task, on_grid(benchmark(task, table)))
    write_text(Path(__file__).with_suffix(".md"), "\n".join(lines))


if __name__ == "__main__":
    main()
