"""A table of the paper beside what was run."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.recipes.recipe import Recipe
from tf_autodropout.search.recipes.rows import RowResult
from tf_autodropout.search.results.paired import paired_lead

NOT_RUN = "not run"
_HEAD = ("row", "paper", "here", "seeds", "ahead of the first row (95 %)", "steps", "data", "time a seed")


def table_lines(
    recipes: Sequence[Recipe], rows: Sequence[RowResult], why: Mapping[str, str] | None = None
) -> list[tuple[str, tuple[tuple[str, ...], ...]]]:
    """Returns the cells of a table, one block a column of the paper.

    Args:
        recipes: Its rows in order.
        rows: What was run, all of one scale.
        why: Name of a recipe to why it was not run.

    Returns:
        Pairs of heading and rows of cells, as `HEAD`.
    """
    blocks: dict[str, list[tuple[str, ...]]] = {}
    reference: dict[str, list[RowResult]] = {}
    for recipe in recipes:
        own = [row for row in rows if row.recipe == recipe.name]
        first = reference.setdefault(recipe.column, own) if own else reference.get(recipe.column, [])
        blocks.setdefault(f"{recipe.column}: {recipe.score}", []).append(
            _cells(recipe, own, first if first is not own else [], (why or {}).get(recipe.name, ""))
        )
    return [(heading, tuple(cells)) for heading, cells in blocks.items()]


def write_paper_table(
    path: Path, title: str, recipes: Sequence[Recipe], rows: Sequence[RowResult], why: Mapping[str, str] | None = None
) -> None:
    """Writes a table as Markdown, with the paper's figures beside ours."""
    lines = [f"# {title}", ""]
    for heading, cells in table_lines(recipes, rows, why):
        lines += [f"## {heading}", "", _line(_HEAD), _line(["---"] * len(_HEAD)), *map(_line, cells), ""]
    lines += [
        "Paper: the main text's figures and, where a source is named, others'; its appendix could not be obtained, and "
        "figures that could not be are left out. ± is the standard deviation over seeds. At scales below full sizes "
        "and steps are ours, and the figures are not to be compared with the paper's.",
        "",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(lines))


def head() -> tuple[str, ...]:
    """Returns the headings of the cells."""
    return _HEAD


def _cells(recipe: Recipe, own: Sequence[RowResult], first: Sequence[RowResult], why: str) -> tuple[str, ...]:
    figure = "" if recipe.figure is None else str(recipe.figure.value)
    if recipe.figure is not None and recipe.figure.source != "paper":
        figure += f" ({recipe.figure.source.removeprefix('public: ')})"
    if not own:
        return recipe.row, figure, f"{NOT_RUN}{f': {why}' if why else ''}", "", "", "", "", ""
    scores = [row.score for row in own]
    here = f"{statistics.mean(scores):.2f}"
    if len(scores) > 1:
        here += f" ± {statistics.stdev(scores):.2f}"
    seconds = statistics.mean(row.seconds for row in own)
    steps, data = str(own[0].plan.get("steps", "")), own[0].data
    return recipe.row, figure, here, str(len(own)), _lead(recipe, own, first), steps, data, _time(seconds)


def _lead(recipe: Recipe, own: Sequence[RowResult], first: Sequence[RowResult]) -> str:
    """Paired over the seeds that both have."""
    theirs = {row.seed: row.score for row in first}
    pairs = [(row.score, theirs[row.seed]) for row in own if row.seed in theirs]
    if not pairs:
        return ""
    lead = paired_lead([ours for ours, _ in pairs], [other for _, other in pairs], recipe.lower_is_better)
    interval = "" if math.isnan(lead.low) else f" ({lead.low:+.2f} to {lead.high:+.2f})"
    return f"{lead.mean:+.2f}{interval}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.0f} min"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
