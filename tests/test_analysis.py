"""The analysis of a run: variations of a set, what the best have in common; on a task that answers at once."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests.fakes import SPACE, FakeTask, score
from tests.sessions import analysis_session, begin
from tests.site_lists import wide_resnet_sites
from tf_autodropout.search import run
from tf_autodropout.search.analysis.analyse import PICTURE, TABLE, analyse
from tf_autodropout.search.analysis.common import in_common, resembles
from tf_autodropout.search.analysis.table import verdict
from tf_autodropout.search.analysis.variations import FOUND, MOVED, NONE, UNIFORM, variations
from tf_autodropout.search.core import (
    RUNG_REWARDS,
    STOPPED_AT,
    Opponent,
    Progress,
    Result,
    Rung,
    Suggestion,
    unheard,
)
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.ledger import LedgerError
from tf_autodropout.search.results.comparison import Row, leads
from tf_autodropout.search.results.paired import holm, paired_lead
from tf_autodropout.search.searchers import RandomSearch
from tf_autodropout.search.space import SearchSpace

HALF, WORD = tad.members.dropout(0.5), tad.members.word_dropout(0.1)


def test_variations_of_roles() -> None:
    found = tad.PatternSet({"first": HALF, "second": WORD})
    made = variations(found, SPACE)
    assert made[FOUND] == found
    assert made[NONE] == tad.PatternSet({})
    assert made["without first"] == tad.PatternSet({"second": WORD})
    assert made["without second"] == tad.PatternSet({"first": HALF})
    assert made[MOVED] == tad.PatternSet({"first": WORD, "second": HALF})
    assert made[UNIFORM] == tad.PatternSet({"first": HALF, "second": HALF})


def test_what_would_be_trained_twice_is_left_out() -> None:
    """Of a set that is uniform already, moving and evening out change nothing; without its one site it is nothing."""
    assert list(variations(tad.PatternSet({"first": HALF, "second": HALF}), SPACE)) == [
        FOUND,
        NONE,
        "without first",
        "without second",
    ]
    assert list(variations(tad.PatternSet({"first": HALF}), SPACE)) == [FOUND, NONE, MOVED, UNIFORM]


def test_on_maps_a_group_moves_as_one_and_sizes_go_with_the_maps() -> None:
    sites = wide_resnet_sites(10, 1, (16, 16, 3))
    space = SearchSpace(sites, "stage")
    first = {site.name: tad.ConvPattern(size=4) for site in space.groups["stage1"]}
    made = variations(tad.PatternSet(first), space)
    assert list(made) == [FOUND, NONE, MOVED, UNIFORM]
    sides = {site.name: min(site.shape[:-1]) for site in sites}
    moved = made[MOVED]
    assert set(moved) == {site.name for site in space.groups["stage2"]}
    assert all(pattern.size == max(1, sides[name] // 4) for name, pattern in moved.items())
    assert {name: pattern.size for name, pattern in made[UNIFORM].items()} == {
        name: side // 4 for name, side in sides.items()
    }


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (tad.members.dropout(0.1), "Dropout"),
        (tad.members.word_dropout(0.1), "Word Dropout"),
        (tad.members.variational_dropout(0.1), "Variational Dropout"),
        (tad.members.drop_path(0.1, tad.TransformerPattern), "DropPath"),
        (tad.TransformerPattern(size=2, stride=2, rate=0.1), "runs of tokens"),
        (tad.TransformerPattern(size=2, share_t=True, rate=0.1), "runs of tokens"),
        (tad.TransformerPattern(), "nothing"),
    ],
)
def test_which_classic_a_pattern_of_tokens_resembles(pattern: tad.TransformerPattern, name: str) -> None:
    assert resembles(pattern, SPACE.sites[0]) == name


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (tad.members.spatial_dropout(0.1), "Spatial Dropout"),
        (tad.members.drop_path(0.1), "DropPath"),
        (tad.members.drop_block(3), "DropBlock"),
        (tad.ConvPattern(size=3), "DropBlock"),
        (tad.ConvPattern(size=1, repeat=3, stride=1), "several blocks"),
    ],
)
def test_which_classic_a_pattern_of_maps_resembles(pattern: tad.ConvPattern, name: str) -> None:
    assert resembles(pattern, wide_resnet_sites(10, 1, (16, 16, 3))[0]) == name


def test_what_the_best_have_in_common() -> None:
    best = [tad.PatternSet({"first": HALF}), tad.PatternSet({"first": WORD}), tad.PatternSet({"first": HALF})]
    first, second = in_common(best, [*best, tad.PatternSet({"second": WORD})], SPACE)
    assert (first.best, first.all, first.resembles) == (1.0, 0.75, "Dropout (67%)")
    assert (second.best, second.all, second.resembles) == (0.0, 0.25, "")


def test_a_run_is_analysed_and_a_second_call_trains_only_what_is_new(tmp_path: Path) -> None:
    task = FakeTask()
    found = run(task, 6, tmp_path, searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    task.calls.clear()
    scores = analyse(tmp_path, 3, task)  # type: ignore[arg-type]
    assert len(task.calls) == 3 * len(scores)
    seeds = [seed for _, seed in task.calls]
    assert len(set(seeds)) == 3
    drop = 100 * (score(found.best) - score(tad.PatternSet({})))  # the same seeds: the difference is exact
    text = (tmp_path / TABLE).read_text("utf-8")
    assert f"| {NONE} |" in text
    assert f"| {drop:+.2f} [{drop:+.2f}, {drop:+.2f}] |" in text
    assert "best of 6 PatternSets have in common" in text
    assert (tmp_path / PICTURE).stat().st_size > 1000
    again = analyse(tmp_path, 4, task)  # type: ignore[arg-type]
    assert len(task.calls) == 4 * len(scores)
    assert {name: own[:3] for name, own in again.items()} == scores
    document = json.loads((tmp_path / "analysis.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert [row["name"] for row in document["rows"]] == list(document["patterns"]) == list(scores)
    assert document["patterns"][FOUND] == json.loads(tad.PatternSet(found.best).to_json())


def test_each_p_is_given_for_all_variations_together_too(tmp_path: Path) -> None:
    """Six variations have six tries at p < 0.05; what is not beyond chance after Holm is not called so."""
    noise = np.random.default_rng(0).normal(0, 0.5, 1000)

    class Noisy(FakeTask):
        def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
            clear = super().test(opponent, seed)
            test = len(opponent.patterns) + noise[len(self.calls)]  # what the patterns are makes no difference
            return Result(clear.reward, {"valid": test, "test": test})

    task = Noisy()
    run(task, 6, tmp_path, searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    scores = analyse(tmp_path, 8, task)  # type: ignore[arg-type]
    p = [paired_lead(scores[FOUND], own, False).p for name, own in scores.items() if name != FOUND]
    adjusted, text = holm(p), (tmp_path / TABLE).read_text("utf-8")
    assert max(adjusted) > 0.05 > min(adjusted)
    assert any(one != another for one, another in zip(p, adjusted, strict=True))
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]  # not the head, nor the set itself
    for line, one, another in zip(lines, p, adjusted, strict=False):
        assert line.endswith(f"| {one:.3g} | {another:.3g} |")
    sure = [name for (name, own), one in zip(list(scores.items())[1:], adjusted, strict=True) if one < 0.05]
    assert f"ahead of {', '.join(sure)}; behind none of its variations. The others cannot be told from it." in text


def test_what_the_numbers_carry_is_said() -> None:
    def said(*others: tuple[float, ...]) -> str:
        rows = [Row("as found", first, first), *(Row(f"v{place}", own, own) for place, own in enumerate(others))]
        return verdict(rows, leads(rows, lower_is_better=True))

    first = (10.0, 11.0, 12.0, 10.5, 11.5, 12.5, 10.2)
    higher, lower = (tuple(x + step for x in first) for step in (1.0, -1.0))
    assert said() == "The set drops nothing: there is nothing to vary."
    assert said(higher, lower) == ("Beyond chance, p < 0.05 after Holm, the set as found is ahead of v0; behind v1.")
    assert said(first[::-1]) == "No variation can be told from the set as found."
    first = first[:5]
    assert said(higher[:5]).endswith("5 seeds cannot give a p below 0.05 after Holm, 6 can.")
    assert said((math.nan,) * 5).startswith("No variation can be told")
    first = (math.nan,) * 5
    assert said(higher[:5]) == "A training of the set as found diverged: no comparison."


@pytest.mark.slow
def test_an_analysis_that_is_killed_goes_on_and_trains_nothing_twice(tmp_path: Path) -> None:
    run(FakeTask(), 6, tmp_path, searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    begun, kills = 0, (1, 4, 5)
    for count in kills:
        process, pipe = begin(analysis_session, tmp_path, 4)
        for _ in range(count):
            assert pipe.recv() == "training"
        begun += count
        process.kill()
        process.join()
    process, pipe = begin(analysis_session, tmp_path, 4)
    while pipe.recv() != "done":
        begun += 1
    process.join()
    task = FakeTask()
    scores = analyse(tmp_path, 4, task)  # type: ignore[arg-type]
    assert task.calls == []
    whole = 4 * len(scores)
    assert whole <= begun <= whole + len(kills)  # those that the kills have found running


def test_one_analysis_at_a_time_and_none_beside_a_search(tmp_path: Path) -> None:
    """Whoever has the run's directory is not disturbed, neither by an analysis nor by a search beside one."""
    said = f"^another process is at work on {tmp_path}$"
    refused: list[object] = []

    def search(task: FakeTask, trials: int) -> None:
        run(task, trials, tmp_path, searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]

    class Searched(FakeTask):
        def train(self, patterns: tad.PatternSet, seed: int) -> Result:
            with pytest.raises(LedgerError, match=said) as found:
                analyse(tmp_path, 2, FakeTask())  # type: ignore[arg-type]
            refused.append(found)
            return super().train(patterns, seed)

    class Analysed(Searched):
        def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
            self.train(opponent.patterns, seed)
            with pytest.raises(LedgerError, match=said):
                search(FakeTask(), 9)
            return super().test(opponent, seed, progress)

    search(FakeTask(), 3)
    search(Searched(), 6)
    assert len(refused) == 3
    scores = analyse(tmp_path, 2, Analysed())  # type: ignore[arg-type]
    assert len(refused) == 3 + 2 * len(scores)


def test_it_trains_in_the_precision_of_the_run(tmp_path: Path) -> None:
    policies = set()

    class Told(FakeTask):
        def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
            policies.add(keras.config.dtype_policy().name)
            return super().test(opponent, seed, progress)

    where = EngineConfig(precision="bfloat16")
    run(FakeTask(), 3, tmp_path, where, searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    before = keras.config.dtype_policy().name
    analyse(tmp_path, 1, Told())  # type: ignore[arg-type]
    assert policies == {"mixed_bfloat16"}
    assert keras.config.dtype_policy().name == before


def test_the_best_were_trained_to_their_end_and_count_once(tmp_path: Path) -> None:
    """The reward of a trial that ended early is the one to be expected: it may be the highest, and is not the best."""
    tenth = tad.members.dropout(0.1)
    both, one = tad.PatternSet({"first": tenth, "second": tenth}), tad.PatternSet({"second": WORD})
    tokens = [SPACE.encode(patterns) for patterns in (both, both, one, one)]

    class Told(RandomSearch):
        def suggest(self, count: int) -> list[Suggestion]:
            assert count == len(tokens)
            return [Suggestion(known, 0.0, 0) for known in tokens if known is not None]

    class EndsEarly(FakeTask):
        def train(self, patterns: tad.PatternSet, seed: int, rungs: Sequence[Rung] = ()) -> Result:
            if not patterns["first"].is_identity:
                return Result(99.0, {RUNG_REWARDS: [99.0], STOPPED_AT: 0.5}, stopped=True)
            return Result(super().train(patterns, seed).reward, {RUNG_REWARDS: [1.0]})

    task = EndsEarly()
    run(task, 4, tmp_path, searcher=Told, halving=True, batch=4, finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    analyse(tmp_path, 1, task)  # type: ignore[arg-type]
    text = (tmp_path / TABLE).read_text("utf-8")
    assert "What the 1 best of 2 PatternSets have in common" in text
    assert "| first | none | 0% | 50% |  |" in text
    assert "| 100% | 100% | Word Dropout (100%) |" in text


def test_another_task_than_that_of_the_run_is_refused(tmp_path: Path) -> None:
    class Another(FakeTask):
        def describe(self) -> dict[str, object]:
            return {"name": self.name, "steps": 20}

    run(FakeTask(), 3, tmp_path, searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    task = Another()
    with pytest.raises(LedgerError, match="its task steps is null, this run's is 20"):
        analyse(tmp_path, 1, task)  # type: ignore[arg-type]
    assert task.calls == []


def test_what_fails_twice_is_said_and_what_diverges_is_kept(tmp_path: Path) -> None:
    run(FakeTask(), 3, tmp_path, searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="'as found' came to nothing: ValueError: no such kernel"):
        analyse(tmp_path, 2, FakeTask(lambda call: ValueError("no such kernel")))  # type: ignore[arg-type]
    task = FakeTask(lambda call: FloatingPointError("loss is nan") if call == 3 else None)
    scores = analyse(tmp_path, 2, task)  # type: ignore[arg-type]
    assert [name for name, own in scores.items() if math.isnan(sum(own))] == [NONE]
    assert len(task.calls) == 2 * len(scores)
    analyse(tmp_path, 2, task)  # type: ignore[arg-type]
    assert len(task.calls) == 2 * len(scores)
    assert f"| {NONE} | diverged | - | - | - |" in (tmp_path / TABLE).read_text("utf-8")


def test_what_cannot_be_analysed_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run|no ledger|not a run|No run|no run"):
        analyse(tmp_path)
    run(FakeTask(), 2, tmp_path / "own", searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a task of your own"):
        analyse(tmp_path / "own")
