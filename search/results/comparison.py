"""The honest end of a search: the best PatternSet against its opponents, on fresh seeds and test data."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.core import Engine, Opponent, Scoring, Trial
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.results.evaluation import Evaluation, evaluate

FOUND = "best PatternSet"
_DIVERGED = {"valid": None, "test": None}  # what the ledger holds of such a training


@dataclass(frozen=True)
class Row:
    """One line of the table: a opponent's scores, one a seed.

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
    count: int = 3,
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


def verdict(rows: Sequence[Row], lower_is_better: bool) -> str:
    """Says what the numbers carry, and no more: whether the best PatternSet leads beyond the seeds' spread."""
    found, *opponents = rows
    if math.isnan(found.mean):
        return "A training of the best PatternSet diverged: no comparison."
    opponents = [row for row in opponents if not math.isnan(row.mean)]
    if not opponents:
        return "Every opponent diverged on some seed: no comparison."
    sign = 1 if lower_is_better else -1
    rival = min(opponents, key=lambda row: sign * row.mean)
    lead = sign * (rival.mean - found.mean)
    noise = (found.deviation**2 / len(found.test) + rival.deviation**2 / len(rival.test)) ** 0.5
    if len(found.test) < 2:
        return f"One seed tells nothing of the spread: {found.mean:.2f}, and {rival.mean:.2f} for {rival.name}."
    figures = f"{found.mean:.2f} against {rival.mean:.2f} for {rival.name}"
    if lead > 2 * noise:
        return f"The best PatternSet leads: {figures}, more than two standard errors ({noise:.2f}) apart."
    if lead < -2 * noise:
        return f"The best PatternSet trails: {figures}, more than two standard errors ({noise:.2f}) apart."
    return f"No clear winner: {figures}, within two standard errors ({noise:.2f}) over {len(found.test)} seeds."
