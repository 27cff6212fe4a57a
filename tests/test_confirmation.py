"""The best few trials race on new seeds before one of them is called the best."""

from pathlib import Path

import numpy as np
import pytest

from tests.fakes import SPACE, FakeTask, ctrl_c, score
from tests.test_comparison import report_of
from tf_autodropout.layers import site_seed
from tf_autodropout.patterns import PatternSet, TransformerPattern
from tf_autodropout.search import Search, run
from tf_autodropout.search.core import Outcome, Result, Status, Suggestion
from tf_autodropout.search.ledger import Ledger, LedgerReader, stored_config
from tf_autodropout.search.results.finalists import contenders
from tf_autodropout.search.results.trial_zero import lead

NEW_SEEDS = [site_seed(0, "confirm", index) for index in range(10)]
LUCK = 0.3


class LuckyTask(FakeTask):
    """Every reward of the search has luck in it; on the new seeds there is none."""

    def train(self, patterns: PatternSet, seed: int) -> Result:
        result = super().train(patterns, seed)
        return result if seed in NEW_SEEDS else Result(result.reward + LUCK * (len(self.calls) % 5))


def search(out: Path, task: FakeTask, **kwargs) -> Search:
    return run(task, 20, out, searcher="random", fresh_seeds=0, **kwargs)  # type: ignore[arg-type]


def trials_of(out: Path):
    reader = LedgerReader(out)
    trials = reader.trials()
    reader.close()
    return trials


def test_the_finalist_with_the_best_mean_over_its_seeds_wins(tmp_path: Path) -> None:
    task = LuckyTask()
    found = search(tmp_path / "run", task, finalists=4)
    by_reward = sorted(trials_of(tmp_path / "run"), key=lambda trial: -(trial.reward or 0))

    wanted = max(by_reward[:4], key=lambda trial: score(trial.patterns))
    assert wanted.number != by_reward[0].number  # luck would have chosen another one
    assert found.best.provenance["trial"] == wanted.number
    assert found.reward == found.best.provenance["reward"] == pytest.approx(score(wanted.patterns))
    # Without luck two seeds tell all: the beaten three are trained no more.
    assert [seed for _, seed in task.calls[20:]] == [seed for seed in NEW_SEEDS[:2] for _ in range(4)]
    assert not {seed for _, seed in task.calls[:20]} & set(NEW_SEEDS)


def test_one_finalist_is_the_highest_reward_and_trains_nothing(tmp_path: Path) -> None:
    task = LuckyTask()
    found = search(tmp_path / "run", task, finalists=1)
    assert len(task.calls) == 20
    assert found.reward == max(trial.reward or 0 for trial in trials_of(tmp_path / "run"))


def test_a_stopped_confirmation_goes_on_and_nothing_is_trained_twice(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", LuckyTask(), finalists=4)
    stopped = LuckyTask(lambda call: ctrl_c() if call == 24 else None)  # type: ignore[func-returns-value]
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", stopped, finalists=4)
    assert not (tmp_path / "run" / "best.json").exists()
    task = LuckyTask()
    found = search(tmp_path / "run", task, finalists=4)
    assert len(task.calls) == 5  # three were kept
    assert (found.best, found.reward) == (whole.best, whole.reward)
    again = LuckyTask()
    search(tmp_path / "run", again, finalists=4)
    assert not again.calls


def test_a_finalist_that_diverges_on_a_new_seed_counts_0(tmp_path: Path) -> None:
    best = search(tmp_path / "first", FakeTask()).best.provenance["trial"]
    task = FakeTask(lambda call: FloatingPointError("nan") if call == 21 else None)  # the first finalist
    found = search(tmp_path / "run", task, finalists=4)
    assert found.best.provenance["trial"] != best


def test_the_best_of_many_that_are_no_better_than_no_dropout_is_seldom_called_ahead(tmp_path: Path) -> None:
    rng, ledger = np.random.default_rng(0), Ledger(tmp_path / "run", {"task": "alike"})
    for number in range(6):
        patterns = PatternSet({"first": TransformerPattern(size=number + 1)})
        (trial,) = ledger.add([(Suggestion((number,), 0.0, 0), patterns)])
        ledger.finish(Outcome(trial.number, Status.FINISHED, 9.0))
    trials, ahead = ledger.trials(), 0
    for _ in range(60):
        earned = 9 + rng.normal(size=(7, 3))
        for trial, rewards in zip([None, *trials], earned, strict=True):
            for seed, reward in enumerate(rewards):
                name, first = (f"confirmation #{trial.number}", 0) if trial else ("trial 0", 1)
                ledger.add_evaluation(name, first + seed, {"reward": reward})
        ledger.add_evaluation("trial 0", 0, {"reward": 9.0})
        best = trials[int(earned[1:].mean(1).argmax())]
        ahead += "is ahead" in lead(ledger, best, 6)
    assert ahead <= 6  # one in twenty; two standard errors would be one in six
    for seed in range(3):
        ledger.add_evaluation("trial 0", 1 + seed, {"reward": 2.0 + 0.1 * seed})
    assert lead(ledger, trials[0], 6).startswith("The best PatternSet is ahead: ")
    ledger.close()


def test_more_finalists_than_trials(tmp_path: Path) -> None:
    task = FakeTask()
    run(task, 2, tmp_path / "run", searcher="random", fresh_seeds=0, finalists=4)  # type: ignore[arg-type]
    assert len(task.calls) == 2 + 6  # three seeds each: two contenders tell too little of the noise to drop one


def test_sets_that_differ_where_nothing_is_dropped_are_one_finalist(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "run", {"task": "alike"})
    for stride in range(3):  # of no block
        patterns = PatternSet({"first": TransformerPattern(size=1), "second": TransformerPattern(stride=stride)})
        (trial,) = ledger.add([(Suggestion((stride,), 0.0, 0), patterns)])
        ledger.finish(Outcome(trial.number, Status.FINISHED, 1.0 + stride))
    (trial,) = ledger.add([(Suggestion((9,), 0.0, 0), PatternSet({"first": TransformerPattern(size=2)}))])
    ledger.finish(Outcome(trial.number, Status.FINISHED, 0.5))
    assert [one.number for one in contenders(ledger, 3)] == [3, 4]
    ledger.close()


@pytest.mark.parametrize("finalists", [0, -1, 1.5, True])
def test_the_number_is_checked(tmp_path: Path, finalists) -> None:
    with pytest.raises(ValueError, match="Invalid value for 'finalists'"):
        search(tmp_path / "run", FakeTask(), finalists=finalists)
    assert not (tmp_path / "run").exists()


def test_a_report_of_a_run_that_goes_on_shows_what_is_best_now(tmp_path: Path) -> None:
    out = tmp_path / "run"
    found = search(out, LuckyTask(), finalists=4)
    config = stored_config(out)
    assert config is not None
    ledger = Ledger(out, config)
    assert best_of(out).startswith(f"trial {found.best.provenance['trial']}, reward {found.reward:.4f}")
    (trial,) = ledger.add([(Suggestion((0,) * len(SPACE.decisions), 0.0, 0), PatternSet({}))])
    ledger.finish(Outcome(trial.number, Status.FINISHED, 99.0))
    assert best_of(out).startswith(f"trial {trial.number}, reward 99.0000")
    ledger.close()


def best_of(out: Path) -> str:
    return report_of(out).split("Best PatternSet: ")[1]
