"""The scripts in examples/: short, and they run; here on a few examples, with few trials."""

import runpy
from pathlib import Path
from typing import Any

import pytest

import tf_autodropout as tad
from tests.example_session import EXAMPLES, stand_ins
from tf_autodropout.search.search_config import SearchConfig

SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def test_there_are_three_and_each_has_at_most_15_lines() -> None:
    assert [path.stem for path in SCRIPTS] == ["own_network", "pipeline", "text"]
    for path in SCRIPTS:
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith('"""')]
        assert len(lines) <= 15, path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Two trials of one epoch in a directory of their own; returns the searches."""
    made: list[Any] = []
    begin, compare = tad.AutoDropout.__init__, tad.AutoDropout.compare

    def start(self: Any, *given: Any, **named: Any) -> None:
        named |= {"trials": 2, "config": SearchConfig("random", finalists=1, fresh_seeds=0, trial_zero=True)}
        begin(self, *given, **named)
        made.append(self)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tad.AutoDropout, "__init__", start)
    monkeypatch.setattr(tad.AutoDropout, "compare", lambda self, data: compare(self, data, seeds=1))
    for owner, name, value in stand_ins():
        monkeypatch.setattr(owner, name, value)
    return made


def check(path: Path, made: list[Any]) -> None:
    runpy.run_path(str(path), run_name="__main__")
    (search,) = made
    assert [row["status"] for row in search.results()] == ["finished"] * 3
    directory = Path("runs") / path.stem.replace("own_network", "fashion_mnist")
    assert {"best.json", "best.png", "report.md", "table.json"} <= {file.name for file in directory.iterdir()}


@pytest.mark.slow
def test_an_own_network_on_arrays(small: list[Any]) -> None:
    check(SCRIPTS[0], small)


@pytest.mark.slow
def test_a_pipeline_with_augmentation(small: list[Any]) -> None:
    check(SCRIPTS[1], small)


@pytest.mark.slow
def test_raw_text(small: list[Any]) -> None:
    check(SCRIPTS[2], small)
