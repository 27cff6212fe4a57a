"""Successive halving: who ends early, and with which reward."""

from pathlib import Path

import numpy as np
import pytest

from tests.fakes import SPACE, FakeTask, ctrl_c, score
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search import run
from tf_autodropout.search.children.judge import Judge
from tf_autodropout.search.core import RUNG_REWARDS, STOPPED_AT, Result, Rung, Status, Suggestion, Trial
from tf_autodropout.search.engines import InProcess
from tf_autodropout.search.halving import Halving
from tf_autodropout.search.ledger import Ledger, LedgerReader
from tf_autodropout.search.loop import search_loop
from tf_autodropout.search.searchers import RandomSearch
from tf_autodropout.search.tasks.data.corpus import Corpus
from tf_autodropout.search.tasks.text import TextTask

INFINITY = float("inf")


class CurveTask(FakeTask):
    """The reward at a rung is a known line of the final one, and noise."""

    def __init__(self, slope: float = 1.0, noise: float = 0.0, stop_at: int = 0) -> None:
        super().__init__(lambda call: ctrl_c() if call == stop_at else None)  # type: ignore[func-returns-value]
        self._slope, self._noise = slope, noise

    def train(self, patterns: PatternSet, seed: int, rungs: tuple[Rung, ...] = ()) -> Result:
        final, seen = super().train(patterns, seed).reward, []
        for rung in rungs:
            noise = self._noise * np.random.default_rng([seed, int(100 * rung.part)]).standard_normal()
            seen.append(0.5 + self._slope * final + noise)
            if seen[-1] < rung.threshold:
                expected = rung.intercept + rung.slope * seen[-1]
                return Result(expected, {RUNG_REWARDS: seen, "stopped_at": rung.part}, stopped=True)
        return Result(final, {RUNG_REWARDS: seen})


TWO = (0.25, 0.5)  # rungs; by default there is one


def complete(number: int, rewards: list[float], final: float) -> Trial:
    return Trial(number, Suggestion((), 0.0, 0), PatternSet({}), Status.FINISHED, 1, final, {RUNG_REWARDS: rewards})


def search(directory: Path, task: FakeTask, trials: int = 200, halving: Halving | None = None) -> list[Trial]:
    ledger = Ledger(directory, {"task": "fake"})
    try:
        search_loop(
            RandomSearch(SPACE, 0), ledger, InProcess(task), SPACE.decode, trials, halving=halving or Halving(0, TWO)
        )
        return ledger.trials()
    finally:
        ledger.close()


def test_the_line_is_the_least_squares_one() -> None:
    halving, rng = Halving(0, TWO, warm_up=3), np.random.default_rng(0)
    at_rung, final = rng.normal(size=(40, 2)), rng.normal(size=40)
    final += at_rung[:, 1]
    for number, (rewards, reward) in enumerate(zip(at_rung, final, strict=True), start=1):
        halving.add(complete(number, rewards.tolist(), float(reward)))
    for place in range(2):
        slope, intercept = np.polyfit(at_rung[:, place], final, 1)
        fit = halving.fit(place)
        assert (fit.slope, fit.intercept) == pytest.approx((slope, intercept))
        assert fit.correlation == pytest.approx(np.corrcoef(at_rung[:, place], final)[0, 1])


def test_the_worse_half_ends_early_and_rewards_stay_comparable(tmp_path: Path) -> None:
    trials = search(tmp_path, CurveTask(slope=0.7))
    stopped = [trial for trial in trials if trial.status is Status.STOPPED]
    assert all(trial.status is Status.FINISHED for trial in trials[:16])  # the warm-up
    at_first = [trial for trial in stopped if trial.metrics["stopped_at"] == 0.25]
    # Half of the trials but the audited eighth end at the first rung, half of the rest at the second.
    assert 60 <= len(at_first) <= 100
    assert 15 <= len(stopped) - len(at_first) <= 50
    # Without noise the expected reward is the one that the trial would have had.
    assert all(trial.reward == pytest.approx(score(trial.patterns)) for trial in stopped)
    best = max(trials, key=lambda trial: score(trial.patterns))
    assert best.status is Status.FINISHED


def test_expected_rewards_are_unbiased_under_noise(tmp_path: Path) -> None:
    trials = search(tmp_path, CurveTask(slope=1.0, noise=0.3), trials=800)
    stopped = [trial for trial in trials if trial.status is Status.STOPPED]
    errors = np.array([trial.reward - score(trial.patterns) for trial in stopped])
    assert len(stopped) > 250
    assert abs(errors.mean()) < 4 * errors.std() / len(errors) ** 0.5 + 0.01


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_a_rung_that_does_not_tell_ends_nothing(tmp_path: Path, slope: float) -> None:
    trials = search(tmp_path, CurveTask(slope=slope))
    assert {trial.status for trial in trials} == {Status.FINISHED}


def test_an_eighth_goes_on_whatever_it_looks_like() -> None:
    halving = Halving(0, TWO)
    for number in range(16):
        halving.add(complete(number, [float(number), float(number)], float(number)))
    free = [halving.rungs(number)[0].threshold == -INFINITY for number in range(4000)]
    assert sum(free) / 4000 == pytest.approx(0.125, abs=0.02)
    assert halving.rungs(7) == halving.rungs(7)


def test_a_stopped_search_goes_on_with_the_same_decisions(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", CurveTask(noise=0.1), 80)
    for stop in (3, 31, 20):
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "parts", CurveTask(noise=0.1, stop_at=stop), 80)
    parts = search(tmp_path / "parts", CurveTask(noise=0.1), 80)
    assert {Status.STOPPED, Status.FINISHED} == {trial.status for trial in whole}
    assert [(t.status, t.reward) for t in whole] == [(t.status, t.reward) for t in parts]


def test_a_stopped_trial_is_never_the_best_and_is_told_apart(tmp_path: Path) -> None:
    found = run(CurveTask(), 60, tmp_path / "run", searcher="random", halving=True, fresh_seeds=0)  # type: ignore[arg-type]
    reader = LedgerReader(tmp_path / "run")
    counts, trials = reader.counts(), reader.trials()
    reader.close()
    assert counts[Status.STOPPED] > 10
    assert next(t for t in trials if t.number == found.best.provenance["trial"]).status is Status.FINISHED
    assert "ended early, after 50%: expected reward" in (tmp_path / "run" / "log.txt").read_text()


def test_bad_settings_and_a_task_that_cannot_end_early_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fake cannot end a training early"):
        run(FakeTask(), 4, tmp_path / "run", searcher="random", halving=True)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
    for settings, name in (({"parts": (0.5, 0.25)}, "parts"), ({"keep": 1.0}, "keep"), ({"warm_up": 2}, "warm_up")):
        with pytest.raises(ValueError, match=f"Invalid value for '{name}'"):
            Halving(0, **settings)


@pytest.mark.slow
def test_a_real_child_that_is_judged_but_not_ended_trains_as_without() -> None:
    rng = np.random.default_rng(0)
    corpus = Corpus(*(rng.integers(0, 20, size).astype(np.int32) for size in (600, 200, 200)), vocabulary_size=20)
    task = TextTask("small", corpus, steps=20, num_layers=1, hidden_dim=8, num_heads=2, sequence_length=8)
    assert task.child._steps_per_call == 5  # of 20 steps: there is a call that ends at each rung
    patterns = task.space.decode([1] * len(task.space.vocabulary_sizes))
    plain = task.train(patterns, 3)
    judged = task.train(patterns, 3, (Rung(0.25), Rung(0.5)))
    assert judged.reward == plain.reward
    assert judged.metrics["train_loss"] == plain.metrics["train_loss"]
    assert len(judged.metrics[RUNG_REWARDS]) == 2
    ended = task.train(patterns, 3, (Rung(0.25), Rung(0.5, INFINITY, 0.125, 2.0)))
    assert ended.stopped
    assert ended.metrics[RUNG_REWARDS] == judged.metrics[RUNG_REWARDS]
    assert ended.metrics["train_loss"] == plain.metrics["train_loss"][:2]
    assert ended.metrics[STOPPED_AT] == 0.5
    assert ended.reward == 0.125 + 2.0 * judged.metrics[RUNG_REWARDS][1]


def test_a_rung_between_calls_is_judged_after_the_next_and_says_so() -> None:
    judge = Judge((Rung(0.25, INFINITY),), 90, lambda: 2.0, lambda measure: measure)
    assert [judge(done) for done in (20, 40)] == [False, True]
    assert (judge.done, judge.rewards) == (40, [2.0])


def test_a_training_that_is_over_is_not_ended() -> None:
    judge = Judge((Rung(0.25, INFINITY), Rung(0.5, INFINITY)), 7, lambda: 2.0, lambda measure: measure)
    assert not judge(7)
    assert (judge.verdict, judge.rewards) == (None, [])


def test_a_reward_at_a_rung_that_is_not_finite_is_a_diverged_training() -> None:
    judge = Judge((Rung(0.5),), 8, lambda: float("nan"), lambda measure: measure)
    with pytest.raises(FloatingPointError, match="validation reward is nan after 4 steps"):
        judge(4)
