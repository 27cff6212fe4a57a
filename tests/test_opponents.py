"""The classics for each kind of site, and how they are tuned."""

from pathlib import Path

import numpy as np
import pytest

from tests.fakes import SPACE, FakeTask, ctrl_c
from tests.site_lists import transformer_sites, wide_resnet_sites
from tf_autodropout.patterns import ConvPattern, DropBlockPattern, PatternSet, Site, TransformerPattern, members
from tf_autodropout.patterns.checks import WHOLE
from tf_autodropout.search.core import Opponent, Result, Training
from tf_autodropout.search.engines import InProcess
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.results.tuning import Tuning
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.tasks.opponents import RATES, classics_for, known_patterns


def maps() -> tuple[list[Site], list[str]]:
    """Sites of a ConvNet, and the names of those at the ends of its blocks."""
    sites = wide_resnet_sites(16, 1)
    return sites, [site.name for site in sites if site.name.endswith("bn2")]


def test_classics_of_tokens_are_the_exact_members_where_transformers_have_their_dropout() -> None:
    classics = {classic.name: classic.everywhere(0.2).patterns for classic in classics_for(transformer_sites(32, 64))}
    assert list(classics) == ["Dropout", "Word Dropout", "Variational Dropout", "DropPath"]
    usual = ("softmax", "output", "ffn")
    assert classics["Dropout"] == PatternSet(dict.fromkeys(usual, members.dropout(0.2)))
    assert classics["Word Dropout"] == PatternSet(dict.fromkeys(usual, members.word_dropout(0.2)))
    assert classics["Variational Dropout"] == PatternSet(dict.fromkeys(usual, members.variational_dropout(0.2)))
    path = members.drop_path(0.2, TransformerPattern)
    assert classics["DropPath"] == PatternSet({"output": path, "ffn": path})


def test_classics_of_maps_have_a_rate_a_stage_and_drop_path_has_the_linear_rule() -> None:
    sites, ends = maps()
    dropout, spatial, block, path = classics_for(sites, ends, any_pattern=True)
    assert list(dropout.roles) == list(spatial.roles) == ["stage1", "stage2", "stage3"]
    inside = dropout.at({"stage1": 0.1, "stage2": 0.0, "stage3": 0.3})
    assert inside.name == "Dropout(0.1/0/0.3)"
    assert set(inside.patterns) == {name for name in ends if not name.startswith("stage2")}
    assert set(inside.patterns.values()) == {DropBlockPattern(1, 0.1), DropBlockPattern(1, 0.3)}  # single cells
    assert set(spatial.everywhere(0.2).patterns.values()) == {members.spatial_dropout(0.2)}
    ramped = block.everywhere(0.1)
    assert ramped.ramp_up
    assert [ramped.patterns[site].size for site in ("stage1_block1_bn1", "final_bn")] == [8, 2]  # type: ignore[attr-defined]
    rates = [(p.size, p.share_c, round(p.rate, 6)) for p in path.everywhere(0.6).patterns.values()]  # type: ignore[attr-defined]
    assert rates == [(WHOLE, True, pytest.approx(0.6 * (place + 1) / 6)) for place in range(6)]
    assert [classic.name for classic in classics_for(sites)] == ["Spatial Dropout"]


@pytest.mark.parametrize("side", [8, 32, 224])
def test_a_search_of_maps_may_begin_with_blocks_whatever_their_sides(side: int) -> None:
    sites = [Site(f"map{n}", ConvPattern, (side >> n, side >> n, 8), f"b{n}", "all") for n in range(1, 4)]
    blocks = [one for one in known_patterns(sites) if any(pattern.size not in (0, WHOLE) for pattern in one.values())]
    assert blocks
    for granularity in ("layer", "network"):
        space = SearchSpace(tuple(sites), granularity)
        assert None not in [space.encode(one) for one in blocks]


def test_what_a_trial_could_have_is_told_from_what_it_could_not() -> None:
    sites, ends = maps()
    space = SearchSpace(sites)
    fits = {c.name: c.everywhere(0.1).fits(space) for c in classics_for(sites, ends, any_pattern=True)}
    assert fits == {"Dropout": False, "Spatial Dropout": True, "DropBlock": False, "DropPath": True}
    assert not Opponent("trivial", PatternSet({}), drawn=True).fits(space)
    assert not Opponent("elsewhere", PatternSet({"nowhere": ConvPattern()})).fits(space)


class Peaked(FakeTask):
    """Best with Word Dropout, 0.2 at the first site and 0.05 at the second."""

    def train(self, patterns: PatternSet, seed: int) -> Result:
        self.calls.append((patterns, seed))
        wanted = {"first": 0.2, "second": 0.05}
        rates = {site: getattr(patterns.get(site), "rate", 0.0) for site in wanted}
        distance = sum(abs(np.log((rate + 0.02) / (wanted[site] + 0.02))) for site, rate in rates.items())
        word = all(getattr(pattern, "share_c", False) for pattern in patterns.values())
        return Result(5 + word - distance + 1e-3 * (seed % 7))


def tune(directory: Path, task: FakeTask, budget: int, finalists: int = 1) -> list[str]:
    ledger = Ledger(directory, {"task": "peaked"})
    try:
        tuning = Tuning(InProcess(task), ledger, SPACE, classics_for(SPACE.sites), budget, 0, lambda text: None)
        return [opponent.name for opponent in tuning.run(finalists)]
    finally:
        ledger.close()


def test_tuning_finds_the_rate_of_each_role_with_the_trainings_it_is_given(tmp_path: Path) -> None:
    task = Peaked()
    names = tune(tmp_path / "run", task, 40)
    assert "Word Dropout(0.2/0.05)" in names
    assert len(names) == 3
    assert len(task.calls) <= 40
    assert len(set(task.calls)) == len(task.calls)
    assert len({seed for _, seed in task.calls}) == 1  # all on one seed, so that they differ by their rates alone
    again = Peaked()
    assert tune(tmp_path / "run", again, 40) == names
    assert not again.calls
    more = Peaked()
    tune(tmp_path / "run", more, 40, finalists=4)
    assert 4 <= len(more.calls) <= 8  # the first of their seeds was there


def test_what_the_roles_leave_of_a_budget_goes_to_the_other_rates(tmp_path: Path) -> None:
    space = SearchSpace((Site("first", TransformerPattern, (8, 4), "first", "all"),))
    task = Peaked()
    task.space = space
    ledger = Ledger(tmp_path / "run", {"task": "peaked"})
    classics = classics_for(space.sites)
    Tuning(InProcess(task), ledger, space, classics, 24, 0, lambda text: None).run(1)
    ledger.close()
    assert len(set(task.calls)) == len(task.calls) == 24  # 3 classics of one role each: 5 rates, then 3 more


def test_classics_race_on_as_many_new_seeds_as_the_finalists_of_a_search(tmp_path: Path) -> None:
    class Noisy(Peaked):
        def train(self, patterns: PatternSet, seed: int) -> Result:
            self.calls.append((patterns, seed))
            return Result(5 + np.random.default_rng([seed, len(self.calls)]).normal())

    task, again = Noisy(), Noisy()
    tune(tmp_path / "run", task, 20, finalists=1)
    tune(tmp_path / "run", again, 20, finalists=2)
    assert len(again.calls) == 6  # two contenders tell too little of the noise to drop one
    assert not {seed for _, seed in again.calls} & {seed for _, seed in task.calls}


@pytest.mark.parametrize("budget", [1, 2, 3, 7, 12])
def test_a_budget_is_kept_and_every_classic_has_a_line(tmp_path: Path, budget: int) -> None:
    task = Peaked()
    names = tune(tmp_path / "run", task, budget)
    assert 1 <= len(task.calls) <= budget
    assert len(names) == 3


def test_tuning_that_was_stopped_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = tune(tmp_path / "whole", Peaked(), 30)

    class Stopped(Peaked):
        def train(self, patterns: PatternSet, seed: int) -> Result:
            if len(self.calls) == 17:
                ctrl_c()
            return super().train(patterns, seed)

    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "run", Stopped(), 30)
    rest = Peaked()
    assert tune(tmp_path / "run", rest, 30) == whole
    assert len(rest.calls) <= 13


def test_no_training_of_the_tuning_sees_test_data_where_patterns_tell_all() -> None:
    tuning = Tuning(None, None, SPACE, classics_for(SPACE.sites), 9, 0, lambda text: None)  # type: ignore[arg-type]
    assert isinstance(tuning._work((0, (0.1, 0.2)), 3), Training)
    assert len(RATES) == len(set(RATES))
