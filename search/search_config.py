"""`SearchConfig`: how a search searches. Brings TensorFlow only when the search begins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tf_autodropout.patterns.checks import check_bool, check_int, invalid
from tf_autodropout.search.core import Searcher
from tf_autodropout.search.halving import Halving
from tf_autodropout.search.loop import BATCH
from tf_autodropout.search.searchers import batch_of, begins_with_classics, check_searcher, make_searcher
from tf_autodropout.search.searchers.warm_start import WarmStart
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.tasks.opponents import known_patterns


@dataclass(frozen=True)
class SearchConfig:
    """What a search does beside its task: who suggests, how many at once, what is retrained at the end.

    Args:
        searcher: One of `SEARCHERS`: `"thompson"`, which measured best at all sizes up to 512 trials
            (`benchmarks/searchers.md`), `"reinforce"`, `"paper"`, `"evolution"`, `"tpe"` or `"random"`; or a function
            of search space and seed that makes a `Searcher`.
        searcher_settings: Of a searcher given by name: the fields of `LearnerConfig` for `"reinforce"` and `"paper"`,
            else the arguments of its class, such as `{"exploration": 0.5}` for `"thompson"`.
        capacity: C, the largest number of unfinished trials; None lets it grow with the engine, see `capacity_for`.
        batch: M, the number of finished trials that an update learns from; None for 1 with `"thompson"` and
            `"evolution"`, else 16.
        warm_start: Begin with no dropout and the classics at their usual rate, as far as the space has them: so a
            search starts where its user is today, and its first updates learn from them. Not with `"paper"`, `"random"`
            and a searcher of one's own.
        halving: End trials early that do not look promising, see `Halving`; True, or a mapping of its settings.
        finalists: The trials with the highest rewards that race on new seeds, before one of them is called the best,
            with three trainings each on average; 1: the highest reward decides, as in the paper.
        fresh_seeds: Seeds of the final table; 0 leaves it out.
        tuning: Trainings that tune the classics of the table; None for as many as the search has trials, 0 leaves them
            at their usual rate.
        trial_zero: Train without dropout before all trials, and say at the end whether what was found can be told from
            chance.

    Raises:
        ValueError: an unknown name or setting, a number out of range.

    Example:
        >>> from tf_autodropout.search import SearchConfig
        >>> SearchConfig("thompson", {"exploration": 0.5}, halving={"keep": 0.25}).searcher
        'thompson'
        >>> SearchConfig.paper().finalists
        1
    """

    searcher: str | Callable[[SearchSpace, int], Searcher] = "thompson"
    searcher_settings: Mapping[str, Any] = field(default_factory=dict)
    capacity: int | None = None
    batch: int | None = None
    halving: bool | Mapping[str, Any] = False
    finalists: int = 6
    fresh_seeds: int = 6
    tuning: int | None = None
    trial_zero: bool = False
    warm_start: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.searcher, str):
            check_searcher(self.searcher, self.searcher_settings)
        elif not callable(self.searcher):
            raise invalid("searcher", "the name of one, or a function of search space and seed", self.searcher)
        elif self.searcher_settings:
            raise invalid(
                "searcher_settings",
                "none beside a searcher of your own, which has its own",
                dict(self.searcher_settings),
            )
        for name, least in (("capacity", 1), ("batch", 1), ("finalists", 1), ("fresh_seeds", 0), ("tuning", 0)):
            if getattr(self, name) is not None or name in ("finalists", "fresh_seeds"):
                check_int(name, getattr(self, name), least)
        check_bool("trial_zero", self.trial_zero)
        check_bool("warm_start", self.warm_start)
        if not isinstance(self.halving, Mapping):
            check_bool("halving", self.halving)
        self.judge(0)

    @classmethod
    def paper(cls) -> "SearchConfig":
        """Returns the paper's own search: REINFORCE by Eq. 3 to the letter, and the highest reward decides."""
        return cls("paper", finalists=1)

    @property
    def updates_after(self) -> int:
        """M, whatever was said of it."""
        if self.batch is not None:
            return self.batch
        return batch_of(self.searcher, BATCH) if isinstance(self.searcher, str) else BATCH

    def make(self, space: SearchSpace, seed: int) -> Searcher:
        """Returns the searcher.

        Raises:
            ValueError: a setting that is of the right name, but not of a value that the searcher takes.
        """
        if not isinstance(self.searcher, str):
            return self.searcher(space, seed)
        searcher = make_searcher(self.searcher, space, seed, self.searcher_settings)
        if not self.warm_start or not begins_with_classics(self.searcher):
            return searcher
        known = [space.encode(p) for p in known_patterns(space.sites) if p or not self.trial_zero]
        return WarmStart(searcher, [tokens for tokens in known if tokens is not None])

    def judge(self, seed: int) -> Halving | None:
        """Returns what says where trials end; None if all are trained to their end.

        Raises:
            ValueError: from the constructor already: settings that `Halving` does not have or take.
        """
        settings = self.halving if isinstance(self.halving, Mapping) else {}
        try:
            return Halving(seed, **settings) if self.halving is not False else None
        except TypeError:
            raise invalid("halving", "True, False or settings among parts, keep, audited, warm_up", settings) from None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types; None stands for a searcher of one's own."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in settings.items():
            settings[name] = dict(value) if isinstance(value, Mapping) else value
        return settings | {"searcher": self.searcher if isinstance(self.searcher, str) else None}
