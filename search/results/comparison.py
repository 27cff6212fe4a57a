"""The honest end of a search: the best PatternSet against its opponents, on fresh seeds and test data."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.core import Engine, Opponent, Scoring, Trial
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.results.evaluation import Evaluation, evaluate
from tf_autodropout.search.results.paired import Lead, holm, paired_lead

FOUND = "best PatternSet"
LEVEL = 0.05
_DIVERGED = {"valid": None, "test": None}  # what the ledger holds of such a training


@dataclass(frozen=True)
class Row:
    """One line of the table: an opponent's scores, one a seed.

    Args:
        name: Name of the opponent.
        valid: Score on the validation split for each seed; NaN where the training diverged.
        test: Score on the test split for each seed, alike.
    """

    name: str
    valid: tuple[float, ...]
    test: tuple[float, ...]

    @classmethod
    def of(cls, name: str, valid: Sequence[float | None], test: Sequence[float | None]) -> "Row":
        """Makes a row from scores as JSON has them: None where the training diverged."""
        return cls(name, *(tuple(math.nan if s is None else s for s in scores) for scores in (valid, test)))

    @property
    def mean(self) -> float:
        """Mean test score."""
        return statistics.fmean(self.test)

    @property
    def deviation(self) -> float:
        """Sample standard deviation of the test score."""
        return statistics.stdev(self.test) if len(self.test) > 1 else float("nan")


def compare(
    engine: Engine,
    opponents: Sequence[Opponent],
    ledger: Ledger,
    best: Trial,
    seed: int,
    count: int = 6,
    progress: Callable[[str], None] = lambda name: None,
) -> list[Row]:
    """Retrains the best PatternSet and its opponents on the same fresh seeds and scores them on test.

    What is in the ledger already is not trained again.

    Args:
        engine: Of the search; no trial may be there.
        opponents: Those of the task.
        ledger: Ledger of the search.
        best: The trial that stands for the search.
        seed: Seed of the search; the fresh seeds derive from it and were not used for any trial.
        count: Number of fresh seeds, at least 1.
        progress: Called with the name of each opponent before each training.

    Raises:
        RuntimeError: a training failed twice. Going on begins with it.
    """
    names = [f"{FOUND} #{best.number}", *(opponent.name for opponent in opponents)]
    lines = [Opponent(FOUND, best.patterns), *opponents]
    evaluations = [
        Evaluation(name, index, Scoring(opponent, site_seed(seed, "fresh", index)), opponent.name, _DIVERGED)
        for name, opponent in zip(names, lines, strict=True)
        for index in range(count)
    ]
    scores = evaluate(engine, ledger, evaluations, progress)
    rows = []
    for place, opponent in enumerate(lines):
        own = scores[place * count : (place + 1) * count]
        rows.append(Row.of(opponent.name, [s["valid"] for s in own], [s["test"] for s in own]))
    return rows


def leads(rows: Sequence[Row], lower_is_better: bool) -> list[Lead]:
    """Returns how far the first row, the best PatternSet, is ahead of each of the others over the same seeds."""
    found, *opponents = rows
    return [paired_lead(found.test, row.test, lower_is_better) for row in opponents]


def verdict(rows: Sequence[Row], lower_is_better: bool) -> str:
    """Says what the numbers carry, and no more.

    The best PatternSet leads where it is ahead of every opponent, each by itself beyond chance (p < 0.05): for a claim
    on all of them no correction is needed. It trails where an opponent is ahead of it, with the p of Holm: one of many
    is easily ahead by chance.
    """
    found, *opponents = rows
    if math.isnan(found.mean):
        return "A training of the best PatternSet diverged: no comparison."
    pairs = [
        (row, lead)
        for row, lead in zip(opponents, leads(rows, lower_is_better), strict=True)
        if not math.isnan(lead.mean)
    ]
    if not pairs:
        return "Every opponent diverged on some seed: no comparison."
    rival, least = min(pairs, key=lambda pair: pair[1].mean)
    seeds = len(found.test)
    if seeds < 2:
        return f"One seed tells nothing of the spread: {found.mean:.2f}, and {rival.mean:.2f} for {rival.name}."
    figures = f"{described(least)} over {seeds} paired seeds"
    largest = max(lead.p for _, lead in pairs)
    if least.mean > 0 and largest < LEVEL:
        return (
            f"The best PatternSet leads all {len(pairs)} opponents, the closest, {rival.name}, by {figures}; largest "
            f"sign-flip p {largest:.3g}."
        )
    adjusted = holm([lead.p for _, lead in pairs])[[lead for _, lead in pairs].index(least)]
    if least.mean < 0 and adjusted < LEVEL:
        return f"The best PatternSet trails {rival.name} by {figures}; sign-flip p {adjusted:.3g} after Holm."
    reach = "" if 2 / 2**seeds < LEVEL else f" {seeds} seeds cannot give a p below {2 / 2**seeds:.3g}."
    return f"No clear winner: against {rival.name} {figures}, largest sign-flip p {largest:.3g}.{reach}"


def described(lead: Lead) -> str:
    """A lead and its interval, as text."""
    if math.isnan(lead.mean):
        return "-"
    return f"{lead.mean:+.2f}" + ("" if math.isnan(lead.low) else f" [{lead.low:+.2f}, {lead.high:+.2f}]")
