"""Writes and prints what a search found: best.json, pictures, curve, table."""

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import printable
from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.core import Trial
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.results.comparison import FOUND, Row, described, leads, verdict
from tf_autodropout.search.results.curve import CURVE, save_figure
from tf_autodropout.search.results.finalists import best_trial, rewards_of
from tf_autodropout.search.results.paired import Lead, holm
from tf_autodropout.search.results.trial_list import HEADINGS, failures, highest, told
from tf_autodropout.search.results.trial_zero import lead
from tf_autodropout.visualize import plot, summary

_WIDE = 80  # columns of a terminal for a line of the final table
BEST, PICTURE, REPORT, ROWS = "best.json", "best.png", "report.md", "table.json"


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


def drop_table_of_another(directory: Path, best: Trial) -> None:
    """Removes a final table that was made when another trial was the best; its trainings stay in the ledger."""
    if (directory / ROWS).exists() and _stored_table(directory).get("trial") != best.number:
        (directory / REPORT).unlink(missing_ok=True)
        (directory / ROWS).unlink()


def write_table(
    directory: Path,
    ledger: LedgerReader,
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
    } | as_json(rows, pairs)
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
        *("| " + " | ".join(cells) + " |" for cells in cells_of(rows, pairs)),
        "",
        "Lead: mean paired difference of the best PatternSet over the same seeds, with a BCa bootstrap interval; p of "
        "the sign-flip test, two-sided, alone and for all opponents together.",
        "",
        verdict(rows, lower_is_better) + " " + _how(tuning),
        "",
        f"![best PatternSet]({PICTURE})",
        "",
        f"![best so far]({CURVE})",
        *_trials_in_words(ledger, _finalists(directory)),
    ]
    write_text(directory / REPORT, "\n".join(lines) + "\n")


def _trials_in_words(ledger: LedgerReader, finalists: int) -> list[str]:
    """The trials as Markdown; reasons come from tasks and stay text."""
    counts = ", ".join(f"{count} {status}" for status, count in ledger.counts().items())
    lines = ["", "## Trials", "", f"{counts}. The highest rewards, each of one training:", ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|---:" * len(HEADINGS) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in highest(ledger, finalists)]
    if failed := failures(ledger):
        lines += ["", "What came to nothing:", "", *("- `" + one.replace("`", "'") + "`" for one in told(failed))]
    return lines


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
    for one in told(failures(ledger)):
        console.print(f"  {one}", markup=False)
    found = best_trial(ledger, _finalists(directory))
    if found is None:
        return
    best, reward = found
    seeds = len(rewards_of(ledger, best)) if _finalists(directory) > 1 else 1
    of_what = f"mean over {seeds} new seeds" if seeds > 1 else "of one training"
    console.print(f"[bold]Best PatternSet[/bold]: trial {best.number}, reward {reward:.4f}, {of_what}")
    table = Table("site", "pattern")
    for site, pattern in best.patterns.items():
        table.add_row(escape(site), summary(pattern).replace("\n", ", "))
    console.print(table)
    _print_highest(console, highest(ledger, _finalists(directory)))
    if chance := lead(ledger, best, _finalists(directory)):
        console.print(printable(chance), markup=False)
    document = _stored_table(directory)
    if document and document["trial"] == best.number:  # not before: a search at work may have found a better one
        print_table(console, document["rows"], document["score"], document["lower_is_better"], document["tuning"])


def _print_highest(console: Console, lines: Sequence[Sequence[str]]) -> None:
    console.print("[bold]Highest rewards[/bold], each of one training")
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for cells in lines:
        table.add_row(*cells)
    console.print(table)


def print_table(console: Console, rows: Sequence[Row], score: str, lower_is_better: bool, tuning: int) -> None:
    """Prints the final table with what its numbers carry."""
    direction = "lower" if lower_is_better else "higher"
    seeds = len(rows[0].test)
    named = escape(printable(score))
    console.print(f"[bold]Retrained on {seeds} fresh seed{'s'[: seeds > 1]}; {named}, {direction} is better[/bold]")
    table, whole = Table(), console.width >= _WIDE  # else a cell takes several lines, and all its figures stay
    table.add_column("regularization", no_wrap=whole, overflow="fold")
    for heading in ("test ± std", "lead over it, 95 %", "p"):
        table.add_column(heading, justify="right", no_wrap=whole, overflow="fold")
    pairs = leads(rows, lower_is_better)
    for name, mean, deviation, _, _, ahead, p, _ in cells_of(rows, pairs):  # the rest is in report.md
        scores = mean if deviation == "-" else f"{mean} ± {deviation}"
        table.add_row(escape(printable(name)), scores, ahead, p, style="bold" if name == FOUND else None)
    console.print(table)
    console.print(printable(f"{verdict(rows, lower_is_better)} {_how(tuning)}"), markup=False)


def as_json(rows: Sequence[Row], pairs: Sequence[Lead]) -> dict[str, Any]:
    """Returns the rows of a table and the leads of the first one, as JSON types; None stands for what diverged.

    Args:
        rows: Of the table.
        pairs: The lead of the first row over each of the others.
    """
    return {
        "rows": [{"name": row.name, "valid": _finite(row.valid), "test": _finite(row.test)} for row in rows],
        "leads": [
            {"over": row.name, "mean": mean, "low": low, "high": high, "p": pair.p, "p_holm": adjusted}
            for row, pair, adjusted in zip(rows[1:], pairs, holm([pair.p for pair in pairs]), strict=True)
            for mean, low, high in [_finite((pair.mean, pair.low, pair.high))]
        ],
    }


def cells_of(rows: Sequence[Row], pairs: Sequence[Lead]) -> list[list[str]]:
    """Returns the lines of a table as texts: name, mean, deviation, validation, seeds, lead, p and p of Holm.

    Args:
        rows: Of the table.
        pairs: The lead of the first row over each of the others.
    """
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


def _finite(scores: Sequence[float]) -> list[float | None]:
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
