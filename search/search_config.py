"""`SearchConfig`: how a search searches. Brings TensorFlow only when the search begins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tf_autodropout.patterns.checks import check_bool, check_int, invalid
from tf_autodropout.search.core import Searcher
from tf_autodropout.search.halving import Halving
from tf_autodropout.search.loop import BATCH
from tf_autodropout.search.searchers import check_searcher, make_searcher
from tf_autodropout.search.space import SearchSpace


@dataclass(frozen=True)
class SearchConfig:
    """What a search does beside its task: who suggests, how many at once, what is retrained at the end.

    Args:
        searcher: One of `SEARCHERS`: `"reinforce"`, `"thompson"`, `"evolution"`, `"tpe"` or `"random"`; or a function
            of search space and seed that makes a `Searcher`.
        searcher_settings: Of a searcher given by name: the fields of `LearnerConfig` for `"reinforce"`, else the
            arguments of its class, such as `{"exploration": 0.5}` for `"thompson"`.
        capacity: C, the largest number of unfinished trials; None lets it grow with the engine, see `capacity_for`.
        batch: M, the number of finished trials that an update learns from.
        halving: End trials early that do not look promising, see `Halving`; True, or a mapping of its settings.
        finalists: The trials with the highest rewards that are retrained on two more seeds, before one of them is
            called the best; 1: the highest reward decides, as in the paper.
        fresh_seeds: Seeds of the final table; 0 leaves it out.
        trial_zero: Train without dropout before all trials, and say at the end whether what was found can be told from
            chance.

    Raises:
        ValueError: an unknown name or setting, a number out of range.

    Example:
        >>> from tf_autodropout.search import SearchConfig
        >>> SearchConfig("thompson", {"exploration": 0.5}, halving={"keep": 0.25}).batch
        16
        >>> SearchConfig.paper().searcher_settings["ratio_clip"]
        0.0
    """

    searcher: str | Callable[[SearchSpace, int], Searcher] = "reinforce"
    searcher_settings: Mapping[str, Any] = field(default_factory=dict)
    capacity: int | None = None
    batch: int = BATCH
    halving: bool | Mapping[str, Any] = False
    finalists: int = 4
    fresh_seeds: int = 6
    trial_zero: bool = False

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
        if self.capacity is not None:
            check_int("capacity", self.capacity, 1)
        for name, least in (("batch", 1), ("finalists", 1), ("fresh_seeds", 0)):
            check_int(name, getattr(self, name), least)
        check_bool("trial_zero", self.trial_zero)
        if not isinstance(self.halving, Mapping):
            check_bool("halving", self.halving)
        self.judge(0)

    @classmethod
    def paper(cls) -> "SearchConfig":
        """Returns the paper's own search: REINFORCE by Eq. 3 to the letter, and the highest reward decides."""
        exact = {"bias_learning_rate": 0.0, "scale_advantages": False, "entropy_bonus": 0.0, "ratio_clip": 0.0}
        return cls("reinforce", exact, finalists=1)

    def make(self, space: SearchSpace, seed: int) -> Searcher:
        """Returns the searcher."""
        if isinstance(self.searcher, str):
            return make_searcher(self.searcher, space, seed, self.searcher_settings)
        return self.searcher(space, seed)

    def judge(self, seed: int) -> Halving | None:
        """Returns what says where trials end; None if all are trained to their end."""
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
