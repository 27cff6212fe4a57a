"""The page of a run: what is in the file, also of a run at work, and what its command refuses."""

import dataclasses
import json
import math
import re
import statistics
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tf_autodropout as tad
from tests.fakes import SPACE, FakeTask, ScriptedEngine
from tf_autodropout.patterns import ConvPattern, Site, TransformerPattern
from tf_autodropout.search.core import LEARNING_CURVE, Result
from tf_autodropout.search.ledger import Ledger, LedgerReader
from tf_autodropout.search.loop import search_loop
from tf_autodropout.search.page import page, write_page
from tf_autodropout.search.page.document import document
from tf_autodropout.search.page.importance import chance_level, importances
from tf_autodropout.search.searchers import RandomSearch
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.terminal import cli

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>&%%SCRIPT%%"


class Told(FakeTask):
    """A task with learning curves whose third and seventh trainings come to grief."""

    def __init__(self, space: SearchSpace = SPACE) -> None:
        super().__init__(lambda call: {3: FloatingPointError(f"loss is nan {HOSTILE}")}.get(call))
        self.space = space

    def train(self, patterns, seed) -> Result:
        result = super().train(patterns, seed)
        return dataclasses.replace(result, metrics={LEARNING_CURVE: [3.0, 2.0, float(len(self.calls)) / 20]})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of 24 trials with a site of a hostile name, and maps of all ranks."""
    sites = (
        Site(HOSTILE, TransformerPattern, (8, 4), "a", "all"),
        Site("plane", ConvPattern, (8, 12, 4), "b", "all"),
        Site("line", ConvPattern, (16, 4), "c", "all"),
        Site("volume", ConvPattern, (4, 6, 6, 2), "d", "all"),
    )
    task = Told(SearchSpace(sites))
    task.opponents = lambda: [tad.search.core.Opponent("no dropout", tad.PatternSet({}))]
    task.test = lambda opponent, seed: Result(
        0.5, {"valid": 2.0 + seed % 7, "test": 1.0 + len(opponent.patterns) + seed % 3}
    )
    out = tmp_path_factory.mktemp("page") / "run"
    # One that the paired table of four seeds cannot tell from chance.
    tad.search.run(task, 24, out, searcher="random", trial_zero=True, fresh_seeds=4, finalists=2, tuning=0)
    return out


def data_of(html: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="run">(.*?)</script>', html, re.DOTALL)
    return json.loads(text)


def test_the_document_says_what_the_ledger_says(run: Path) -> None:
    told = document(run)
    reader = LedgerReader(run)
    try:
        trials = reader.trials()
    finally:
        reader.close()
    columns = told["trials"]
    assert {len(column) for column in columns.values()} == {24}
    assert columns["number"] == list(range(1, 25))
    assert columns["reward"] == [pytest.approx(trial.reward, rel=1e-5) for trial in trials]
    assert columns["status"].count("invalid") == 1
    assert columns["curve"][4] == pytest.approx([3.0, 2.0, columns["curve"][4][2]])
    for trial, tokens in zip(trials, columns["tokens"], strict=True):
        chosen = [ord(letter) - 48 for letter in tokens]
        assert chosen == list(trial.suggestion.tokens)
        values = [decision["values"][token] for decision, token in zip(told["decisions"], chosen, strict=True)]
        by_name = {(d["group"], d["token"]): value for d, value in zip(told["decisions"], values, strict=True)}
        assert by_name["plane", "repeat"] == trial.patterns["plane"].repeat or trial.patterns["plane"].is_identity
    for trial, numbers in zip(trials, columns["patterns"], strict=True):
        for site, number in zip(told["sites"], numbers, strict=True):
            assert (told["patterns"][number] is None) == trial.patterns[site["name"]].is_identity
    best = told["best"]
    earned = next(one["rewards"] for one in told["finalists"] if one["trial"] == best["trial"])
    assert best["seeds"] == len(earned) >= 2
    assert best["reward"] == pytest.approx(statistics.fmean(earned), rel=1e-5)
    assert len(told["without"]) == len(earned)
    assert told["complete"]
    assert told["table"]["trial"] == best["trial"]
    assert "loss is nan" in told["log"]


def test_one_file_without_network_in_which_a_hostile_name_stays_text(run: Path) -> None:
    html = page(run).html
    assert data_of(html)["sites"][0]["name"] == HOSTILE
    assert len(re.findall(r"<script", html)) == 3
    assert len(re.findall(r"</script>", html)) == 3
    assert (
        "onerror"
        not in html.replace(json.dumps(HOSTILE)[1:-1].replace("<", "\\u003c"), "")
        .split('id="run"')[1]
        .split("</script>")[0]
    )
    assert "default-src 'none'" in html
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", html.split("<script>")[0]) == []
    assert len(html.encode()) < 1_500_000
    # What a notebook gets is one attribute of a frame that can reach nothing.
    frame = page(run, height=300)._repr_html_()
    assert frame.count("<") == 2
    assert 'sandbox="allow-scripts"' in frame
    assert "height:300px" in frame


def at_work(directory: Path) -> Ledger:
    """The ledger of a run of 12 trials that has just begun."""
    space = SPACE.describe() | {"decisions": [f"{d.group} {d.token}" for d in SPACE.decisions]}
    config = {"task": {"name": "fake", "space": space, "limit": math.inf}, "searcher": {"name": "random"}, "seed": 0}
    return Ledger(directory, config, {"trials": 12, "fresh_seeds": 0})


def test_ctrl_c_leaves_a_page_that_waits_for_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work(tmp_path / "run").close()
    written = tmp_path / "run" / "report.html"
    seen = []

    def interrupted(seconds: float) -> None:
        seen.append((seconds, data_of(written.read_text("utf-8"))["watch"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    result = CliRunner().invoke(cli.cli, ["report", str(tmp_path / "run"), "--html", "--watch", "30"])
    assert result.exit_code == 0, result.output
    assert seen == [(30, 30)]
    assert data_of(written.read_text("utf-8"))["watch"] is None


def test_a_run_at_work_has_a_page_that_loads_itself(tmp_path: Path) -> None:
    ledger = at_work(tmp_path / "run")
    try:
        told = document(tmp_path / "run")
        assert (told["done"], told["best"], told["importance"]["decisions"]) == (0, None, [])
        search_loop(RandomSearch(SPACE, 0), ledger, ScriptedEngine(), SPACE.decode, 5)
        made = page(tmp_path / "run", watch=7)
        assert not made.complete
        told = data_of(made.html)
        assert (told["watch"], told["done"], told["total"]) == (7, 5, 12)
        assert told["best"]["seeds"] == 1

        written = tmp_path / "run.html"
        writer = threading.Thread(target=write_page, args=(tmp_path / "run", written, 1.0))
        writer.start()
        while not written.exists():
            time.sleep(0.05)
        search_loop(RandomSearch(SPACE, 0), ledger, ScriptedEngine(), SPACE.decode, 12)
        tad.PatternSet({}, {"finalists": 1}).save(tmp_path / "run" / "best.json")
        writer.join(20)
        assert not writer.is_alive()  # it ends when the run does
    finally:
        ledger.close()
    told = data_of(written.read_text("utf-8"))
    assert (told["watch"], told["done"], told["complete"]) == (None, 12, True)


def test_the_command_writes_the_page(run: Path, tmp_path: Path) -> None:
    def call(*arguments: str):
        return CliRunner().invoke(cli.cli, ["report", *arguments])

    assert call(str(run), "--html", "--out", str(tmp_path / "here.html")).exit_code == 0
    assert (tmp_path / "here.html").read_text("utf-8").startswith("<!doctype html>")
    assert call(str(run), "--html", "--watch", "5").exit_code == 0  # the run is complete: once
    assert (run / "report.html").exists()
    assert tad.visualize.report(run).html.startswith("<!doctype html>")
    assert tad.visualize.report(tad.search.Search(tad.PatternSet({}), 0.0, (), run), height=10).height == 10
    for arguments, message in (
        ([str(run), "--watch", "5"], "--watch needs --html"),
        ([str(run), "--out", "a.html"], "--out needs --html"),
        ([str(run), "--html", "--watch", "0.5"], "0.5"),
        ([str(run), "--html", "--out", str(tmp_path / "none" / "a.html")], "expected an .html file"),
        ([str(run), "--html", "--out", str(tmp_path / "a.txt")], "expected an .html file"),
        ([str(tmp_path), "--html"], "holds no run"),
    ):
        result = call(*arguments)
        assert result.exit_code != 0
        assert message in f"{result.output} {result.exception}"
    for height in (0, "tall", True):
        with pytest.raises(ValueError, match="Invalid value for 'height'"):
            page(run, height=height)
    with pytest.raises(TypeError, match="Expected 'run' to be the directory of a run"):
        tad.visualize.report(5)
    for watch in (0.5, True, "often"):
        with pytest.raises(ValueError, match="Invalid value for 'watch'"):
            write_page(run, tmp_path / "a.html", watch)


def test_importance_is_the_share_of_variance_less_what_chance_would_show() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (400, 6))
    rewards = 2.0 * (tokens[:, 2] == 1) + 1.0 * tokens[:, 4] + rng.standard_normal(400)
    found = importances(tokens.tolist(), rewards.tolist())
    assert [one.place for one in found[:2]] == [4, 2]
    # By the variances that it was made of: 2 from places 4, 0.64 from place 2, 1 of noise.
    assert found[0].share == pytest.approx(2 / 3.64, abs=0.05)
    assert found[1].share == pytest.approx(0.64 / 3.64, abs=0.05)
    chance = chance_level(tokens.tolist(), rewards.tolist())
    assert all(one.share < chance for one in found[2:])
    assert found[1].share > chance > 0
    assert sum(found[0].counts.values()) == 400
    assert found[0].means[4] == pytest.approx(rewards[tokens[:, 4] == 4].mean())
    assert importances(tokens[:15].tolist(), rewards[:15].tolist()) == []
    assert {one.share for one in importances(tokens.tolist(), [1.0] * 400)} == {0.0}
    assert chance_level(tokens.tolist(), [1.0] * 400) == 0.0
    # Of noise alone the largest of all is beyond the level in 5 % of cases.
    beyond = 0
    for _ in range(60):
        noise = rng.standard_normal(60).tolist()
        beyond += importances(tokens[:60].tolist(), noise)[0].share > chance_level(tokens[:60].tolist(), noise)
    assert beyond <= 9  # a probability of 0.002 for more
