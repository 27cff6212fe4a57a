"""The table of trials, its surrogate, and the task that answers from it."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import FakeTask, score
from tf_autodropout.patterns import ConvPattern, PatternSet, Site, TransformerPattern
from tf_autodropout.patterns.document import DocumentError
from tf_autodropout.search import run
from tf_autodropout.search.children import surrogate
from tf_autodropout.search.children.surrogate import Surrogate
from tf_autodropout.search.core import Opponent
from tf_autodropout.search.ledger.trial_table import TrialTable
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.tasks.tabular import TabularTask, tabular_task

SHIPPED = Path(__file__).parents[1] / "benchmarks" / "searchers.json"
# Not in the order of their names, and two of them share their decisions.
SITES = tuple(Site(name, TransformerPattern, (8, 4), name, stage) for name, stage in ("za", "yb", "xb"))
SPACE = SearchSpace(SITES, "stage")


class StageTask(FakeTask):
    """Its second trial fails, and again at the end, when it is tried once more."""

    space = SPACE

    def __init__(self) -> None:
        super().__init__(lambda call: RuntimeError("no luck") if call in (2, 13) else None)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    run(StageTask(), 12, tmp_path / "run", searcher="random", fresh_seeds=0, finalists=1)  # type: ignore[arg-type]
    return tmp_path / "run"


def small_table(count: int = 40) -> TrialTable:
    rng = np.random.default_rng(0)
    tokens = tuple(tuple(int(rng.integers(size)) for size in SPACE.vocabulary_sizes) for _ in range(count))
    return TrialTable(SPACE, tokens, tuple(score(SPACE.decode(row)) for row in tokens))


def test_a_run_becomes_a_table_with_its_groups_and_comes_back_from_a_file(directory: Path) -> None:
    table = TrialTable.from_run(directory)
    assert len(table.rewards) == 11  # the failed trial is not in it
    assert [[site.name for site in group] for group in table.space.groups.values()] == [["z"], ["x", "y"]]
    for tokens, reward in zip(table.tokens, table.rewards, strict=True):
        assert table.space.decode(tokens) == SPACE.decode(tokens)
        assert reward == score(SPACE.decode(tokens))
    assert table.provenance["task"] == {"name": "fake"}
    table.save(directory.parent / "table.json")
    again = TrialTable.load(directory.parent / "table.json")
    assert again == table
    assert again.provenance == table.provenance


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda fields: fields.pop("rewards"), "missing field 'rewards'"),
        (lambda fields: fields.update(space_version=1), "'space_version': expected 2"),
        (lambda fields: fields["rewards"].pop(), "a reward for each"),
        (lambda fields: fields["tokens"].__setitem__(0, "9 0 0 0 0 0 0 0 0 0"), "token"),
        (lambda fields: fields["tokens"].__setitem__(0, "one"), "not a table of trials"),
        (lambda fields: fields["sites"]["z"].update(kind="Dense"), "Dense"),
    ],
)
def test_a_broken_table_is_refused(change, match: str) -> None:
    document = json.loads(small_table().to_json())
    change(document)
    with pytest.raises(DocumentError, match=match):
        TrialTable.from_json(json.dumps(document))


def test_the_surrogate_is_scikit_learns_model_to_the_bit_of_a_float() -> None:
    table = small_table()
    patterns = [SPACE.decode(tokens) for tokens in table.tokens]
    mine = Surrogate(SITES, patterns, table.rewards)
    rows = np.array([mine._row(p) for p in patterns])
    model = surrogate._model().fit(rows, table.rewards)
    np.testing.assert_allclose([mine(p) for p in patterns], model.predict(rows), rtol=1e-12)
    assert np.std([mine(p) for p in patterns]) > 0.05


def test_the_surrogate_learns_and_its_quality_is_on_trials_held_out() -> None:
    table = small_table(120)
    patterns = [SPACE.decode(tokens) for tokens in table.tokens]
    quality = Surrogate(SITES, patterns, table.rewards).quality()
    assert 0.5 < quality["r2"] < 1
    assert quality["rank_correlation"] > 0.7
    noise = np.random.default_rng(1).standard_normal(120)
    assert Surrogate(SITES, patterns, noise.tolist()).quality()["r2"] < 0.2
    with pytest.raises(ValueError, match="5 or more trials"):
        Surrogate(SITES, patterns[:4], table.rewards[:4])


def test_features_are_the_share_dropped_and_the_fields_and_nothing_for_the_identity() -> None:
    token, cell = Site("t", TransformerPattern, (8, 4), "t", "t"), Site("c", ConvPattern, (8, 16, 4), "c", "c")
    half = TransformerPattern(size=2, stride=2, share_t=True, rate=0.4)
    assert surrogate._features(token, half) == pytest.approx([0.2, 2, 2, 1, 0, 0.4])
    assert surrogate._features(token, TransformerPattern(size=100, stride=5, rate=0.4))[:2] == [0.4, 8]
    blocks = ConvPattern(size=2, stride=1, repeat=2, rotate=15.0, share_c=True)
    assert surrogate._features(cell, blocks) == [0.5 * 0.25, 2, 2, 1, 2, 15, 0, 0, 1, 0, 1]
    for site in (token, cell):
        nothing = surrogate._features(site, None)
        assert not any(nothing)
        assert nothing == surrogate._features(site, site.kind(stride=3))  # type: ignore[call-arg]
        assert len(nothing) == len(surrogate._features(site, site.kind(size=1)))  # type: ignore[call-arg]


def test_the_task_answers_and_its_noise_is_the_seeds() -> None:
    task = TabularTask(small_table(), noise=0.5)
    patterns = task.space.decode(task.table.tokens[0])
    first = task.train(patterns, 1).reward
    assert task.train(patterns, 1).reward == first
    draws = [task.train(patterns, seed).reward for seed in range(400)]
    assert np.mean(draws) == pytest.approx(task.surrogate(patterns), abs=3.3 * 0.5 / 20)
    assert np.std(draws) == pytest.approx(0.5, rel=0.15)
    scores = task.test(Opponent("it", patterns), 1, lambda *heard: None).metrics
    assert scores == {"valid": first, "test": task.surrogate(patterns)}
    assert task.opponents() == [Opponent("no dropout", PatternSet({}))]
    assert task.describe() != TabularTask(small_table(39), noise=0.5).describe()


def test_a_search_runs_on_the_shipped_table(tmp_path: Path) -> None:
    out, table = tmp_path / "out", {"table": str(SHIPPED)}
    found = run("tabular", 48, out, searcher="thompson", settings=table, fresh_seeds=0, finalists=1)
    assert found.reward > 2.0
    assert (out / "best.json").exists()


@pytest.mark.parametrize("table", ["", "nowhere.json"])
def test_a_table_that_is_not_there_is_named(table: str) -> None:
    with pytest.raises(ValueError, match="Invalid value for 'table'"):
        tabular_task(table)


def test_bad_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="noise"):
        TabularTask(small_table(), noise=-1.0)
