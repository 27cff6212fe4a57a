"""The loop on fakes: order, queues, faults, stops at any moment."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.fakes import SPACE, FakeTask, RecordingSearcher, ScriptedEngine, score
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import Observer, Outcome, Result, Searcher, Status, Trial
from tf_autodropout.search.engines import InProcess
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.loop import MAX_ATTEMPTS, Observers, search_loop
from tf_autodropout.search.searchers import RandomSearch, Reinforce
from tf_autodropout.search.searchers.learner import LearnerConfig

CONFIG = {"task": "fake"}


def run(directory: Path, searcher: Searcher, engine, trials: int = 40, capacity: int = 6, batch: int = 4, **kwargs):
    ledger = Ledger(directory, CONFIG)
    try:
        search_loop(searcher, ledger, engine, SPACE.decode, trials, capacity, batch, **kwargs)
        return ledger.trials(), ledger.latest_checkpoint(), ledger.outcomes()
    finally:
        ledger.close()


@pytest.mark.parametrize("pick", [min, max, lambda waiting: waiting[len(waiting) // 2]])
def test_every_trial_finishes_once_and_teaches_once(tmp_path: Path, pick: Callable[[Sequence[int]], int]) -> None:
    searcher, engine = RecordingSearcher(), ScriptedEngine(pick)
    trials, checkpoint, _ = run(tmp_path, searcher, engine, trials=42)
    assert len(trials) == 42
    assert sorted(engine.finished) == list(range(1, 43))
    assert all(t.status is Status.FINISHED and t.reward == score(t.patterns) for t in trials)
    assert engine.most_waiting == 6  # q_unfinished never holds more than C
    taught = [number for batch in searcher.batches for number in batch]
    assert taught == engine.finished[:40]  # in batches of M, in the order of finishing
    assert {len(batch) for batch in searcher.batches} == {4}
    assert checkpoint is not None
    assert checkpoint[0] == 10


def test_suggestions_carry_the_version_that_made_them(tmp_path: Path) -> None:
    trials, _, _ = run(tmp_path, RecordingSearcher(), ScriptedEngine())
    versions = [t.suggestion.version for t in trials]
    # The first C come before any result; from then on the suggester is the newest version.
    assert versions == [0] * 9 + [max(0, (n - 6) // 4) for n in range(10, 41)]


class Stop(BaseException):
    """The process dies here."""


class StopAfter(Observer):
    """Dies at the n-th thing that happens."""

    def __init__(self, events: int) -> None:
        self._left = events

    def _tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Stop

    def trial_finished(self, trial: Trial) -> None:
        self._tick()

    def updated(self, version: int, metrics) -> None:
        self._tick()


def stopped_at(directory: Path, make: Callable[[], Searcher], stops: Sequence[int], **kwargs):
    for events in stops:
        with pytest.raises(Stop):
            run(directory, make(), ScriptedEngine(), observer=StopAfter(events), **kwargs)
    return run(directory, make(), ScriptedEngine(), **kwargs)


@pytest.mark.parametrize("stops", [[1], [4], [5], [3, 1, 1, 7], [2] * 15])
def test_a_run_that_is_stopped_and_goes_on_is_the_same_run(tmp_path: Path, stops: list[int]) -> None:
    whole = run(tmp_path / "whole", RecordingSearcher(), ScriptedEngine())
    parts = stopped_at(tmp_path / "parts", RecordingSearcher, stops)
    assert [(t.number, t.suggestion, t.reward) for t in parts[0]] == [
        (t.number, t.suggestion, t.reward) for t in whole[0]
    ]
    assert parts[1] == whole[1]
    assert parts[2] == whole[2]


@pytest.mark.slow
def test_the_controller_goes_on_to_the_bit(tmp_path: Path) -> None:
    def make() -> Reinforce:
        return Reinforce(SPACE, seed=3, batch=4, config=LearnerConfig(learning_rate=0.05))

    whole = run(tmp_path / "whole", make(), ScriptedEngine(), trials=24)
    parts = stopped_at(tmp_path / "parts", make, [7], trials=24)
    assert [t.suggestion for t in parts[0]] == [t.suggestion for t in whole[0]]
    assert parts[1] == whole[1]
    assert whole[1] is not None
    assert whole[1][0] == 6


def test_more_trials_extend_a_finished_run(tmp_path: Path) -> None:
    run(tmp_path, RecordingSearcher(), ScriptedEngine(), trials=10)
    engine = ScriptedEngine()
    trials, _, _ = run(tmp_path, RecordingSearcher(), engine, trials=20)
    assert len(trials) == 20
    assert engine.finished == list(range(11, 21))


def test_a_duplicate_outcome_counts_once(tmp_path: Path) -> None:
    class Stutters(ScriptedEngine):
        def __init__(self) -> None:
            super().__init__()
            self.again: list[Outcome] = []

        def next(self) -> Outcome:
            if self.again:
                return self.again.pop()
            outcome = super().next()
            self.again.append(Outcome(outcome.number, Status.FINISHED, 99.0))
            return outcome

    searcher = RecordingSearcher()
    trials, _, _ = run(tmp_path, searcher, Stutters(), trials=12)
    assert max(t.reward for t in trials if t.reward is not None) < 99
    assert sum(map(len, searcher.batches)) == 12


def test_a_child_that_raises_once_is_tried_again(tmp_path: Path) -> None:
    task = FakeTask(lambda call: RuntimeError("passing") if call == 2 else None)
    trials, _, _ = run(tmp_path, RandomSearch(SPACE, 0), InProcess(task), trials=5)
    assert [t.attempts for t in trials] == [1, 2, 1, 1, 1]
    assert {t.status for t in trials} == {Status.FINISHED}
    assert task.calls[1] == task.calls[-1]  # the same PatternSet and the same seed


def test_a_child_that_always_raises_fails_with_its_reason_and_teaches_nothing(tmp_path: Path) -> None:
    task = FakeTask(lambda call: ValueError("no such kernel"))
    searcher = RecordingSearcher()
    with pytest.raises(RuntimeError, match="3 trials in a row failed with the same error: ValueError: no such kernel"):
        run(tmp_path, searcher, InProcess(task), trials=50)
    ledger = Ledger(tmp_path, CONFIG)
    trials = [trial for trial in ledger.trials() if trial.status is not Status.QUEUED]
    assert len(trials) == 3
    assert {(t.status, t.reward, t.attempts) for t in trials} == {(Status.FAILED, None, MAX_ATTEMPTS)}
    assert trials[0].metrics == {"error": "ValueError: no such kernel"}
    assert {t.failures for t in trials} == {MAX_ATTEMPTS}
    assert searcher.batches == []
    ledger.retry_failed()  # once it is mended
    ledger.close()
    trials, _, outcomes = run(tmp_path, searcher, InProcess(FakeTask()), trials=50)
    assert {t.status for t in trials} == {Status.FINISHED}
    assert len(outcomes) == 50
    assert sum(map(len, searcher.batches)) == 48


def test_errors_that_differ_or_do_not_come_in_a_row_end_nothing(tmp_path: Path) -> None:
    task = FakeTask(lambda call: ValueError(f"kernel {call // 4}") if call % 11 < 8 else None)
    trials, _, _ = run(tmp_path, RecordingSearcher(), InProcess(task), trials=30, capacity=1)
    assert [trial.status for trial in trials].count(Status.FAILED) > 10


def test_a_negative_reward_fails_with_a_reason_since_a_diverged_training_counts_as_zero(tmp_path: Path) -> None:
    class Loss(FakeTask):
        def train(self, patterns: PatternSet, seed: int) -> Result:
            return Result(-super().train(patterns, seed).reward)

    trials, _, _ = run(tmp_path, RecordingSearcher(), InProcess(Loss()), trials=2)
    assert [trial.status for trial in trials] == [Status.FAILED] * 2
    assert all("Expected a reward >= 0" in trial.metrics["error"] for trial in trials)
    assert [trial.failures for trial in trials] == [2, 2]


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_an_invalid_trial_with_reward_zero(tmp_path: Path, reward) -> None:
    class Odd(ScriptedEngine):
        def next(self) -> Outcome:
            outcome = super().next()
            return Outcome(outcome.number, Status.FINISHED, reward) if outcome.number == 2 else outcome

    searcher = RecordingSearcher()
    trials, _, _ = run(tmp_path, searcher, Odd(), trials=4)
    assert (trials[1].status, trials[1].reward) == (Status.INVALID, 0.0)
    assert trials[1].metrics == {"error": f"reward is {reward}"}
    assert searcher.batches == [[1, 2, 3, 4]]


def test_a_training_that_died_with_the_search_is_no_failure_of_its_trial(tmp_path: Path) -> None:
    class Dies(ScriptedEngine):
        def next(self) -> Outcome:
            self.waiting[min(self.waiting)].begin()
            raise Stop

    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(Stop):
            run(tmp_path, RecordingSearcher(), Dies(), trials=2)
    task = FakeTask(lambda call: RuntimeError("passing") if call == 1 else None)
    trials, _, _ = run(tmp_path, RecordingSearcher(), InProcess(task), trials=2)
    assert [(t.status, t.attempts, t.failures) for t in trials] == [
        (Status.FINISHED, MAX_ATTEMPTS + 3, 1),
        (Status.FINISHED, 1, 0),
    ]


def test_a_failure_is_not_forgotten_when_the_search_stops(tmp_path: Path) -> None:
    class FailsThenDies(ScriptedEngine):
        failed = False

        def next(self) -> Outcome:
            if self.failed:
                raise Stop
            self.failed = True
            self.waiting.pop(1).begin()
            return Outcome(1, Status.FAILED, None, {"error": "host lost"}, "host a")

    for failures in range(1, MAX_ATTEMPTS):
        with pytest.raises(Stop):
            run(tmp_path, RecordingSearcher(), FailsThenDies(), trials=1)
        ledger = Ledger(tmp_path, CONFIG)
        (trial,) = ledger.trials()
        assert (trial.status, trial.failures, trial.worker) == (Status.QUEUED, failures, "host a")
        assert ledger.last_error() == "host lost"
        ledger.close()
    trials, _, _ = run(tmp_path, RecordingSearcher(), FailsThenDies(), trials=1)
    assert (trials[0].status, trials[0].failures) == (Status.FAILED, MAX_ATTEMPTS)


def test_an_outcome_nobody_asked_for_is_ignored_and_what_happens_is_told_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Confused(ScriptedEngine):
        odd = [  # noqa: RUF012
            Outcome(99, Status.FINISHED, 5.0),
            Outcome(1, Status.FAILED, None, {"error": "host\nlost"}, "host a"),
            Outcome(2, Status.INVALID, 0.0, {"error": "training loss is nan"}),
        ]

        def next(self) -> Outcome:
            outcome = self.odd.pop(0) if self.odd else super().next()
            if outcome.status is not Status.FINISHED:
                del self.waiting[outcome.number]
            return outcome

    with caplog.at_level("INFO", logger="tf_autodropout.search"):
        trials, _, _ = run(tmp_path, RecordingSearcher(), Confused(), trials=4)
    assert len(trials) == 4
    told = [record.message for record in caplog.records]
    assert told[0] == "an outcome of trial 99 is ignored: it came before, or never was asked for"
    assert told[1] == "trial 1 failed on host a: host lost; it is tried again"
    assert told[2] == "trial 2 is invalid: training loss is nan; it counts with reward 0"
    assert told[3] == f"trial 1 finished (attempt 2): reward {trials[0].reward:.6g}"
    assert told[-1] == "update 1 learned from trials 2, 1, 3, 4"


def test_an_update_never_waits_for_stragglers(tmp_path: Path) -> None:
    """Half of the workers are 10 times slower; what they can give is the sum of their speeds."""

    class Workers(ScriptedEngine):
        minutes, now, last = [1.0] * 4 + [10.0] * 4, 0.0, 0.0

        def __init__(self) -> None:
            super().__init__()
            self.idle, self.busy = list(range(8)), {}

        def next(self) -> Outcome:
            for number in sorted(self.waiting)[: len(self.idle)]:
                worker = self.idle.pop()
                self.busy[number] = (self.now + self.minutes[worker], worker, self.waiting.pop(number))
                self.last = self.now
            number = min(self.busy, key=lambda number: self.busy[number][0])
            self.now, worker, call = self.busy.pop(number)
            self.idle.append(worker)
            return Outcome(number, Status.FINISHED, score(call.begin().patterns))

    engine = Workers()
    run(tmp_path, RecordingSearcher(), engine, trials=400, capacity=9, batch=4)
    given = (400 - 8) / engine.last  # trials finished before the last one was handed out, a minute
    assert given > 0.95 * (4 * 1.0 + 4 * 0.1)


def test_a_child_that_diverges_is_invalid_with_reward_zero_and_teaches(tmp_path: Path) -> None:
    task = FakeTask(lambda call: FloatingPointError("loss is nan") if call == 1 else None)
    searcher = RecordingSearcher()
    trials, _, _ = run(tmp_path, searcher, InProcess(task), trials=4)
    assert (trials[0].status, trials[0].reward, trials[0].attempts) == (Status.INVALID, 0.0, 1)
    assert searcher.batches == [[1, 2, 3, 4]]


def test_trials_get_seeds_of_their_own_that_a_second_run_repeats(tmp_path: Path) -> None:
    seeds = []
    for name in ("a", "b"):
        task = FakeTask()
        run(tmp_path / name, RandomSearch(SPACE, 0), InProcess(task), trials=8, seed=5)
        seeds.append([seed for _, seed in task.calls])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 8


def test_observers_hear_everything(tmp_path: Path) -> None:
    heard: list[str] = []

    class Ear(Observer):
        def resumed(self, final, best, baseline) -> None:
            heard.append(f"resumed {final} {best} {baseline}")

        def trial_finished(self, trial: Trial) -> None:
            heard.append(f"trial {trial.number}")

        def updated(self, version: int, metrics) -> None:
            heard.append(f"update {version}")

        def close(self) -> None:
            heard.append("closed")

    both = Observers([Ear(), Ear()])
    run(tmp_path, RecordingSearcher(), ScriptedEngine(), trials=4, observer=both)
    both.close()
    expected = ["resumed 0 None None", "trial 1", "trial 2", "trial 3", "trial 4", "update 1", "closed"]
    assert heard == [event for event in expected for _ in range(2)]
