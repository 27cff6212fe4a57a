"""Does a search on `pydoc` find a PatternSet that beats the classic ones on test data?

The classics (Dropout, Variational and Word Dropout, each at four rates) are tuned on validation: the
one with the lowest mean validation perplexity over the fresh seeds counts. Each search's best
PatternSet, chosen among its four finalists on two more seeds, is retrained on the same three fresh
seeds. Test perplexities are compared at the end, and no choice is made by them.

    python benchmarks/found_on_pydoc.py --out runs/benchmark-pydoc        # about 80 minutes on 2 cores

A stopped benchmark goes on. The table is written to benchmarks/found_on_pydoc.md.
"""

import argparse
import json
import statistics
from pathlib import Path

from environment import environment

import tf_autodropout as tad
from tf_autodropout.layers import site_seed
from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.learner import LearnerConfig
from tf_autodropout.search.tasks.base import Contender
from tf_autodropout.search.tasks.pydoc import pydoc_task
from tf_autodropout.search.tasks.text import TextTask, classic

RATES = {
    "Dropout": (0.1, 0.2, 0.3, 0.4),
    "Variational Dropout": (0.1, 0.2, 0.3, 0.4),
    "Word Dropout": (0.1, 0.2, 0.3, 0.4),
}
FRESH_SEEDS = tuple(site_seed(0, "benchmark", index) for index in range(3))


def scores(task: TextTask, contender: Contender, store: Path) -> dict[str, float]:
    """Returns mean validation and test perplexity over the fresh seeds, kept in `store`."""
    path = store / f"{contender.name.replace(' ', '_')}.json"
    if not path.exists():
        results = [task.test(contender, seed) for seed in FRESH_SEEDS]
        write_text(path, json.dumps({split: [r[split] for r in results] for split in ("valid", "test")}))
    kept = json.loads(path.read_text())
    row = {split: statistics.fmean(kept[split]) for split in ("valid", "test")}
    row["deviation"] = statistics.stdev(kept["test"])
    print(
        f"{contender.name:28} valid {row['valid']:7.2f}  test {row['test']:7.2f} ± {row['deviation']:.2f}", flush=True
    )
    return row


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-pydoc"))
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--searches", type=int, nargs="*", default=[0, 1, 2, 3, 4], help="search seeds")
    parser.add_argument("--searcher", default="reinforce", choices=["reinforce", "random"])
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    store = options.out / "fresh-seeds"
    store.mkdir(parents=True, exist_ok=True)
    task = pydoc_task()

    rows = {"no dropout": scores(task, task.classics()[0], store)}
    for name, rates in RATES.items():
        for rate in rates:
            contender = classic(name, rate)
            rows[contender.name] = scores(task, contender, store)
    tuned = min((name for name in rows if name != "no dropout"), key=lambda name: rows[name]["valid"])
    found = {}
    for seed in options.searches:
        result = tad.search.run(
            task,
            options.trials,
            options.out / f"{options.searcher}-{seed}",
            seed=seed,
            searcher=options.searcher,
            fresh_seeds=0,
        )
        name = f"{options.searcher}, seed {seed}"
        found[name] = scores(task, Contender(name, result.best), store)
    wins = sum(row["test"] < rows[tuned]["test"] for row in found.values())

    lines = [
        "# Found PatternSets against the classics on `pydoc`",
        "",
        f"{environment()} Command: `python benchmarks/found_on_pydoc.py --trials {options.trials} --searcher "
        f"{options.searcher}`. Lower perplexity is better; mean over {len(FRESH_SEEDS)} fresh seeds, ± standard "
        f"deviation of the test perplexity. Learner: `{LearnerConfig()}`.",
        "",
        "| | validation | test | ± |",
        "|---|---:|---:|---:|",
    ]
    for name, row in (rows | found).items():
        mark = " (best classic by validation)" if name == tuned else ""
        lines.append(f"| {name}{mark} | {row['valid']:.2f} | {row['test']:.2f} | {row['deviation']:.2f} |")
    lines += ["", f"The found PatternSet has the lower test perplexity in {wins} of {len(found)} searches."]
    write_text(options.table, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
