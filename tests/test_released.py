"""All trainings of runs as one table, and the benchmark that answers from it."""

import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import tf_autodropout as tad
from tests.fakes import FakeTask, score
from tf_autodropout.patterns import Pattern, PatternSet, TransformerPattern
from tf_autodropout.patterns.checks import WHOLE
from tf_autodropout.search import run
from tf_autodropout.search.analysis.analyse import analyse
from tf_autodropout.search.children.surrogate import Surrogate
from tf_autodropout.search.core import Opponent, Progress, Result, Status, unheard
from tf_autodropout.search.released.answer import NotRecordedError
from tf_autodropout.search.released.benchmark import Benchmark, benchmark
from tf_autodropout.search.released.card import card
from tf_autodropout.search.released.table import COLUMNS, read_table, write_table
from tf_autodropout.search.results.comparison import RANDOM
from tf_autodropout.search.results.trainings import FINALIST, FRESH, TRIAL, TUNING, PastRun, past_run

SHIPPED = Path(__file__).parents[1] / "search" / "released" / "trials.parquet"
SEEDS, TRIALS = 3, 12


class MeasuredTask(FakeTask):
    """Has a measure, of which the reward is made; its second trial fails twice, and counts for nothing."""

    METRIC, SCALE = "valid_points", 100.0

    def __init__(self) -> None:
        super().__init__(lambda call: RuntimeError("no luck") if call in (2, TRIALS + 1) else None)

    def reward(self, measure: float) -> float:
        return measure

    def worth(self, patterns: PatternSet, seed: int) -> float:
        return score(patterns) + seed % 7 / 1000

    def train(self, patterns: PatternSet, seed: int) -> Result:
        super().train(patterns, seed)
        return Result(self.worth(patterns, seed), {self.METRIC: self.worth(patterns, seed)})

    def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
        self.calls.append((opponent.patterns, seed))
        worth = self.worth(opponent.patterns, seed)
        return Result(worth, {"valid": 100 * worth, "test": 50 * worth})

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "steps": 5}


@pytest.fixture(scope="module")
def task() -> MeasuredTask:
    return MeasuredTask()


@pytest.fixture(scope="module")
def directory(task: MeasuredTask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "fake-0"
    run(task, TRIALS, out, searcher="random", seed=4, fresh_seeds=SEEDS, tuning=20, finalists=2)  # type: ignore[arg-type]
    return out


@pytest.fixture(scope="module")
def past(directory: Path) -> PastRun:
    return past_run(directory, MeasuredTask())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def file(past: PastRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("table") / "trials.parquet"
    assert write_table([past], place) == len(past.trainings)
    return place


@pytest.fixture(scope="module")
def recorded(file: Path) -> Benchmark:
    return benchmark("fake", file)


def test_patterns_and_seeds_are_those_that_the_task_was_given(past: PastRun, task: MeasuredTask) -> None:
    given = Counter(task.calls)
    assert given.pop(task.calls[1]) == 2  # the trial that failed was tried twice
    told = Counter((t.patterns, t.seed) for t in past.trainings if t.status is Status.FINISHED)
    assert told == given
    roles = Counter(t.role for t in past.trainings)
    assert roles[TRIAL] == TRIALS
    assert roles[TUNING] > 20 < roles.total() - TRIALS
    assert roles[FINALIST] >= 4
    assert roles[FRESH] == SEEDS * len({t.name for t in past.trainings if t.role == FRESH})
    drawn = [t.patterns for t in past.trainings if t.name == RANDOM]
    assert len(set(drawn)) == SEEDS  # another one for each seed


def test_scores_are_those_that_the_task_returned(past: PastRun) -> None:
    worth = MeasuredTask().worth
    for one in past.trainings:
        if one.status is Status.FAILED:
            assert (one.reward, one.valid, one.test, one.error) == (None, None, None, "RuntimeError: no luck")
            continue
        assert one.patterns is not None
        value = worth(one.patterns, one.seed)
        assert (one.reward, one.valid) == (pytest.approx(value), pytest.approx(100 * value))
        assert one.test == (pytest.approx(50 * value) if one.role == FRESH else None)
        assert one.steps == 5
        if one.tokens is not None:
            assert acting(past.task.space.decode(one.tokens)) == acting(one.patterns)


def acting(patterns: PatternSet) -> dict[str, Pattern]:
    sites = {site.name: site for site in FakeTask.space.sites}
    return {site: p.within(sites[site].sizes) for site, p in patterns.items() if not p.is_identity}


def test_a_run_of_another_task_is_refused(directory: Path) -> None:
    with pytest.raises(ValueError, match="without a name"):
        past_run(directory)
    other = FakeTask()
    other.space = tad.search.ModelTask  # type: ignore[assignment]
    with pytest.raises(ValueError, match="holds no run"):
        past_run(directory.parent, other)  # type: ignore[arg-type]
    wide = MeasuredTask()
    wide.space = type(wide.space)(wide.space.sites[:1])  # type: ignore[misc]
    with pytest.raises(ValueError, match="of another task"):
        past_run(directory, wide)  # type: ignore[arg-type]


def test_what_an_analysis_has_trained_is_not_of_the_search(directory: Path, past: PastRun, tmp_path: Path) -> None:
    """The ledger has its scores, not its patterns: nothing is made up for them."""
    copy = tmp_path / directory.name
    shutil.copytree(directory, copy)
    analyse(copy, 1, MeasuredTask())  # type: ignore[arg-type]
    assert past_run(copy, MeasuredTask()).trainings == past.trainings  # type: ignore[arg-type]


def test_the_table_comes_back(file: Path, past: PastRun) -> None:
    rows, about = read_table(file)
    assert [row["training_seed"] for row in rows] == [t.seed for t in past.trainings]
    for row, training in zip(rows, past.trainings, strict=True):
        assert PatternSet.from_json(row["patterns"]) == training.patterns
        assert row["reward"] == training.reward
        assert row["version"] == tad.__version__
    assert about["fake-0"]["config"]["seed"] == 4
    assert pq.read_schema(file).names == [name for name, *_ in COLUMNS]


def test_two_runs_of_one_name_and_files_that_are_no_table_are_refused(past: PastRun, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fake-0 more than once"):
        write_table([past, past], tmp_path / "twice.parquet")
    assert not list(tmp_path.iterdir())
    (tmp_path / "text.parquet").write_text("no table")
    for name in ("text.parquet", "nowhere.parquet"):
        with pytest.raises(ValueError, match=f"{name}' to be a released table"):
            read_table(tmp_path / name)


def test_it_answers_what_was_recorded(recorded: Benchmark, past: PastRun) -> None:
    for one in past.trainings:
        if one.status is Status.FINISHED:
            assert one.patterns is not None
            found = recorded.query(one.patterns, one.seed)
            assert found.reward == one.reward
            assert one.test in (None, found.test)
            assert one.seed in [training.seed for training in recorded[one.patterns].trainings]
    nothing = recorded[PatternSet({})]
    seeds = {t.seed for t in past.trainings if t.name == "no dropout"}
    assert {one.seed for one in nothing.trainings} >= seeds
    rewards = [1 + seed % 7 / 1000 for seed in (one.seed for one in nothing.trainings)]
    assert nothing.reward == pytest.approx(np.mean(rewards))
    assert nothing.deviation == pytest.approx(np.std(rewards, ddof=1))
    assert nothing.test == pytest.approx(50 * np.mean([1 + seed % 7 / 1000 for seed in seeds]))
    assert len(recorded) == len(list(recorded)) == len(dict(recorded.items()))
    failed = next(t.patterns for t in past.trainings if t.status is Status.FAILED)
    assert failed not in recorded
    assert pickle.loads(pickle.dumps(recorded))[PatternSet({})] == nothing


def test_patterns_that_drop_the_same_are_one(recorded: Benchmark, past: PastRun) -> None:
    nothing = PatternSet({"first": TransformerPattern(size=0, rate=0.3)})
    assert recorded[nothing] == recorded[PatternSet({})]
    by_length = next(t for t in past.trainings if t.name.startswith("Variational") and t.patterns)
    assert by_length.patterns is not None
    assert {pattern.size for pattern in by_length.patterns.values()} == {WHOLE}
    as_tokens = {site: TransformerPattern(8, share_t=True, rate=p.rate) for site, p in by_length.patterns.items()}
    assert recorded.query(PatternSet(as_tokens)) == recorded[by_length.patterns]


def test_noise_is_that_of_repeated_seeds(recorded: Benchmark) -> None:
    answers = [recorded[patterns] for patterns in recorded.repeated]
    assert len(answers) >= 4
    squares = sum((len(a.trainings) - 1) * a.deviation**2 for a in answers)
    assert recorded.noise == pytest.approx(math.sqrt(squares / sum(len(a.trainings) - 1 for a in answers)))
    alone = [answer for answer in recorded.values() if len(answer.trainings) == 1]
    assert alone
    assert all(math.isnan(answer.deviation) for answer in alone)


def test_what_is_not_recorded_is_told_with_the_nearest(recorded: Benchmark) -> None:
    patterns = next(iter(recorded))
    site = next(site for site, pattern in patterns.items() if not pattern.is_identity)
    near = PatternSet({**patterns, site: TransformerPattern(size=3, rate=0.77)})
    wanted = rf"none of the {len(recorded)} that are recorded.*number 0 of .* differs at 1 of 2 sites: {site}$"
    with pytest.raises(NotRecordedError, match=wanted):
        recorded.query(near)
    with pytest.raises(KeyError):
        recorded[near]
    with pytest.raises(NotRecordedError, match="on seed 5 is recorded. Its seeds: "):
        recorded.query(patterns, seed=5)
    with pytest.raises(NotRecordedError, match="'third' is none of fake. Its sites: first, second"):
        recorded.query(PatternSet({"third": TransformerPattern(size=1)}))


def test_models_are_compared_by_how_they_rank_what_they_have_not_seen(recorded: Benchmark) -> None:
    def exact(patterns: object, rewards: object) -> object:
        return score

    def alike(patterns: object, rewards: object) -> object:
        return lambda one: 0.0

    assert recorded.ranking(exact, seen=8, orders=5) > 0.9
    assert recorded.ranking(alike, seen=8, orders=2) == 0
    assert -1 <= recorded.ranking(partial(Surrogate, recorded.space.sites), seen=8, orders=1) <= 1
    with pytest.raises(ValueError, match="'seen'"):
        recorded.ranking(exact, seen=len(recorded) - 1)


def test_a_task_for_searchers_is_made_of_it(recorded: Benchmark) -> None:
    task = recorded.task()
    assert task.noise == recorded.noise
    assert task.space.sites == recorded.space.sites
    assert 0.5 < task.train(next(iter(recorded)), seed=0).reward < 2.5


def test_unknown_tasks_and_settings_are_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="Expected one of fake"):
        benchmark("pydoc", file)
    with pytest.raises(ValueError, match="fit 0 of 1"):
        benchmark("fake", file, steps=6)
    assert len(benchmark("fake", file, steps=5)) == len(benchmark("fake", file))


def test_two_records_of_a_task_are_told_apart_by_settings(past: PastRun, tmp_path: Path) -> None:
    config = json.loads(json.dumps(past.config))
    config["task"]["steps"] = 7
    other = PastRun("fake-1", config, past.version, past.task, past.trainings[:3])
    write_table([past, other], tmp_path / "two.parquet")
    with pytest.raises(ValueError, match="fit 2 of 2; they differ in steps: 5, 7"):
        benchmark("fake", tmp_path / "two.parquet")
    assert len(benchmark("fake", tmp_path / "two.parquet", steps=7)) == 2  # one of three has failed


def test_the_card_tells_runs_roles_and_noise(file: Path, past: PastRun, recorded: Benchmark) -> None:
    text = card(file)
    assert f"{len(past.trainings)} trainings" in text
    assert f"| `fake-0` | `random` | 4 | {len(past.trainings)} | {TRIALS} trial, " in text
    assert "; 1 failed |" in text
    assert f"| `fake` | {len(recorded)} | {len(recorded.repeated)} |" in text
    assert f"{recorded.noise:.4f}, of a mean reward" in text
    assert all(f"| `{name}` |" in text for name, *_ in COLUMNS)


def test_the_shipped_table_is_small_and_its_card_is_of_it() -> None:
    assert SHIPPED.stat().st_size < 1_000_000
    assert SHIPPED.with_name(f"{SHIPPED.name}.md").read_text("utf-8") == card(SHIPPED)
    rows, _ = read_table()
    assert {row["task"] for row in rows} >= {"pydoc"}
    for row in rows:  # a reward is what it says: 80 over the perplexity
        if row["task"] == "pydoc" and row["valid"] is not None:
            assert row["reward"] == pytest.approx(80 / row["valid"])


def test_it_is_read_without_tensorflow_and_on_every_backend() -> None:
    code = "import sys, tf_autodropout as tad; print(len(tad.search.benchmark()), 'tensorflow' in sys.modules)"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(benchmark())), "False"]
