"""A searcher that begins with given trials: what is best known today."""

from collections.abc import Sequence
from typing import Any

from tf_autodropout.search.core import Searcher, Suggestion, Trial

_COUNT = 2  # bytes of a state that tell how many of the first trials were suggested


class WarmStart:
    """Suggests given tokens first, then what another searcher suggests; that one learns from all of them.

    Args:
        searcher: Goes on after the first suggestions. If it has a method `log_prob(tokens)`, that gives their behaviour
            log-probabilities, else 0.
        first: Tokens of each of the first suggestions.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.searchers import Thompson
        >>> from tf_autodropout.search.searchers.warm_start import WarmStart
        >>> from tf_autodropout.search.space import SearchSpace
        >>> sites = tad.sites(tad.models.transformer_lm(1000, 32)).as_sites()
        >>> searcher = WarmStart(Thompson(SearchSpace(sites), seed=0), [(0,) * 35])
        >>> searcher.suggest(2)[0].tokens == (0,) * 35
        True
    """

    def __init__(self, searcher: Searcher, first: Sequence[Sequence[int]]) -> None:
        self._searcher, self._first = searcher, [tuple(tokens) for tokens in first]
        self._given = 0

    @property
    def version(self) -> int:
        return self._searcher.version

    def suggest(self, count: int) -> list[Suggestion]:
        given = self._first[self._given : self._given + count]
        self._given += len(given)
        rest = self._searcher.suggest(count - len(given)) if count > len(given) else []
        return [Suggestion(tokens, self._log_prob(tokens), self.version) for tokens in given] + rest

    def update(self, trials: Sequence[Trial]) -> dict[str, float]:
        return self._searcher.update(trials)

    def state(self) -> bytes:
        return self._given.to_bytes(_COUNT, "big") + self._searcher.state()

    def restore(self, version: int, state: bytes | None, suggested: int) -> None:
        before = 0 if state is None else int.from_bytes(state[:_COUNT], "big")
        self._given = min(len(self._first), before + suggested)
        own = None if state is None else state[_COUNT:]
        self._searcher.restore(version, own, suggested - (self._given - before))

    def describe(self) -> dict[str, Any]:
        return self._searcher.describe() | {"first": len(self._first)}

    def _log_prob(self, tokens: tuple[int, ...]) -> float:
        find = getattr(self._searcher, "log_prob", None)
        return float(find(tokens)) if find else 0.0
