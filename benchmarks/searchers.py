"""How many trials does each searcher need? All of them on a surrogate of real trials.

Task: `tabular` on `searchers.json`, 318 trials of random search, each a training of a child. The child is that
of the task `pydoc` made small, so that a training takes three seconds: one layer of 32 features, sequences of 16
tokens, the 399 most frequent words, the first 6,000 training tokens, 400 steps (`python benchmarks/searchers.py
--collect DIR` trains them again). The surrogate is boosted trees on what the patterns are: no searcher has a
model of its kind. Space: 7 sites, 35 tokens, 10^19 sequences.

Search: the loop's order of events on two workers, `search` of `synthetic.py`, with C and M as `run` has them by
default: Thompson sampling and evolution learn from each trial as it comes (M = 1, C = 2), the others from 16 (M = C =
16). `--classics` begins every search but that of `random` with the classics that `run` begins with. A searcher sees the
surrogate's reward plus a Gaussian of standard deviation 0.025, about that between two seeds of one PatternSet (0.022,
from 4 pairs).

Measure: best-so-far reward of the surrogate itself, without the noise: the largest one among the trials so far.

Run: `python benchmarks/searchers.py --out DIR`; it goes on where it stopped. Results: `benchmarks/searchers.md`
and `searchers.png`. Settings were chosen on the seeds 0 to 19 and on the synthetic reward; seeds 100 to 199 are
reported.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from environment import environment
from matplotlib.patheffects import withStroke
from synthetic import search

from tf_autodropout.search import run
from tf_autodropout.search.ledger.trial_table import TrialTable
from tf_autodropout.search.loop import BATCH, capacity_for
from tf_autodropout.search.searchers import SEARCHERS, Reinforce, Searcher, batch_of, make_searcher
from tf_autodropout.search.searchers.warm_start import WarmStart
from tf_autodropout.search.tasks.data.corpus import UNKNOWN, Corpus
from tf_autodropout.search.tasks.opponents import known_patterns
from tf_autodropout.search.tasks.pydoc import load_corpus
from tf_autodropout.search.tasks.tabular import TabularTask, tabular_task
from tf_autodropout.search.tasks.text import TextTask

HERE = Path(__file__).parent
TRIALS, NOISE, WORKERS = 512, 0.025, 2
MARKS = (32, 64, 128, 256, 512)
# Colours of Okabe and Ito, which colour-blind readers tell apart; lines that differ in print.
STYLES = {
    "thompson": ("#0072B2", "-"),
    "reinforce": ("#D55E00", "--"),
    "paper": ("#E69F00", (0, (3, 1, 1, 1))),
    "tpe": ("#009E73", (0, (1, 1))),
    "evolution": ("#CC79A7", "-."),
    "random": ("0.35", (0, (5, 4, 1, 4, 1, 4))),
}


def small_pydoc() -> TextTask:
    """Returns the task whose trials the table holds."""
    corpus, words = load_corpus(), 400
    frequent = np.argsort(-np.bincount(corpus.train)[1:], kind="stable")[: words - 1] + 1
    ids = np.full(corpus.vocabulary_size, UNKNOWN, np.int32)
    ids[frequent] = np.arange(1, words)
    small = Corpus(ids[corpus.train[:6000]], ids[corpus.valid], ids[corpus.test], words)
    return TextTask("pydoc-6000-tokens", small, steps=400, hidden_dim=32, num_layers=1, sequence_length=16)


def collect(directory: Path, trials: int) -> None:
    """Trains random PatternSets and writes the table."""
    run(small_pydoc(), trials, directory, searcher="random", seed=1, fresh_seeds=0, finalists=1)
    TrialTable.from_run(directory).save(HERE / "searchers.json")


def measure(task: TabularTask, name: str, seeds: Sequence[int], trials: int, classics: bool, out: Path) -> None:
    """Runs one searcher on every seed that `out` has no result of."""
    known = [task.space.encode(patterns) for patterns in known_patterns(task.space.sites)] if classics else []
    batch = batch_of(name, BATCH)
    capacity = capacity_for(WORKERS, batch)

    def true_reward(tokens: np.ndarray) -> np.ndarray:
        return np.array([task.surrogate(task.space.decode(row.tolist())) for row in tokens])

    learner: Reinforce | None = None
    for seed in seeds:
        path = out / f"{name}-{seed}.npy"
        if path.exists() and len(np.load(path)) >= trials:
            continue
        searcher: Searcher
        if SEARCHERS[name] == "Reinforce":
            if learner is None:
                made = make_searcher(name, task.space, 0)
                assert isinstance(made, Reinforce)
                learner, fresh = made, made.state()
            # One compilation for all seeds: the first weights are those of seed 0, the samples the seed's own.
            learner._seed = seed
            learner.restore(0, fresh, 0)
            searcher = learner
        else:
            searcher = make_searcher(name, task.space, seed)
        if known and name != "random":
            searcher = WarmStart(searcher, [tokens for tokens in known if tokens is not None])
        noise = NOISE * np.random.default_rng([seed, 1]).standard_normal(TRIALS)[:trials]
        rewards = search(searcher, task.space, true_reward, noise, capacity, batch)
        np.save(path, np.maximum.accumulate(rewards))


def results(out: Path) -> dict[str, np.ndarray]:
    """Returns best-so-far by searcher, `(seeds, trials)`."""
    files = {name: sorted(out.glob(f"{name}-*.npy")) for name in SEARCHERS}
    found = {name: [np.load(path) for path in paths] for name, paths in files.items()}
    return {name: np.stack([row[: min(map(len, rows))] for row in rows]) for name, rows in found.items() if rows}


def half_width(best: np.ndarray) -> np.ndarray:
    """Returns half of the 95 % confidence interval of the mean over seeds, `(trials,)`."""
    return 1.96 * best.std(0, ddof=1) / math.sqrt(len(best))


def markdown(measured: dict[str, np.ndarray]) -> list[str]:
    """Returns the lines of the table."""
    target = measured["random"].mean(0)[-1]
    lines = [
        "| searcher | seeds | " + " | ".join(f"{mark} trials" for mark in MARKS) + " | trials to random's 512 |",
        "|---|---:|" + "---:|" * (len(MARKS) + 1),
    ]
    for name, best in measured.items():
        mean, half = best.mean(0), half_width(best)
        cells = [f"{mean[mark - 1]:.3f} ± {half[mark - 1]:.3f}" if mark <= len(mean) else "" for mark in MARKS]
        reached = trials_to(best, target)
        lines.append(f"| `{name}` | {len(best)} | " + " | ".join(cells) + f" | {reached or 'not reached'} |")
    return lines


def trials_to(best: np.ndarray, target: float) -> int | None:
    """Returns after how many trials the mean over seeds is at the target; None if it never is."""
    mean = best.mean(0)
    return int(np.argmax(mean >= target)) + 1 if mean[-1] >= target else None


def picture(measured: dict[str, np.ndarray], path: Path) -> None:
    """Draws mean best-so-far against trials, the 95 % interval around it."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, best in sorted(measured.items(), key=lambda item: -item[1].mean(0)[-1]):
        mean, half = best.mean(0), half_width(best)
        color, line = STYLES[name]
        trials = np.arange(1, len(mean) + 1)
        axes.plot(trials, mean, color=color, linestyle=line, label=f"{name} ({len(best)} seeds)")
        axes.fill_between(trials, mean - half, mean + half, color=color, alpha=0.15, linewidth=0)
    target = measured["random"].mean(0)[-1]
    axes.axhline(target, color="0.6", linewidth=0.8)
    words = f"what random search has after {TRIALS} trials"
    axes.annotate(words, (8, target), (4, 3), "data", "offset points", fontsize=8, color="0.4", va="bottom")
    for name, best in measured.items():
        reached = trials_to(best, target)
        if reached is None or name == "random":
            continue
        color = STYLES[name][0]
        axes.plot(reached, target, "o", color=color, markersize=7, markeredgecolor="white", zorder=4)
        words = f"{name}: {reached}"
        label = axes.annotate(words, (reached, target), (5, -6), "data", "offset points", color=color, va="top")
        label.set_path_effects([withStroke(linewidth=3, foreground="white")])
    axes.set(xscale="log", xlim=(8, TRIALS), xlabel="trials", ylabel="best-so-far reward (mean, 95 % interval)")
    marks = (8, 16, *MARKS)
    axes.set_xticks(marks, map(str, marks))
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=min((best.mean(0) - half_width(best))[7] for best in measured.values()) - 0.01)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measures what is missing, prints the report as Markdown and draws the picture."""
    parser = argparse.ArgumentParser(description="All searchers on a surrogate of real trials.")
    parser.add_argument("--out", type=Path, default=Path("runs/searchers"), help="results, one file a search")
    parser.add_argument("--searchers", nargs="*", choices=list(SEARCHERS), default=list(SEARCHERS))
    parser.add_argument("--seeds", type=int, default=100, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each search, at most 512")
    parser.add_argument("--classics", action="store_true", help="begin with the classics, as `run` does")
    parser.add_argument("--collect", type=Path, help="train the table's children into this run, then stop")
    args = parser.parse_args()
    if args.collect:
        collect(args.collect, trials=318)
        return
    task = tabular_task(str(HERE / "searchers.json"))
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.searchers:
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        measure(task, name, seeds, args.trials, args.classics, args.out)
    measured = results(args.out)
    print(f"- {environment()}")
    quality = ", ".join(f"{name} {value:.2f}" for name, value in task.surrogate.quality().items())
    print(f"- {len(task.table.rewards)} trials in the table; surrogate, 5-fold cross-validated: {quality}")
    print(f"- {WORKERS} workers, noise {NOISE}, seeds from {args.first_seed}{', classics first' * args.classics}")
    print("\n" + "\n".join(markdown(measured)))
    picture(measured, HERE / "searchers.png")


if __name__ == "__main__":
    main()
