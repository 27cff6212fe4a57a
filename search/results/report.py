"""Writes and prints what a search found: best.json, pictures, curve, table."""

import itertools
import json
import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import printable
from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.core import Status, Trial
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.results.comparison import FOUND, Row, described, leads, verdict
from tf_autodropout.search.results.finalists import best_trial
from tf_autodropout.search.results.paired import holm
from tf_autodropout.search.results.trial_zero import lead
from tf_autodropout.visualize import plot, summary

BEST, PICTURE, CURVE, REPORT, ROWS = "best.json", "best.png", "best_so_far.png", "report.md", "table.json"


def write_best(directory: Path, best: Trial, reward: float, finalists: int, config: dict[str, Any]) -> PatternSet:
    """Writes the best PatternSet with its provenance, and its picture."""
    shapes = config["task"]["space"]["sites"]
    notes = {
        "made_by": "tf_autodropout search",
        "task": config["task"]["name"],
        "searcher": config["searcher"]["name"],
        "seed": config["seed"],
        "trial": best.number,
        "reward": reward,
        "finalists": finalists,
        "space_version": config["task"]["space"]["version"],
        "sites": shapes,
    }
    found = PatternSet(best.patterns, notes)
    found.save(directory / BEST)
    save_figure(plot(found, shapes), directory / PICTURE)
    return found


def write_curve(directory: Path, outcomes: Sequence[tuple[int, Status, float | None]]) -> None:
    """Draws the rewards of `LedgerReader.outcomes` and the best so far, in the order of finishing."""
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    points = [
        (place, reward)
        for place, (_, status, reward) in enumerate(outcomes, start=1)
        if status is Status.FINISHED and reward is not None
    ]
    places, rewards = zip(*points, strict=True)
    best = list(itertools.accumulate(rewards, max))
    axes.plot(places, rewards, "o", color="0.55", markersize=4, label="trial")
    axes.step(places, best, where="post", color="black", linewidth=1.6, label="best so far")
    axes.set(xlabel="finished trials", ylabel="reward (validation)", xlim=(0, max(places) + 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    save_figure(figure, directory / CURVE)


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Writes a picture beside its place, then renames it."""
    beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        figure.savefig(beside, dpi=dpi)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def drop_table_of_another(directory: Path, best: Trial) -> None:
    """Removes a final table that was made when another trial was the best; its trainings stay in the ledger."""
    if (directory / ROWS).exists() and _stored_table(directory).get("trial") != best.number:
        (directory / REPORT).unlink(missing_ok=True)
        (directory / ROWS).unlink()


def write_table(
    directory: Path,
    best: Trial,
    rows: Sequence[Row],
    score: str,
    lower_is_better: bool,
    config: dict[str, Any],
    tuning: int,
) -> None:
    """Writes the final table for people (report.md) and for programs (table.json)."""
    pairs = leads(rows, lower_is_better)
    document = {
        "trial": best.number,
        "score": score,
        "lower_is_better": lower_is_better,
        "tuning": tuning,
        "rows": [{"name": row.name, "valid": _as_json(row.valid), "test": _as_json(row.test)} for row in rows],
        "leads": [
            {"over": row.name, "mean": mean, "low": low, "high": high, "p": pair.p, "p_holm": adjusted}
            for row, pair, adjusted in zip(rows[1:], pairs, holm([pair.p for pair in pairs]), strict=True)
            for mean, low, high in [_as_json((pair.mean, pair.low, pair.high))]
        ],
    }
    write_text(directory / ROWS, json.dumps(document, indent=2, allow_nan=False) + "\n")
    lines = [
        f"# Search on `{config['task']['name']}`",
        "",
        f"Searcher `{config['searcher']['name']}`, seed {config['seed']}; settings: "
        f"`{json.dumps(config['searcher'], sort_keys=True)}`.",
        "",
        f"| regularization | {score}, mean | standard deviation | validation, mean | seeds | lead over it, 95 % | p | "
        "p, Holm |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *("| " + " | ".join(cells) + " |" for cells in _lines(rows, lower_is_better)),
        "",
        "Lead: mean paired difference of the best PatternSet over the same seeds, with a BCa bootstrap interval; p of "
        "the sign-flip test, two-sided, alone and for all opponents together.",
        "",
        verdict(rows, lower_is_better) + " " + _how(tuning),
        "",
        f"![best PatternSet]({PICTURE})",
        "",
        f"![best so far]({CURVE})",
    ]
    write_text(directory / REPORT, "\n".join(lines) + "\n")


def _how(tuning: int) -> str:
    """How the classics got their rates; several in a name are those of roles, in the order of the network."""
    if not tuning:
        return "Rates of the classics are as stated, not tuned."
    return (
        f"The classics were tuned on validation with up to {tuning} trainings; each random line has another set a seed."
    )


def print_report(console: Console, directory: Path, ledger: LedgerReader, config: dict[str, Any]) -> None:
    """Prints the state of a run: trials, best PatternSet and, if it was made, the final table."""
    counts = ", ".join(f"{count} {status}" for status, count in ledger.counts().items())
    name, searcher = (escape(printable(str(config[part]["name"]))) for part in ("task", "searcher"))
    console.print(f"[bold]{name}[/bold], searcher {searcher}, seed {config['seed']}")
    console.print(f"trials: {counts or 'none'}")
    if own := config["task"].get("own_dropout"):
        console.print(printable(f"the network keeps dropout of its own: {', '.join(own)}"), markup=False)
    found = best_trial(ledger, _finalists(directory))
    if found is None:
        return
    best, reward = found
    console.print(f"[bold]Best PatternSet[/bold]: trial {best.number}, reward {reward:.4f}")
    table = Table("site", "pattern")
    for site, pattern in best.patterns.items():
        table.add_row(escape(site), summary(pattern).replace("\n", ", "))
    console.print(table)
    if chance := lead(ledger, best, _finalists(directory)):
        console.print(printable(chance), markup=False)
    document = _stored_table(directory)
    if document and document["trial"] == best.number:  # not before: a search at work may have found a better one
        print_table(console, document["rows"], document["score"], document["lower_is_better"], document["tuning"])


def print_table(console: Console, rows: Sequence[Row], score: str, lower_is_better: bool, tuning: int) -> None:
    """Prints the final table with what its numbers carry."""
    direction = "lower" if lower_is_better else "higher"
    seeds = len(rows[0].test)
    named = escape(printable(score))
    console.print(f"[bold]Retrained on {seeds} fresh seed{'s'[: seeds > 1]}; {named}, {direction} is better[/bold]")
    table = Table()
    table.add_column("regularization", no_wrap=True)
    for heading in ("test ± std", "lead over it, 95 %", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, mean, deviation, _, _, ahead, p, _ in _lines(rows, lower_is_better):  # the rest is in report.md
        scores = mean if deviation == "-" else f"{mean} ± {deviation}"
        table.add_row(escape(printable(name)), scores, ahead, p, style="bold" if name == FOUND else None)
    console.print(table)
    console.print(printable(f"{verdict(rows, lower_is_better)} {_how(tuning)}"), markup=False)


def _lines(rows: Sequence[Row], lower_is_better: bool) -> list[list[str]]:
    """The table's lines: name, mean, deviation, validation, seeds, lead, p and p of Holm."""
    pairs = leads(rows, lower_is_better)
    lines = [[rows[0].name, *_cells(rows[0]), str(len(rows[0].test)), "", "", ""]]
    for row, pair, adjusted in zip(rows[1:], pairs, holm([pair.p for pair in pairs]), strict=True):
        chances = ["-", "-"] if math.isnan(pair.low) else [f"{pair.p:.3g}", f"{adjusted:.3g}"]
        lines.append([row.name, *_cells(row), str(len(row.test)), described(pair), *chances])
    return lines


def _cells(row: Row) -> list[str]:
    """Mean, standard deviation and mean on validation, as texts."""
    if math.isnan(row.mean):
        return ["diverged", "-", "-"]
    deviation = f"{row.deviation:.2f}" if len(row.test) > 1 else "-"
    return [f"{row.mean:.2f}", deviation, f"{statistics.fmean(row.valid):.2f}"]


def _as_json(scores: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(score) else score for score in scores]


def _stored_table(directory: Path) -> dict[str, Any]:
    """The final table as it was written; empty if there is none, or a damaged one: the search makes it anew."""
    try:
        document = json.loads((directory / ROWS).read_text(encoding="utf-8"))
        rows = [Row.of(str(row["name"]), row["valid"], row["test"]) for row in document["rows"]]
        if not all(len(row.test) == len(row.valid) == len(rows[0].test) > 0 for row in rows) or len(rows) < 2:
            return {}
        if not all(isinstance(score, int | float) for row in rows for score in (*row.valid, *row.test)):
            return {}
        told = {"score": str(document["score"]), "lower_is_better": bool(document["lower_is_better"])}
        return {"trial": document["trial"], "rows": rows, "tuning": int(document.get("tuning", 0)), **told}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _finalists(directory: Path) -> int:
    """How many finalists there were when best.json was written; 1 if it was not, or is damaged."""
    try:
        number = PatternSet.load(directory / BEST).provenance.get("finalists", 1)
    except (OSError, ValueError):
        return 1
    return number if type(number) is int and number > 0 else 1
