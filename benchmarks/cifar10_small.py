"""Is there a signal on `cifar10-small`? The spread between patterns against the noise of seeds.

24 random PatternSets, one seed each, and 4 seeds of one of them (the median one): if patterns made no
difference, the two spreads would be alike.

    python benchmarks/cifar10_small.py --data-dir DIR          # 32 children

Each child is printed as it comes, on standard error; then the table as Markdown.
"""

import argparse
import statistics
import sys

from environment import environment

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.searchers import RandomSearch
from tf_autodropout.search.tasks.cifar10 import cifar10_small_task


def main() -> None:
    """Runs the trials and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="TFDS directory; default: TFDS' own")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    task = cifar10_small_task(data_dir=options.data_dir)

    def accuracy(what: str, patterns: PatternSet, seed: int) -> float:
        percent = 100 * task.train(patterns, seed).reward
        print(f"{what}, seed {seed}: {percent:.1f} %", file=sys.stderr, flush=True)
        return percent

    suggestions = RandomSearch(task.space, 0).suggest(options.trials)
    random = [task.space.decode(suggestion.tokens) for suggestion in suggestions]
    trials = [(accuracy(f"random PatternSet {index}", one, index), one) for index, one in enumerate(random)]
    median = sorted(trials, key=lambda trial: trial[0])[len(trials) // 2][1]
    seeds = range(1000, 1000 + options.seeds)
    noise = [accuracy("the median PatternSet", median, seed) for seed in seeds]
    none = [accuracy("no dropout", PatternSet({}), seed) for seed in seeds]
    rewards = [reward for reward, _ in trials]
    print("# Is there a signal on cifar10-small?\n")
    print(f"{environment()} Command: `python benchmarks/cifar10_small.py --data-dir DIR`.\n")
    print(f"Validation accuracy in %, {task.steps} steps of {task.batch_size}, granularity stage.\n")
    print("| | n | lowest | mean | highest | standard deviation |\n|---|---:|---:|---:|---:|---:|")
    for name, values in (
        ("random PatternSets", rewards),
        ("one PatternSet, seeds", noise),
        ("no dropout, seeds", none),
    ):
        print(
            f"| {name} | {len(values)} | {min(values):.1f} | {statistics.fmean(values):.1f} | {max(values):.1f} "
            f"| {statistics.stdev(values):.2f} |"
        )
    ratio = statistics.stdev(rewards) / statistics.stdev(noise)
    print(f"\nThe spread between patterns is {ratio:.1f} times the spread between seeds of one pattern.")


if __name__ == "__main__":
    main()
