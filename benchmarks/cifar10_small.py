"""Is there a signal on `cifar10-small`? The spread between patterns against the noise of seeds.

24 random PatternSets, one seed each, and 4 seeds of one of them (the median one): if patterns made no
difference, the two spreads would be alike.

    python benchmarks/cifar10_small.py --data-dir DIR          # 32 children

The table is printed as Markdown. Not run at full scale yet.
"""

import argparse
import statistics

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
    trials = []
    for index, suggestion in enumerate(RandomSearch(task.space, 0).suggest(options.trials)):
        patterns = task.space.decode(suggestion.tokens)
        trials.append((100 * task.train(patterns, index).reward, patterns))
    by_accuracy = sorted(trials, key=lambda trial: trial[0])
    median = by_accuracy[len(by_accuracy) // 2][1]
    noise = [100 * task.train(median, 1000 + index).reward for index in range(options.seeds)]
    none = [100 * task.train(PatternSet({}), 1000 + index).reward for index in range(options.seeds)]
    rewards = [accuracy for accuracy, _ in trials]
    print(f"{environment()} Validation accuracy in %, {task.steps} steps of {task.batch_size}, granularity stage.\n")
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
