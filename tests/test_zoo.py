"""Presets out of campaigns: what is written of a run, and what of the network that it was not found on."""

import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.benchmark_scripts import script
from tests.test_released import SEEDS, TRIALS, MeasuredTask
from tf_autodropout.patterns import PatternSet, Site, TransformerPattern
from tf_autodropout.patterns.checks import WHOLE
from tf_autodropout.presets import shelf
from tf_autodropout.search import run
from tf_autodropout.search.core import Opponent, Result
from tf_autodropout.search.results.paired import paired_lead
from tf_autodropout.search.results.trainings import PastRun, past_run
from tf_autodropout.search.space import SearchSpace


class TextlikeTask(MeasuredTask):
    """With the sites where classics have their rates."""

    space = SearchSpace(tuple(Site(name, TransformerPattern, (8, 4), name, "all") for name in ("softmax", "ffn")))

    def opponents(self) -> list[Opponent]:
        return [Opponent("no dropout", PatternSet({}))]


@pytest.fixture(scope="module")
def zoo() -> ModuleType:
    return script("zoo")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("campaign") / "fake-0"
    task = TextlikeTask()
    run(task, TRIALS, out, searcher="random", seed=2, fresh_seeds=SEEDS, tuning=12, finalists=2)  # type: ignore[arg-type]
    return out


@pytest.fixture(scope="module")
def past(directory: Path) -> PastRun:
    return past_run(directory, TextlikeTask())  # type: ignore[arg-type]


def test_a_preset_is_the_best_of_its_run_with_its_leads(zoo: ModuleType, directory: Path, past: PastRun) -> None:
    (table,) = zoo.tables_in([directory.parent]).values()
    name, preset, classic = zoo.preset_of(past, table)
    assert name == "transformer-found-fake-2"
    best = PatternSet.load(directory / "best.json")
    assert {site: p.rate for site, p in preset.items()} == {s: p.rate for s, p in best.items() if not p.is_identity}
    assert all(pattern.size != 8 for pattern in preset.values())  # what covers 8 tokens covers any number
    notes = preset.provenance
    rows = {row["name"]: row for row in table["rows"]}
    assert notes["test"] == pytest.approx(np.mean(rows["best PatternSet"]["test"]), abs=1e-3)
    assert len(notes["seeds"]) == SEEDS
    assert (notes["searcher"], notes["search_seed"], notes["trials"]) == ("random", 2, TRIALS)
    assert notes["elsewhere"] == "not run"
    tuned = notes["leads"]["tuned classic, by validation"]
    classics = [row for row in table["rows"][1:] if "(" in row["name"]]
    assert tuned["over"] == max(classics, key=lambda row: np.mean(row["valid"]))["name"]
    lead = paired_lead(rows["best PatternSet"]["test"], rows[tuned["over"]]["test"], False)
    assert (tuned["mean"], tuned["p"]) == (pytest.approx(lead.mean, abs=1e-3), pytest.approx(lead.p, abs=1e-3))
    rates = {f"{pattern.rate:g}" for pattern in classic.values()}
    assert rates <= set(tuned["over"].rstrip(")").split("(")[1].split("/"))
    told = shelf._line(name, notes)
    assert told[1] == f"random, seed 2, trial {table['trial']} of {TRIALS}"
    assert f"{lead.mean:+.2f}" in told[4]
    closest = min(lead["mean"] for lead in notes["leads"].values())
    assert told[5].startswith(f"{closest:+.2f}")
    assert told[6] == "not run"


def test_what_covers_the_sequence_covers_any_and_what_drops_nothing_is_left_out(zoo: ModuleType, past: PastRun) -> None:
    given = {"softmax": TransformerPattern(8, 3, rate=0.2), "ffn": TransformerPattern(0, 1, rate=0.2)}
    assert zoo._anywhere(PatternSet(given), past) == PatternSet({"softmax": TransformerPattern(WHOLE, 0, rate=0.2)})
    small = PatternSet({"ffn": TransformerPattern(4, 2, True, rate=0.2)})
    assert zoo._anywhere(small, past) == small


class OtherNetwork:
    """Perplexities that tell pattern and seed, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def test(self, opponent: Opponent, seed: int) -> Result:
        self.asked += 1
        worth = 70 - 10 * sum(pattern.rate for pattern in opponent.patterns.values()) + seed % 10
        return Result(0.0, {"valid": math.log(worth - 5), "test": math.log(worth)})


def test_a_trial_elsewhere_is_paired_and_goes_on(zoo: ModuleType, past: PastRun, tmp_path: Path) -> None:
    classic = PatternSet({"ffn": TransformerPattern(1, rate=0.3)})
    found = PatternSet({"ffn": TransformerPattern(1, rate=0.2)}, {"leads": {zoo.TUNED: {"over": "Dropout(0.3)"}}})
    network = zoo.Network("a network, small", 4, OtherNetwork, math.exp)
    other = zoo.Elsewhere(network, tmp_path / "store")
    told = zoo.tried(("mine", found), classic, other)
    assert other._task.asked == 12
    assert told["seeds"] == other.seeds
    over_classic, over_none = told["leads"]
    assert (over_classic["over"], over_classic["mean"]) == ("Dropout(0.3)", pytest.approx(-1))
    assert (over_none["over"], over_none["mean"]) == ("no dropout", pytest.approx(2))
    assert over_classic["p"] == 2 / 2**4
    again = zoo.Elsewhere(network, tmp_path / "store", seeds=4)
    assert zoo.tried(("mine", found), classic, again)["leads"] == told["leads"]
    assert again._task.asked == 0
    assert len(list((tmp_path / "store").iterdir())) == 12
    notes = {
        "searcher": "s",
        "search_seed": 0,
        "trial": 1,
        "trials": 2,
        "task": "t",
        "test": 60,
        "spread": 1,
        "seeds": [1],
    }
    lead = {"over": "Dropout(0.3)", "mean": None, "low": None, "high": None, "p": 1.0}
    line = shelf._line("mine", notes | {"leads": {zoo.TUNED: lead}, "elsewhere": [told]})
    assert line[4] == "diverged, against Dropout(0.3)"
    assert line[5] == line[4]
    assert line[6].startswith("a network: -1.00 [-1.00, -1.00], p 0.125, over Dropout(0.3); a network: +2.00")


def test_figures_stay_with_the_patterns_they_are_of(zoo: ModuleType, tmp_path: Path) -> None:
    patterns = PatternSet({"ffn": TransformerPattern(1, rate=0.2)})
    assert zoo._figures_on_file(tmp_path, "mine", patterns) == "not run"
    zoo.write(tmp_path, "mine", patterns, {"network": "another"})
    assert zoo._figures_on_file(tmp_path, "mine", patterns) == {"network": "another"}
    assert zoo._figures_on_file(tmp_path, "mine", PatternSet({})) == "not run"
    assert json.loads((tmp_path / "mine.json").read_text())["provenance"]["elsewhere"]["network"] == "another"


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_the_other_networks_train_with_patterns_by_role(
    zoo: ModuleType, place: int, tmp_path: Path, monkeypatch
) -> None:
    for name, value in (("STEPS", 3), ("BATCH", 2), ("WIDE_BATCH", 2)):
        monkeypatch.setattr(zoo, name, value)
    other = zoo.Elsewhere(zoo.NETWORKS[place], tmp_path, 1)
    roles = [site.name for site in other._task.space.sites]
    assert roles == ["query", "key", "value", "softmax", "output", "ffn", "residual"]
    half = PatternSet(dict.fromkeys(roles, TransformerPattern(1, rate=0.5)))
    ((plain,), (dropped,)) = other.scores({"no dropout": PatternSet({}), "half": half}).values()
    assert 100 < plain < 3000
    assert dropped != plain
    assert zoo.Elsewhere(zoo.NETWORKS[place], tmp_path, 1).scores({"half": half}) == {"half": [dropped]}
