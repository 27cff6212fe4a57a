"""How a search searches: settings from Python and the command line, stored with the run, kept by a later one."""

import json
import sqlite3
from bisect import bisect_left
from functools import partial
from pathlib import Path

import pytest

from tests.fakes import SPACE, FakeTask
from tf_autodropout.search import SearchConfig, run
from tf_autodropout.search.ledger import Ledger, LedgerError, LedgerReader, stored_config
from tf_autodropout.search.ledger.schema import digest
from tf_autodropout.search.searchers import RandomSearch, Thompson
from tf_autodropout.search.tasks.opponents import classics_for
from tf_autodropout.search.terminal import cli

TABLE = Path(__file__).parents[1] / "benchmarks" / "searchers.json"


def stored(directory: Path) -> tuple[dict, dict]:
    """What identifies a run, and what it was called with."""
    reader = LedgerReader(directory)
    arguments = reader.arguments()
    reader.close()
    config = stored_config(directory)
    assert config is not None
    return config, arguments


def test_what_is_set_is_done_and_stored(tmp_path: Path) -> None:
    config = SearchConfig("thompson", {"exploration": 0.7}, capacity=3, batch=2, finalists=1, fresh_seeds=0, tuning=5)
    run(FakeTask(), 7, tmp_path / "run", config=config)  # type: ignore[arg-type]
    identity, arguments = stored(tmp_path / "run")
    assert identity["searcher"] == {"name": "thompson", "exploration": 0.7, "model": 2, "first": 4}
    known = [{}, *(classic.everywhere(0.1).patterns for classic in classics_for(SPACE.sites))]
    reader = LedgerReader(tmp_path / "run")
    begun = [{site: p for site, p in t.patterns.items() if not p.is_identity} for t in reader.trials()]
    reader.close()
    assert begun[:3] == [dict(patterns) for patterns in known[:3]]
    assert (identity["capacity"], identity["batch"]) == (3, 2)
    assert SearchConfig(**{name: arguments[name] for name in config.to_dict()}) == config
    reader = LedgerReader(tmp_path / "run")
    versions = [trial.suggestion.version for trial in reader.trials()]
    reader.close()
    assert versions == [0, 0, 0, 0, 1, 1, 2]  # three out at once, an update after every second


def test_fields_may_be_given_to_run_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    run(FakeTask(), 2, tmp_path / "run", searcher="random", capacity=5, finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    assert stored(tmp_path / "run")[0]["capacity"] == 5
    with pytest.raises(TypeError, match="unexpected argument 'workers'"):
        run(FakeTask(), 2, tmp_path / "other", workers=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without finalists beside it"):
        run(FakeTask(), 2, tmp_path / "other", config=SearchConfig(), finalists=1)  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()


def test_the_paper_s_own_search_is_eq_3_to_the_letter() -> None:
    paper = SearchConfig.paper()
    settings = paper.make(SPACE, 0).describe()
    extensions = ("bias_learning_rate", "scale_advantages", "entropy_bonus", "ratio_clip")
    assert settings["name"] == "reinforce"
    assert not any(settings[name] for name in extensions)
    assert (paper.updates_after, paper.finalists, paper.halving) == (16, 1, False)
    assert "first" not in settings


def test_a_searcher_s_own_batch_and_beginning() -> None:
    assert [SearchConfig(name).updates_after for name in ("thompson", "evolution", "tpe", "paper")] == [1, 1, 16, 16]
    assert SearchConfig(batch=4).updates_after == 4
    assert SearchConfig().make(SPACE, 0).describe()["first"] == 4
    assert SearchConfig(trial_zero=True).make(SPACE, 0).describe()["first"] == 3  # no dropout is trial 0
    for config in (SearchConfig(warm_start=False), SearchConfig("random"), SearchConfig(partial(Thompson))):
        assert "first" not in config.make(SPACE, 0).describe()


@pytest.mark.parametrize(
    ("begun", "came", "says"),
    [
        ({"trial_zero": True}, {}, r"'trial_zero' \(--trial-zero\). Expected True, .*. Received: trial_zero=False$"),
        ({}, {"trial_zero": True}, r"'trial_zero' \(--trial-zero\). Expected False, .*. Received: trial_zero=True$"),
        ({}, {"warm_start": False}, r"'warm_start' \(--warm-start\). Expected True, .*. Received: warm_start=False$"),
        ({"trial_zero": True}, {"seed": 1}, "its seed is 0, this run's is 1$"),  # what tells more comes first
    ],
)
def test_the_option_that_a_run_has_begun_with_otherwise_is_named(
    tmp_path: Path, begun: dict, came: dict, says: str
) -> None:
    rest = {"finalists": 1, "fresh_seeds": 0}
    run(FakeTask(), 1, tmp_path, **rest, **begun)  # type: ignore[arg-type]
    task = FakeTask()
    with pytest.raises(LedgerError, match=says) as refused:
        run(task, 1, tmp_path, **rest, **came)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    assert task.calls == []


def test_a_searcher_may_be_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = partial(Thompson, exploration=0.9)
    run(FakeTask(), 3, tmp_path / "run", searcher=own, finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    identity, arguments = stored(tmp_path / "run")
    assert identity["searcher"]["exploration"] == 0.9
    assert arguments["searcher"] is None
    with pytest.raises(ValueError, match="'searcher_settings'. Expected none beside a searcher of your own"):
        SearchConfig(RandomSearch, {"exploration": 1})


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"searcher": "grid"}, "Expected one of thompson, reinforce"),
        ({"searcher": 3}, "Invalid value for 'searcher'"),
        ({"searcher": "thompson", "searcher_settings": {"temperature": 1}}, "the searcher 'thompson': exploration"),
        ({"searcher": "random", "searcher_settings": {"seed": 1}}, "'random': none. Received: 'seed'"),
        ({"searcher": "reinforce", "searcher_settings": {"learning_rate": -1}}, "Invalid value for 'learning_rate'"),
        ({"searcher": "paper", "searcher_settings": {"rate": 1}}, "Expected those of .* 'paper': learning_rate"),
        ({"capacity": 0}, "Invalid value for 'capacity'"),
        ({"batch": True}, "Invalid value for 'batch'"),
        ({"finalists": 0}, "Invalid value for 'finalists'"),
        ({"fresh_seeds": 0.5}, "Invalid value for 'fresh_seeds'"),
        ({"halving": 1}, "Invalid value for 'halving'"),
        ({"halving": {"keep": 2}}, "Invalid value for 'keep'"),
        ({"halving": {"half": 2}}, "Invalid value for 'halving'. Expected True, False or settings among parts"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_at_once(arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SearchConfig(**arguments)


def called(monkeypatch: pytest.MonkeyPatch, *options: str) -> dict:
    """What the command line asks of `run`."""
    heard: list[dict] = []
    monkeypatch.setattr(cli, "_search", lambda out, engine, quiet, **arguments: heard.append(arguments))
    cli.cli(["search", "pydoc", "--out", "/nowhere/run", *options], standalone_mode=False)
    return heard[0]


def test_the_command_line_sets_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = called(
        monkeypatch,
        *("--searcher", "thompson", "--searcher-setting", "exploration=0.5", "--capacity", "1000", "--batch", "8"),
        *("--halving-setting", "parts=[0.5]", "--halving-setting", "warm_up=5", "--fresh-seeds", "0"),
    )
    assert (asked["searcher"], asked["searcher_settings"]) == ("thompson", {"exploration": 0.5})
    assert (asked["capacity"], asked["batch"], asked["fresh_seeds"]) == (1000, 8, 0)
    assert asked["halving"] == {"parts": [0.5], "warm_up": 5}
    asked = called(monkeypatch, "--paper", "--searcher-setting", "learning_rate=0.01")
    assert (asked["searcher"], asked["searcher_settings"]) == ("paper", {"learning_rate": 0.01})
    assert asked["finalists"] == 1
    assert called(monkeypatch)["halving"] is False


@pytest.mark.slow
def test_the_command_line_keeps_a_thousand_in_flight(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--capacity", "1000", "--trials", "1200", "--fresh-seeds", "0", "--finalists", "1", "--quiet"]
    cli.cli(
        ["search", "tabular", "--table", str(TABLE), "--searcher", "random", *options, "--out", str(out)],
        standalone_mode=False,
    )
    reader = LedgerReader(out)
    rows = list(reader.rows())
    reader.close()
    begun = sorted(row["queued_at"] for row in rows)
    ended = sorted(row["finished_at"] for row in rows)
    in_flight = [bisect_left(begun, moment) - count for count, moment in enumerate(ended)]
    assert len(rows) == 1200
    assert max(in_flight) == 1000
    assert in_flight[:201] == [1000] * 201  # refilled at once, until the last one is out


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--searcher-setting", "exploration"], "Expected NAME=VALUE"),
        (["--searcher-setting", "momentum=1"], "Expected those of the searcher 'thompson'"),
        (["--paper", "--searcher", "random"], "leave out --searcher"),
        (["--capacity", "0"], "0 is not in the range"),
    ],
)
def test_bad_options_are_refused(monkeypatch: pytest.MonkeyPatch, options: list[str], match: str) -> None:
    with pytest.raises(Exception, match=match):
        called(monkeypatch, *options)


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """It has stored fewer arguments, and a capacity that was a constant."""
    out = tmp_path / "run"
    run(FakeTask(), 4, out, searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    config, arguments = stored(out)
    assert (config["capacity"], config["batch"]) == (16, 16)
    old = {"task": None, "trials": 4, "searcher": "random", "seed": 0, "settings": {}, "precision": "float32"}
    old |= {"fresh_seeds": 0, "finalists": 1, "halving": False}
    assert old.items() <= arguments.items()
    text = json.dumps(old)
    with sqlite3.connect(out / "ledger.sqlite") as db:
        db.execute("UPDATE run SET value = ?, digest = ? WHERE key = 'arguments'", (text, digest("arguments", text)))
    again = FakeTask()
    given = stored(out)[1] | {"task": again, "trials": 6}
    given.pop("precision")
    run(out=out, **given)
    assert len(again.calls) == 2
    Ledger(out, config).close()
