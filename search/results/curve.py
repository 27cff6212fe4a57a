"""`best_so_far.png`: the rewards of a search in the order of finishing, and what they are worth on new seeds."""

import itertools
import statistics
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tf_autodropout.patterns.document import written_beside
from tf_autodropout.search.core import Status
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.results.finalists import best_trial, raced
from tf_autodropout.search.results.trial_zero import trials_without_dropout, without_dropout

CURVE = "best_so_far.png"
_NEW = "#17765a"


def write_curve(directory: Path, ledger: LedgerReader, finalists: int) -> None:
    """Draws the picture.

    Args:
        directory: Output directory of the run.
        ledger: Its ledger; at least one trial has finished.
        finalists: How many raced at most.
    """
    save_figure(curve(ledger, finalists), directory / CURVE)


def curve(ledger: LedgerReader, finalists: int) -> Figure:
    """Returns the figure: a dot for each trial, the best so far, means over new seeds, a line for no dropout.

    The highest of many noisy rewards is in part luck; what it is worth on new seeds stands beside it, in words too.

    Args:
        ledger: Of the run; at least one trial has finished.
        finalists: How many raced at most.
    """
    outcomes = list(enumerate(ledger.outcomes(), start=1))
    place_of = {number: place for place, (number, _, _) in outcomes}
    points = [(p, reward) for p, (_, status, reward) in outcomes if status is Status.FINISHED and reward is not None]
    places, rewards = zip(*points, strict=True)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(places, rewards, "o", color="0.55", markersize=4, label="trial, one training")
    axes.step(
        [*places, len(outcomes)],
        [*itertools.accumulate(rewards, max), max(rewards)],
        where="post",
        color="black",
        linewidth=1.6,
        label="best so far, one training",
    )
    means = [(place_of[trial.number], statistics.fmean(earned)) for trial, earned in raced(ledger, finalists)]
    if means:
        at, heights = zip(*means, strict=True)
        axes.plot(at, heights, "D", color=_NEW, markersize=6.5, markeredgecolor="white", label="mean over new seeds")
    early = [(p, reward) for p, (_, status, reward) in outcomes if status is Status.STOPPED]
    if early:
        axes.plot(
            *zip(*early, strict=True), "o", color="0.55", markersize=4, fillstyle="none", label="ended early, expected"
        )
    fallen = [p for p, (_, status, _) in outcomes if status in (Status.FAILED, Status.INVALID)]
    if fallen:
        axes.plot(fallen, [min(rewards)] * len(fallen), "x", color="#b3261e", markersize=6, label="failed or invalid")
    means_of, without = "mean over new seeds", without_dropout(ledger)
    if not without:
        without = trials_without_dropout(ledger)
        means_of = f"mean of {len(without)} trials"
    if without:
        label = f"no dropout, {means_of if len(without) > 1 else 'one training'}"
        axes.axhline(statistics.fmean(without), color="#b4480a", linestyle="--", linewidth=1.4, label=label, zorder=1)
    axes.set(xlabel="trials, in the order of finishing", ylabel="reward (validation)", xlim=(0, len(outcomes) + 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_words(ledger, finalists, max(rewards)), fontsize=9, loc="left", color="0.25")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)  # beside the axes: it covers nothing
    return figure


def _words(ledger: LedgerReader, finalists: int, highest: float) -> str:
    """What the report calls the reward of the best, beside the top of the curve."""
    found = best_trial(ledger, finalists)
    assert found is not None  # a trial has finished
    best, reward = found
    seeds = next((len(earned) for trial, earned in raced(ledger, finalists) if trial.number == best.number), 1)
    if seeds == 1:
        return f"best: trial {best.number}, {reward:.4f} in one training, which is in part luck"
    return (
        f"best: trial {best.number}, {reward:.4f} as mean over {seeds} new seeds;\n"
        f"the highest single training had {highest:.4f}, which is in part luck"
    )


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Writes a picture beside its place, then renames it."""
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=dpi, format=path.suffix[1:])
