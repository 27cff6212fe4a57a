"""Stand-ins for tasks, engines and searchers, so that the loop is tested without training."""

import math
import signal
from collections.abc import Callable, Sequence

from tf_autodropout.patterns import PatternSet, Site, TransformerPattern
from tf_autodropout.search.core import Call, Opponent, Outcome, Progress, Result, Status, Training, Trial, unheard
from tf_autodropout.search.searchers import RandomSearch
from tf_autodropout.search.space import SearchSpace

SITES = tuple(Site(name, TransformerPattern, (8, 4), name, "all") for name in ("first", "second"))
SPACE = SearchSpace(SITES)


def score(patterns: PatternSet) -> float:
    """A reward that any implementation of the same patterns agrees on."""
    return 1 + sum(pattern.rate * (1 + pattern.share_c) - 0.01 * pattern.stride for pattern in patterns.values())


class FakeTask:
    """Answers at once; raises or diverges where `fault` says so."""

    name, score, lower_is_better, space = "fake", "test points", False, SPACE

    def __init__(self, fault: Callable[[int], Exception | None] = lambda call: None) -> None:
        self.calls: list[tuple[PatternSet, int]] = []
        self._fault = fault

    def train(self, patterns: PatternSet, seed: int) -> Result:
        self.calls.append((patterns, seed))
        error = self._fault(len(self.calls))
        if error:
            raise error
        return Result(score(patterns), {"seed": seed})

    def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
        self.calls.append((opponent.patterns, seed))
        error = self._fault(len(self.calls))
        if error:
            raise error
        progress(1, 2, 0.5)
        progress(2, 2, 0.25)
        value = 100 * score(opponent.patterns) + seed % 7
        return Result(score(opponent.patterns), {"valid": value, "test": value - 1})

    def opponents(self) -> list[Opponent]:
        return [
            Opponent("no dropout", PatternSet({})),
            Opponent("half", PatternSet({"first": TransformerPattern(size=1, rate=0.5)})),
        ]

    def describe(self) -> dict[str, object]:
        return {"name": self.name}


class ScriptedEngine:
    """Finishes trials in the order that `pick` chooses from the numbers that wait."""

    slots = 1

    def __init__(self, pick: Callable[[Sequence[int]], int] = min) -> None:
        self._pick = pick
        self.waiting: dict[int, Call] = {}
        self.most_waiting = 0
        self.finished: list[int] = []

    def submit(self, call: Call) -> None:
        assert call.number not in self.waiting, "submitted twice"
        self.waiting[call.number] = call
        self.most_waiting = max(self.most_waiting, len(self.waiting))

    def next(self) -> Outcome:
        call = self.waiting.pop(self._pick(sorted(self.waiting)))
        work = call.begin()
        assert isinstance(work, Training)
        self.finished.append(call.number)
        return Outcome(call.number, Status.FINISHED, score(work.patterns))

    def close(self) -> None:
        self.waiting.clear()


class RecordingSearcher(RandomSearch):
    """Random search that remembers what it was taught."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(SPACE, seed)
        self.batches: list[list[int]] = []

    def update(self, trials: Sequence[Trial]) -> dict[str, float]:
        self.batches.append([trial.number for trial in trials])
        return super().update(trials)

    def state(self) -> bytes:
        return repr(self.batches).encode()

    def restore(self, version: int, state: bytes | None, suggested: int) -> None:
        super().restore(version, None, suggested)
        self.batches = eval(state) if state else []


def ctrl_c() -> None:
    """The user ends the search; an interrupt that a task raises by itself would end its training only."""
    signal.raise_signal(signal.SIGINT)


def log_uniform() -> float:
    """Log-probability of any sequence under uniform random search."""
    return -sum(map(math.log, SPACE.vocabulary_sizes))
