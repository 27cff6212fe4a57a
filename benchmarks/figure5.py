"""The paper's Figure 5 on real trainings: the best reward so far of REINFORCE and of the default searcher, over random.

Several searches of each searcher on a task, each with as many trials; the best validation reward so far, one training
each, as mean over the searches with a 95 % bootstrap interval of that mean. The table has it at some numbers of trials
and the lead over random search at the same number, paired by the searches' seeds; three seeds cannot give a p below
0.25, so it has none. What is read are ledgers: runs of `--campaign` that are there already are not trained again, and
more of their trials are left out.

    python benchmarks/figure5.py --campaign runs/campaign --out runs/figure5      # pydoc: about an hour of one core

A stopped benchmark goes on. It writes `benchmarks/figure5.md` and `benchmarks/figure5.png`. Not run.

Reference:
    Pham and Le, AutoDropout, AAAI 2021, Figure 5: the controller against random search.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from environment import environment
from matplotlib.figure import Figure

from tf_autodropout.patterns.document import write_text
from tf_autodropout.search import EngineConfig, run
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.results.curve import save_figure
from tf_autodropout.search.tasks.registry import TASKS

RANDOM, RESAMPLED = "random", 4_000
AT = (8, 16, 32, 64, 128, 256, 512)
COLOURS = {"reinforce": "#17765a", "thompson": "#b4480a", "paper": "#3b5b92", RANDOM: "0.45"}


def best_so_far(directory: Path, trials: int) -> list[float]:
    """Returns the highest reward after each trial of a run, in the order of finishing."""
    reader = LedgerReader(directory)
    rewards = [reward or 0.0 for _, _, reward in reader.outcomes()][:trials]
    reader.close()
    if len(rewards) < trials:
        raise SystemExit(f"{directory} has {len(rewards)} of {trials} trials")
    return list(itertools.accumulate(rewards, max))


def interval(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 95 % bootstrap interval of the mean over the first axis."""
    places = np.random.default_rng(0).integers(len(curves), size=(RESAMPLED, len(curves)))
    low, high = np.quantile(curves[places].mean(1), [0.025, 0.975], axis=0)
    return low, high


def figure(curves: dict[str, np.ndarray], task: str) -> Figure:
    """Returns the picture: mean and interval of each searcher."""
    made = Figure(figsize=(7, 4.2), layout="constrained")
    axes = made.subplots()
    for name, values in curves.items():
        at, (low, high) = np.arange(1, values.shape[1] + 1), interval(values)
        axes.fill_between(at, low, high, step="post", color=COLOURS.get(name, "0.2"), alpha=0.18, linewidth=0)
        axes.step(at, values.mean(0), where="post", color=COLOURS.get(name, "0.2"), linewidth=1.8, label=name)
    bottom = min(float(np.quantile(values[:, 3:], 0.0)) for values in curves.values())
    axes.set(xlabel="trials", ylabel="best reward so far (validation)", xscale="log")
    axes.set_ylim(bottom=bottom)
    ticks = [number for number in (1, 2, 4, *AT) if number <= max(values.shape[1] for values in curves.values())]
    axes.set_xticks(ticks, [str(number) for number in ticks])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    searches = next(iter(curves.values())).shape[0]
    axes.set_title(f"{task}: mean of {searches} searches, 95 % interval", fontsize=9, loc="left", color="0.25")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return made


def table(curves: dict[str, np.ndarray]) -> list[str]:
    """Returns the Markdown table."""
    lines = ["| searcher | trials | best reward so far | lead over random search |", "|---|---:|---:|---:|"]
    for name, values in curves.items():
        for count in (one for one in AT if one <= values.shape[1]):
            low, high = (one[count - 1] for one in interval(values))
            lead = ""
            if name != RANDOM and RANDOM in curves:
                ahead = (values - curves[RANDOM])[:, count - 1 : count]
                least, most = (one[0] for one in interval(ahead))
                lead = f"{ahead.mean():+.4f} [{least:+.4f}, {most:+.4f}]"
            lines.append(f"| {name} | {count} | {values[:, count - 1].mean():.4f} [{low:.4f}, {high:.4f}] | {lead} |")
    return [*lines, "", *overtaken(curves)]


def overtaken(curves: dict[str, np.ndarray]) -> list[str]:
    """Says after how many trials each searcher has, on average, what another one has at the end and half of the way."""
    lines = []
    for name, values in curves.items():
        for count in (values.shape[1] // 2, values.shape[1]):
            reached = values[:, count - 1].mean()
            others = [
                f"`{other}` after {int(np.argmax(theirs.mean(0) >= reached)) + 1}"
                for other, theirs in curves.items()
                if other != name and theirs.mean(0)[-1] >= reached
            ]
            if others:
                lines.append(f"- What `{name}` has after {count} trials ({reached:.4f}): {', '.join(others)}.")
    return lines


def main() -> None:
    """Runs what is missing; writes table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="pydoc", choices=list(TASKS))
    parser.add_argument("--searchers", nargs="+", default=["reinforce", "thompson", RANDOM])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--workers", type=int, help="processes; default: one a core")
    parser.add_argument("--campaign", type=Path, help="directory of runs as campaign.py names them")
    parser.add_argument("--out", type=Path, default=Path("runs/figure5"))
    options = parser.parse_args()
    curves: dict[str, np.ndarray] = {}
    for searcher in options.searchers:
        found = []
        for seed in options.seeds:
            name = f"{options.task}-{searcher}-{options.trials}-{seed}"
            there = options.campaign is not None and (options.campaign / name).exists()
            directory = (options.campaign if there else options.out) / name
            if not there:
                run(
                    options.task,
                    options.trials,
                    directory,
                    EngineConfig("processes", workers=options.workers),
                    seed=seed,
                    searcher=searcher,
                    fresh_seeds=0,
                    finalists=1,
                )
            found.append(best_so_far(directory, options.trials))
            print(f"{name}: {found[-1][-1]:.4f}", flush=True)
        curves[searcher] = np.array(found)
    lines = [
        "# Searchers on real trainings, as in the paper's Figure 5",
        "",
        "What is measured, and how: the docstring of `figure5.py`, whose command made this.",
        "",
        f"{environment()} Task `{options.task}`, {options.trials} trials, {len(options.seeds)} searches each.",
        "",
        "![best reward so far](figure5.png)",
        "",
        *table(curves),
        "",
    ]
    save_figure(figure(curves, options.task), Path(__file__).with_suffix(".png"))
    write_text(Path(__file__).with_suffix(".md"), "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
