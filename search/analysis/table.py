"""The analysis of a run as a table and a picture."""

import itertools
import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.analysis.common import Common
from tf_autodropout.search.results.comparison import LEVEL, Row
from tf_autodropout.search.results.paired import Lead, holm, smallest_p
from tf_autodropout.search.results.report import cells_of
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.visualize import summary

_SURE, _OPEN = "C0", "0.55"  # colours of a lead beyond chance, and of one that may be chance


def table(
    title: str,
    score: str,
    found: PatternSet,
    rows: Sequence[Row],
    pairs: Sequence[Lead],
    space: SearchSpace,
    common: Sequence[Common],
    counted: str,
) -> str:
    """Returns the analysis as Markdown.

    Args:
        title: Of which run and which PatternSet.
        score: What the test scores are.
        found: The best PatternSet, without patterns that drop nothing.
        rows: Scores of the PatternSet as it was found, and of its variations.
        pairs: The lead of the first row over each of the others.
        space: Of the search.
        common: What the best PatternSets have in common.
        counted: How many those are, of how many.
    """
    lines = [
        f"# {title}",
        "",
        f"| variation | {score} | lead over it, 95 % | p | p, Holm |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, mean, deviation, _, _, ahead, p, adjusted in cells_of(rows, pairs):
        scores = mean if deviation == "-" else f"{mean} ± {deviation}"
        lines.append(f"| {name} | {scores} | {ahead} | {p} | {adjusted} |")
    lines += [
        "",
        "Lead: mean paired difference over the same seeds, with a BCa bootstrap interval; above 0 the PatternSet as it "
        "was found is better, and owes it to what the variation has otherwise. p of the sign-flip test, two-sided, "
        "alone and for all variations together.",
        "",
        verdict(rows, pairs),
        "",
        f"## What the {counted} PatternSets have in common",
        "",
        "| sites | pattern as found | of the best drop there | of all | most of the best resemble |",
        "|---|---|---:|---:|---|",
    ]
    for row in common:
        site = space.groups[row.group][0].name
        own = summary(found[site]).replace("\n", ", ") if site in found else "none"
        lines.append(f"| {row.group} | {own} | {row.best:.0%} | {row.all:.0%} | {row.resembles} |")
    return "\n".join([*lines, ""])


def verdict(rows: Sequence[Row], pairs: Sequence[Lead]) -> str:
    """Says which variations can be told from the PatternSet as it was found, and no more.

    Args:
        rows: Scores of the PatternSet as it was found, and of its variations.
        pairs: The lead of the first row over each of the others.

    Example:
        >>> from tf_autodropout.search.analysis.table import verdict
        >>> from tf_autodropout.search.results.comparison import Row, leads
        >>> rows = [Row("as found", (90.0,) * 3, (90.0, 91.0, 92.0)), Row("uniform", (89.0,) * 3, (89.0, 90.5, 91.0))]
        >>> verdict(rows, leads(rows, lower_is_better=False))
        'No variation can be told from the set as found. 3 seeds cannot give a p below 0.05 after Holm, 6 can.'
    """
    if not pairs:
        return "The set drops nothing: there is nothing to vary."
    if math.isnan(rows[0].mean):
        return "A training of the set as found diverged: no comparison."
    told = [
        (row.name, lead)
        for row, lead, p in zip(rows[1:], pairs, holm([lead.p for lead in pairs]), strict=True)
        if p < LEVEL
    ]
    better, worse = (
        ", ".join(name for name, lead in told if lead.mean * sign > 0) or "none of its variations" for sign in (1, -1)
    )
    if told:
        rest = " The others cannot be told from it." if len(told) < len(pairs) else ""
        return f"Beyond chance, p < {LEVEL} after Holm, the set as found is ahead of {better}; behind {worse}.{rest}"
    seeds, needed = len(rows[0].test), next(n for n in itertools.count(1) if smallest_p(n, len(pairs)) < LEVEL)
    reach = f" {seeds} seeds cannot give a p below {LEVEL} after Holm, {needed} can." if seeds < needed else ""
    return f"No variation can be told from the set as found.{reach}"


def picture(title: str, score: str, rows: Sequence[Row], pairs: Sequence[Lead]) -> Figure:
    """Draws the leads over the variations with their intervals.

    Args:
        title: Of which run and which PatternSet.
        score: What the test scores are.
        rows: Scores of the PatternSet as it was found, and of its variations.
        pairs: The lead of the first row over each of the others.
    """
    figure = Figure(figsize=(7, 1.6 + 0.35 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for place, (lead, p) in enumerate(zip(pairs, holm([lead.p for lead in pairs]), strict=True)):
        color = _SURE if p < LEVEL else _OPEN
        if not math.isnan(lead.low):
            axes.plot([lead.low, lead.high], [place, place], color=color, linewidth=2)
        if math.isnan(lead.mean):
            axes.text(0, place, " diverged", va="center", fontsize=9)
        axes.plot(lead.mean, place, "o", color=color)
    axes.axvline(0, color="0.8", linewidth=1, zorder=0)
    axes.set_yticks(range(len(pairs)), [row.name for row in rows[1:]])
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        f"{title}\n{len(rows[0].test)} paired seeds, 95 % intervals; blue: p < {LEVEL} after Holm",
        fontsize=9,
        loc="left",
        color="0.25",
    )
    axes.set_xlabel(f"lead of the set as found, {score}\n← the variation is better      the set as found is better →")
    return figure
