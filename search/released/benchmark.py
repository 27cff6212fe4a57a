"""`benchmark`: what trainings of PatternSets came to, looked up instead of trained, as NAS-Bench-101 does it."""

import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_autodropout.patterns import Pattern, PatternSet, Site
from tf_autodropout.patterns.kinds import SEARCHED
from tf_autodropout.search.core import Status
from tf_autodropout.search.released.answer import Answer, NotRecordedError, Recorded
from tf_autodropout.search.released.table import read_table
from tf_autodropout.search.space import SPACE_VERSION, SearchSpace

if TYPE_CHECKING:
    from tf_autodropout.search.tasks.tabular import TabularTask

_COUNTED = (Status.FINISHED.value, Status.INVALID.value)

_Key = frozenset[tuple[str, Pattern]]


class Benchmark(Mapping[PatternSet, Answer]):
    """Recorded trainings of one task by PatternSet; `benchmark` makes it.

    It is a mapping: `len(...)` PatternSets, each with an `Answer`. Sites without a pattern and patterns that drop
    nothing are alike, and so are all sizes that cover a sequence. Trainings whose patterns change while training,
    those that ended early and those that failed are not in it.

    Args:
        space: The search space of the task.
        settings: What the task says of data, child and training.
        score: Name of the test score.
        lower_is_better: Whether a lower score is the better one.
        trainings: PatternSet and outcome of each training.
    """

    def __init__(
        self,
        space: SearchSpace,
        settings: Mapping[str, Any],
        score: str,
        lower_is_better: bool,
        trainings: Sequence[tuple[PatternSet, Recorded]],
    ) -> None:
        self.space, self.settings, self.score, self.lower_is_better = space, dict(settings), score, lower_is_better
        self._sites = {site.name: site for site in space.sites}
        self._patterns: dict[_Key, PatternSet] = {}
        found: dict[_Key, dict[int, Recorded]] = {}
        for patterns, recorded in trainings:
            key = self._key(patterns)
            self._patterns.setdefault(key, patterns)
            by_seed = found.setdefault(key, {})
            if recorded.seed not in by_seed or recorded.test is not None:  # the same training, once with its test score
                by_seed[recorded.seed] = recorded
        self._answers = {key: Answer.of(list(by_seed.values())) for key, by_seed in found.items()}
        self._by_seed = {(key, seed): one for key, by_seed in found.items() for seed, one in by_seed.items()}

    def query(self, patterns: PatternSet, seed: int | None = None) -> Answer | Recorded:
        """Returns what was recorded of a PatternSet.

        Args:
            patterns: Site to pattern.
            seed: Of one training, which is returned alone; None for all, with their means.

        Raises:
            NotRecordedError: a `KeyError`: there is no training of it, or none on this seed.
        """
        key = self._key(patterns)
        try:
            return self._answers[key] if seed is None else self._by_seed[key, seed]
        except KeyError:
            raise NotRecordedError(self._missing(key, seed)) from None

    def __getitem__(self, patterns: PatternSet) -> Answer:
        answer = self.query(patterns)
        assert isinstance(answer, Answer)
        return answer

    def __iter__(self) -> Iterator[PatternSet]:
        return iter(self._patterns.values())

    def __len__(self) -> int:
        return len(self._patterns)

    def __repr__(self) -> str:
        trainings = len(self._by_seed)
        return f"<Benchmark of {self.settings['name']}: {len(self)} PatternSets, {trainings} trainings>"

    @cached_property
    def repeated(self) -> tuple[PatternSet, ...]:
        """The PatternSets with trainings on two seeds or more."""
        return tuple(patterns for patterns, answer in self.items() if len(answer.trainings) > 1)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the reward from seed to seed, pooled over `repeated`; NaN if there are none."""
        sound = [self[patterns] for patterns in self.repeated]
        parts = [(len(answer.trainings) - 1, answer.deviation) for answer in sound if min(_rewards(answer)) > 0]
        freedom = sum(degrees for degrees, _ in parts)
        return math.sqrt(sum(d * s * s for d, s in parts) / freedom) if freedom else math.nan

    def task(self) -> "TabularTask":
        """Returns a task for comparing searchers: it answers for any PatternSet, by a model of what is recorded.

        A searcher suggests what no table holds, so a `Surrogate` of the recorded means answers, with `noise` on top.
        """
        from tf_autodropout.search.ledger.trial_table import TrialTable
        from tf_autodropout.search.tasks.tabular import TabularTask

        known = [(self.space.encode(patterns), answer.reward) for patterns, answer in self.items()]
        rows = [(tokens, reward) for tokens, reward in known if tokens is not None]
        tokens, rewards = zip(*rows, strict=True)
        noise = 0.0 if math.isnan(self.noise) else self.noise
        return TabularTask(TrialTable(self.space, tokens, rewards, {"task": self.settings}), noise)

    def ranking(
        self,
        fit: Callable[[Sequence[PatternSet], Sequence[float]], Callable[[PatternSet], float]],
        seen: int = 64,
        orders: int = 20,
        seed: int = 0,
    ) -> float:
        """Returns how well a model of the reward ranks PatternSets that it has not seen: a replay in random order.

        In each of several random orders the model is fitted on the first PatternSets, each with its first training as a
        search would have seen it, and orders the rest.

        Args:
            fit: From PatternSets and rewards to a model, such as `partial(Surrogate, space.sites)`.
            seen: Number of PatternSets that it is fitted on.
            orders: Number of random orders.
            seed: Of the orders.

        Returns:
            Spearman's rank correlation of predictions and mean rewards, the mean over the orders.

        Raises:
            ValueError: fewer than two PatternSets are left to be ranked, or none is seen.
        """
        patterns, answers = list(self), list(self.values())
        if not 1 <= seen <= len(patterns) - 2:
            raise ValueError(f"Invalid value for 'seen'. Expected 1 <= seen <= {len(patterns) - 2}. Received: {seen}")
        rng, found = np.random.default_rng(seed), []
        for _ in range(orders):
            order = rng.permutation(len(patterns)).tolist()
            first, rest = order[:seen], order[seen:]
            model = fit([patterns[place] for place in first], [_rewards(answers[place])[0] for place in first])
            predicted = [model(patterns[place]) for place in rest]
            found.append(_rank_correlation(predicted, [answers[place].reward for place in rest]))
        return statistics.fmean(found)

    def _key(self, patterns: Mapping[str, Pattern]) -> _Key:
        sites = self._sites
        return frozenset(
            (name, _written(pattern, sites[name].sizes) if name in sites else pattern)
            for name, pattern in patterns.items()
            if not pattern.is_identity
        )

    def _missing(self, key: _Key, seed: int | None) -> str:
        if key in self._answers:
            seeds = ", ".join(str(one.seed) for one in self._answers[key].trainings)
            return f"No training of this PatternSet on seed {seed} is recorded. Its seeds: {seeds}"
        wanted = dict(key)

        def unlike(other: _Key) -> list[str]:
            theirs = dict(other)
            return [name for name in {**wanted, **theirs} if wanted.get(name) != theirs.get(name)]

        if unknown := sorted(wanted.keys() - self._sites.keys()):
            return f"Site '{unknown[0]}' is none of {self.settings['name']}. Its sites: {', '.join(self._sites)}"
        nearest = min(self._answers, key=lambda other: len(unlike(other)))
        place = list(self._answers).index(nearest)
        return (
            f"This PatternSet is none of the {len(self)} that are recorded. The nearest, number {place} of "
            f"list(benchmark), differs at {len(unlike(nearest))} of {len(self._sites)} sites: "
            f"{', '.join(sorted(unlike(nearest)))}"
        )


def _written(pattern: Pattern, sizes: tuple[int, ...]) -> Pattern:
    """Returns what drops the same, always written alike: one block over all tokens has no stride."""
    here = pattern.within(sizes)
    return replace(here, stride=0) if not here.ON_MAPS and here.covers(sizes) else here  # type: ignore[type-var]


def benchmark(task: str = "pydoc", table: str | Path | None = None, **settings: Any) -> Benchmark:
    """Returns what is recorded of a task in the released table: a training is looked up in microseconds.

    The table holds all trainings of the project's campaigns: search trials, tuned classics, finalists and fresh seeds.
    Its data card, `search/released/trials.parquet.md`, tells of fields, seeds, repeats, licences and limits.

    Args:
        task: Name of the task.
        table: A table that `benchmarks/released_table.py` wrote; None for the one that comes with the package.
        **settings: That tell several records of one task apart, such as `steps=200`.

    Returns:
        `Benchmark`.

    Raises:
        ValueError: a task that is not in the table, or none or several with these settings.

    Example:
        >>> import tf_autodropout as tad
        >>> recorded = tad.search.benchmark("pydoc")
        >>> answer = recorded.query(tad.PatternSet({}))  # no dropout
        >>> len(answer.trainings) > 1, 1 < answer.reward < 2, answer.deviation < 0.1
        (True, True, True)
        >>> best = max(recorded, key=lambda patterns: recorded[patterns].reward)
        >>> recorded[best].reward > answer.reward
        True
        >>> recorded.query(tad.PatternSet({"ffn": tad.TransformerPattern(size=3, rate=0.7)}))
        Traceback (most recent call last):
        ...
        tf_autodropout.search.released.answer.NotRecordedError: This PatternSet is none of the ... that are recorded...

    Reference:
        Ying et al., NAS-Bench-101: Towards Reproducible Neural Architecture Search, ICML 2019.
    """
    rows, about = read_table(None if table is None else Path(table))
    there = dict.fromkeys(row["task"] for row in rows)
    if task not in there:
        raise ValueError(f"Invalid value for 'task'. Expected one of {', '.join(there)}. Received: task={task!r}")
    known = {text: json.loads(text) for text in dict.fromkeys(row["settings"] for row in rows if row["task"] == task)}
    fitting = [text for text, told in known.items() if all(told.get(name) == value for name, value in settings.items())]
    if len(fitting) != 1:
        raise ValueError(
            f"Expected settings of one record of '{task}'. Received: {settings}, which fit {len(fitting)} of "
            f"{len(known)}; they differ in {_differences(list(known.values()))}"
        )
    own = [row for row in rows if row["settings"] == fitting[0]]
    told = about[own[0]["run"]]
    if (version := told["config"]["task"]["space"]["version"]) != SPACE_VERSION:
        raise ValueError(f"Expected a table of space version {SPACE_VERSION}. Received: {version}")
    sites = tuple(Site(name, SEARCHED[kind], tuple(shape), *place) for name, kind, shape, *place in told["sites"])
    trainings = [
        (PatternSet.from_json(row["patterns"]), Recorded(row["training_seed"], **{name: row[name] for name in _FIELDS}))
        for row in own
        if not (row["patterns"] is None or row["reward"] is None or row["schedule"]) and row["status"] in _COUNTED
    ]
    space = SearchSpace(sites, told["granularity"])
    return Benchmark(space, known[fitting[0]], told["score"], told["lower_is_better"], trainings)


_FIELDS = ("reward", "valid", "test", "seconds", "role", "run")


def _rewards(answer: Answer) -> list[float]:
    return [one.reward for one in answer.trainings]


def _rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    import scipy.stats

    if min(np.ptp(one), np.ptp(other)) == 0:  # a model that answers alike ranks nothing
        return 0.0
    return float(scipy.stats.spearmanr(one, other).statistic)


def _differences(told: Sequence[Mapping[str, Any]]) -> str:
    names = dict.fromkeys(name for one in told for name in one)
    unlike = {name: [one.get(name) for one in told] for name in names}
    return (
        "; ".join(
            f"{name}: {', '.join(sorted({json.dumps(value) for value in values}))}"
            for name, values in unlike.items()
            if len({json.dumps(value) for value in values}) > 1
        )
        or "nothing"
    )
