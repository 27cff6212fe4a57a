"""Does a search on `pydoc` find a PatternSet that beats the classic ones on test data?

The classics (Dropout, Variational and Word Dropout, each at four rates) are tuned on validation: the
one with the lowest mean validation perplexity over the fresh seeds counts. Each search's best
PatternSet, chosen among its finalists (six in a race; for the table on file four, on two more seeds), is
retrained on the same three fresh seeds. Test perplexities are compared at the end, and no choice is made by them.

    python benchmarks/found_on_pydoc.py --out runs/benchmark-pydoc        # about 20 minutes on 2 cores
    python benchmarks/found_on_pydoc.py --searches                        # the classics alone: 3 minutes

A stopped benchmark goes on. The table is written to benchmarks/found_on_pydoc.md.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from environment import environment

import tf_autodropout as tad
from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.document import write_text
from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.core import Opponent, Scoring, Status
from tf_autodropout.search.engines import WorkerProcesses
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.results.evaluation import work_through
from tf_autodropout.search.searchers.learner import LearnerConfig
from tf_autodropout.search.tasks.opponents import classics_for
from tf_autodropout.search.tasks.registry import make_task

RATES = {
    "Dropout": (0.1, 0.2, 0.3, 0.4),
    "Variational Dropout": (0.1, 0.2, 0.3, 0.4),
    "Word Dropout": (0.1, 0.2, 0.3, 0.4),
}
FRESH = 3  # seeds


def scores(opponents: Sequence[Opponent], store: Path) -> dict[str, dict[str, float]]:
    """Returns mean validation and test perplexity over the fresh seeds by name; each training is kept in `store`."""
    jobs = [(c, s, store / f"{c.name.replace(' ', '_')}-{s}.json") for c in opponents for s in range(FRESH)]
    missing = [job for job in jobs if not job[2].exists()]
    workers = WorkerProcesses(partial(make_task, "pydoc"))
    try:
        works = [Scoring(opponent, site_seed(0, "benchmark", index)) for opponent, index, _ in missing]
        for place, outcome in work_through(workers, works):
            if outcome.status is not Status.FINISHED:
                raise RuntimeError(outcome.metrics["error"])
            scores = {split: outcome.metrics[split] for split in ("valid", "test")}
            write_text(missing[place][2], json.dumps(scores))
    finally:
        workers.close()
    rows: dict[str, dict[str, float]] = {}
    for opponent in opponents:
        kept = [json.loads(path.read_text()) for one, _, path in jobs if one is opponent]
        row = {split: statistics.fmean(one[split] for one in kept) for split in ("valid", "test")}
        row["deviation"] = statistics.stdev(one["test"] for one in kept)
        rows[opponent.name] = row
        print(f"{opponent.name:28} valid {row['valid']:7.2f}  test {row['test']:7.2f} ± {row['deviation']:.2f}")
    return rows


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-pydoc"))
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument(
        "--searches", type=int, nargs="*", default=[0, 1, 2, 3, 4], help="search seeds; none: the classics alone"
    )
    parser.add_argument("--searcher", default="reinforce", choices=["reinforce", "random"])
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    store = options.out / "fresh-seeds"
    store.mkdir(parents=True, exist_ok=True)
    nothing = Opponent("no dropout", PatternSet({}))
    classics = {classic.name: classic for classic in classics_for(make_task("pydoc").space.sites)}
    rates = [classics[name].everywhere(rate) for name, rates in RATES.items() for rate in rates]
    rows = scores([nothing, *rates], store)
    tuned = min((name for name in rows if name != "no dropout"), key=lambda name: rows[name]["valid"])
    best = []
    for seed in options.searches:
        result = tad.search.run(
            "pydoc",
            options.trials,
            options.out / f"{options.searcher}-{seed}",
            seed=seed,
            searcher=options.searcher,
            fresh_seeds=0,
            engine=EngineConfig("processes"),
        )
        best.append(Opponent(f"{options.searcher}, seed {seed}", result.best))
        print(f"search {seed}: trial {result.best.provenance['trial']}, reward {result.reward:.4f}", flush=True)
    found = scores(best, store)
    wins = sum(row["test"] < rows[tuned]["test"] for row in found.values())

    lines = [
        "# Found PatternSets against the classics on `pydoc`",
        "",
        f"{environment()} Command: `python benchmarks/found_on_pydoc.py --trials {options.trials} --searcher "
        f"{options.searcher}`. Lower perplexity is better; mean over {FRESH} fresh seeds, ± standard "
        f"deviation of the test perplexity. Learner: `{LearnerConfig()}`.",
        "",
        "| | validation | test | ± |",
        "|---|---:|---:|---:|",
    ]
    for name, row in (rows | found).items():
        mark = " (best classic by validation)" if name == tuned else ""
        lines.append(f"| {name}{mark} | {row['valid']:.2f} | {row['test']:.2f} | {row['deviation']:.2f} |")
    if found:
        lines += ["", f"The found PatternSet has the lower test perplexity in {wins} of {len(found)} searches."]
    write_text(options.table, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
