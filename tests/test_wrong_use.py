"""Mistakes that users make: each is told at once, by the name of the argument, before anything is trained."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tf_autodropout.search import EngineConfig, SearchConfig
from tf_autodropout.search.ledger import LedgerError
from tf_autodropout.search.ledger.schema import check_config
from tf_autodropout.search.searchers import make_searcher
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.terminal import cli


def build() -> keras.Model:
    image = keras.Input((8, 8, 1))
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    model.compile("adam", "mse", metrics=["mae"])
    return model


X, Y = np.zeros((8, 8, 8, 1), "float32"), np.zeros((8, 2), "float32")


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"validation_data": X}, r"'validation_data'. Expected a tuple \(x, y\)"),
        ({"validation_split": 0.2}, "'validation_data', not 'validation_split'"),
    ],
)
def test_validation_data_is_told_before_the_model_is_built(fit: dict[str, Any], message: str, tmp_path: Path) -> None:
    search = tad.AutoDropout(build, out=tmp_path / "run")
    with pytest.raises((TypeError, ValueError), match=message):
        search.fit(X, Y, **fit)
    assert not (tmp_path / "run").exists()


def test_a_config_is_a_search_config() -> None:
    with pytest.raises(TypeError, match="Expected 'config' to be a SearchConfig or None. Received: config={'fin"):
        tad.AutoDropout(build, config={"finalists": 1})  # type: ignore[arg-type]


def test_run_says_what_there_is_for_a_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="for a Keras model there is tad.AutoDropout"):
        tad.search.run(build(), trials=1, out=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("searcher", "settings", "message"),
    [
        ("thompson", {"exploration": "much"}, "'exploration'. Expected a finite number"),
        ("thompson", {"exploration": -1}, "'exploration'. Expected >= 0"),
        ("evolution", {"population": "64"}, "'population'. Expected an integer >= 1"),
        ("reinforce", {"learning_rate": "low"}, "'learning_rate'. Expected a finite number"),
        ("reinforce", {"scale_advantages": 1}, "'scale_advantages'. Expected True or False"),
    ],
)
def test_settings_of_searchers(searcher: str, settings: dict[str, Any], message: str) -> None:
    space = SearchSpace(tad.sites(build()).as_sites())
    with pytest.raises(ValueError, match=message):
        make_searcher(searcher, space, 0, settings)


@pytest.mark.parametrize(
    ("settings", "name"), [({"keep": "half"}, "keep"), ({"parts": 0.5}, "parts"), ({"warm_up": "3"}, "warm_up")]
)
def test_settings_of_halving(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"Invalid value for '{name}'"):
        SearchConfig(halving=settings)


@pytest.mark.parametrize("option", [{"workers": 0}, {"workers": "2"}, {"time_limit": 0}, {"time_limit": "1h"}])
def test_options_of_engines(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"Invalid value for '{next(iter(option))}'"):
        EngineConfig("processes", **option)


def test_another_task_is_told_before_what_follows_from_it() -> None:
    stored, wanted = ({"searcher": {"first": n}, "task": {"name": name}} for n, name in ((2, "model"), (3, "digits")))
    with pytest.raises(LedgerError, match='its task is "model", this run\'s is "digits"'):
        check_config(Path("run"), stored, wanted)


def test_a_size_as_a_number_below_one() -> None:
    with pytest.raises(ValueError, match=r"fraction of the map as text \('1/4'\). Received: size=0.25"):
        tad.ConvPattern(size=0.25)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["model", "table"])
def test_transfer_takes_sites(given: str) -> None:
    wrong: Any = build() if given == "model" else tad.sites(build())
    with pytest.raises(TypeError, match=r"as tad.sites\(model\).as_sites\(\)"):
        tad.transfer(tad.PatternSet({"bn": tad.ConvPattern(size=2)}), wrong, wrong)


def message_of(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["tf-autodropout", *arguments])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "pydoc", "--out", "run", "--paper", "--searcher", "thompson"], "--paper is a search of its own"),
        (["search", "pydoc", "--out", "run", "--paper", "--finalists", "6"], "--paper is a search of its own"),
        (["search", "broken.py:build", "--out", "run"], "broken.py, line 1: "),
        (["plot", "."], "is a directory"),
        (["train", "digits", "--patterns", "."], "is a directory"),
        (["train", "digits", "--granularity", "layer"], "No such option"),
    ],
)
def test_command_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("def build(:\n")
    assert message in message_of(arguments, monkeypatch, capsys)
    assert not Path("run").exists()


def test_help_of_search_is_in_sections_and_train_names_no_granularity(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("search", "train"):
        with pytest.raises(SystemExit):
            cli.cli([command, "--help"])
    search, train = capsys.readouterr().out.split("Usage: ")[1:]
    headings = [line for line in search.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Options:",
        "How it searches:",
        "What follows the search:",
        "Settings of the tasks that have them, see above:",
        "Where children are trained:",
    ]
    assert search.index("What follows") < search.index("--tuning") < search.index("Settings of the tasks")
    assert "--granularity" in search
    assert "--granularity" not in train
