"""The honest end of a search: the best PatternSet against its opponents, on fresh seeds and test data.

The opponents, for every task: its own lines, no dropout first; the classics that fit, tuned on validation with as many
trainings as the search had; random PatternSets, another one for each seed, which is what a search starts from; and
TrivialPattern, a PatternSet that is drawn anew at every step: what beats it has learned something.

Reference:
    Müller and Hutter, TrivialAugment, ICCV 2021: the parameter-free baseline whose counterpart TrivialPattern is.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.core import Engine, Opponent, Scoring, Task, Trial
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.results.evaluation import Evaluation, evaluate
from tf_autodropout.search.results.paired import Lead, holm, paired_lead, smallest_p
from tf_autodropout.search.results.tuning import Tuning
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.tasks.opponents import Classic, classics_for

FOUND, RANDOM, TRIVIAL = "best PatternSet", "random PatternSets", "TrivialPattern"
LEVEL = 0.05
TRIVIAL_PATTERN = Opponent(TRIVIAL, PatternSet({}), drawn=True)
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
        """Makes a row from scores as JSON has them: None where the training diverged; an infinite one is that too."""
        sound = (
            tuple(s if s is not None and math.isfinite(s) else math.nan for s in scores) for scores in (valid, test)
        )
        return cls(name, *sound)

    @property
    def mean(self) -> float:
        """Mean test score."""
        return statistics.fmean(self.test)

    @property
    def deviation(self) -> float:
        """Sample standard deviation of the test score."""
        return statistics.stdev(self.test) if len(self.test) > 1 else float("nan")


def opponents_of(
    engine: Engine,
    ledger: Ledger,
    task: Task,
    budget: int,
    finalists: int,
    seed: int,
    progress: Callable[[str], None] = lambda name: None,
) -> list[Opponent]:
    """Returns the opponents that are the same for all seeds; none if the task has no test data.

    Args:
        engine: Of the search; no trial may be there.
        ledger: Ledger of the search.
        task: Says what fits, see `Task.opponents`.
        budget: Trainings that tune the classics; 0 leaves them at their usual rate.
        finalists: See `Tuning.run`.
        seed: Seed of the search.
        progress: Called with a few words before each training.
    """
    own = list(task.opponents())
    if not own:
        return []
    tuned = Tuning(engine, ledger, task.space, classics_of(task), budget, seed, progress).run(finalists)
    return [*own, *tuned, *([TRIVIAL_PATTERN] if getattr(task, "any_opponent", False) else [])]


def classics_of(task: Task) -> list[Classic]:
    """Returns the classics that are tuned as opponents of a task's search."""
    return classics_for(task.space.sites, getattr(task, "branch_ends", ()), getattr(task, "any_opponent", False))


def compare(
    engine: Engine,
    opponents: Sequence[Opponent],
    ledger: Ledger,
    best: Trial,
    space: SearchSpace,
    seed: int,
    count: int = 6,
    progress: Callable[[str], None] = lambda name: None,
) -> list[Row]:
    """Retrains the best PatternSet, its opponents and random PatternSets on fresh seeds and scores them on test.

    What is in the ledger already is not trained again.

    Args:
        engine: Of the search; no trial may be there.
        opponents: What `opponents_of` has returned.
        ledger: Ledger of the search.
        best: The trial that stands for the search.
        space: What random PatternSets are drawn from, one for each seed.
        seed: Seed of the search; the fresh seeds derive from it and were not used for any trial.
        count: Number of fresh seeds, at least 1.
        progress: Called with the name of each opponent before each training.

    Raises:
        RuntimeError: a training failed twice. Going on begins with it.
    """
    drawn = list(itertools.islice(random_opponents(space, seed), count))
    lines = [[Opponent(FOUND, best.patterns)] * count, *([one] * count for one in opponents), drawn]
    names = [f"{FOUND} #{best.number}", *(line[0].name for line in lines[1:])]
    return scored(engine, ledger, names, lines, [fresh_seed(seed, index) for index in range(count)], progress)


def fresh_seed(seed: int, index: int) -> int:
    """Returns a seed of the final table, which all its lines share; `seed` is that of the search."""
    return site_seed(seed, "fresh", index)


def random_opponents(space: SearchSpace, seed: int) -> Iterator[Opponent]:
    """Yields random PatternSets without end, one for each fresh seed; `seed` is that of the search."""
    return (Opponent(RANDOM, patterns) for patterns in space.draws(site_seed(seed, "random")))


def scored(
    engine: Engine,
    ledger: Ledger,
    names: Sequence[str],
    lines: Sequence[Sequence[Opponent]],
    seeds: Sequence[int],
    progress: Callable[[str], None] = lambda name: None,
) -> list[Row]:
    """Trains lines of a table on the same seeds; what is in the ledger already is not trained again.

    Args:
        engine: Of the search; no trial may be there.
        ledger: Ledger of the search.
        names: What the ledger knows the lines by.
        lines: The opponents of each line, one a seed; the first one names its row.
        seeds: Of the trainings of each line.
        progress: Called with the name of each opponent before each training.

    Raises:
        RuntimeError: a training failed twice. Going on begins with it.
    """
    evaluations = [
        Evaluation(name, index, Scoring(opponent, seed), opponent.name, _DIVERGED)
        for name, line in zip(names, lines, strict=True)
        for index, (opponent, seed) in enumerate(zip(line, seeds, strict=True))
    ]
    scores = evaluate(engine, ledger, evaluations, progress)
    rows = []
    for place, line in enumerate(lines):
        own = scores[place * len(seeds) : (place + 1) * len(seeds)]
        rows.append(Row.of(line[0].name, [s["valid"] for s in own], [s["test"] for s in own]))
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
    adjusted = holm([lead.p for _, lead in pairs])
    ahead = [(*pair, p) for pair, p in zip(pairs, adjusted, strict=True) if pair[1].mean < 0 and p < LEVEL]
    if ahead:  # the furthest of them, which need not be the furthest of all
        row, lead, p = min(ahead, key=lambda one: one[1].mean)
        return (
            f"The best PatternSet trails {row.name} by {described(lead)} over {seeds} paired seeds; sign-flip p "
            f"{p:.3g} after Holm."
        )
    tests = len(pairs) if least.mean < 0 else 1  # that the p is adjusted for
    reach = ""
    if (smallest := smallest_p(seeds, tests)) >= LEVEL:
        reach = f" {seeds} seeds cannot give a p below {smallest:.3g}{' after Holm' if tests > 1 else ''}."
    return f"No clear winner: against {rival.name} {figures}, largest sign-flip p {largest:.3g}.{reach}"


def described(lead: Lead) -> str:
    """A lead and its interval, as text."""
    if math.isnan(lead.mean):
        return "-"
    return f"{lead.mean:+.2f}" + ("" if math.isnan(lead.low) else f" [{lead.low:+.2f}, {lead.high:+.2f}]")
