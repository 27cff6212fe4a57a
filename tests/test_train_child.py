"""One child outside a search: scores, files, the command."""

import json
import sys
from pathlib import Path

import pytest

import tf_autodropout as tad
from tests.fakes import FakeTask
from tf_autodropout.patterns import PatternSet, TransformerPattern
from tf_autodropout.search import train_child
from tf_autodropout.search.tasks import registry
from tf_autodropout.search.terminal import cli

PATTERNS = PatternSet({"first": TransformerPattern(size=1, rate=0.5)}, {"made_by": "hand"})


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> FakeTask:
    """A task that answers at once, under a name that the command line knows."""
    fake = FakeTask()
    monkeypatch.setitem(registry.TASKS, "fake", registry.TASKS["pydoc"])
    monkeypatch.setattr(train_child, "make_task", lambda name, **settings: fake)
    return fake


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tf-autodropout", "train", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code  # type: ignore[return-value]


def test_scores_are_those_of_the_task_and_the_progress_is_heard() -> None:
    heard = []
    trained = train_child.train_child(FakeTask(), PATTERNS, seed=3, progress=lambda *numbers: heard.append(numbers))
    assert (trained.score, trained.valid, trained.test) == ("test points", 153, 152)
    assert heard == [(1, 2, 0.5), (2, 2, 0.25)]
    assert trained.curve == ((1, 0.5), (2, 0.25))


def test_the_command_prints_scores_and_writes_them_with_patterns_and_settings(
    task: FakeTask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PATTERNS.save(tmp_path / "given.json")
    out = tmp_path / "new" / "out"
    code = command(monkeypatch, "fake", "--seed", "3", "--patterns", str(tmp_path / "given.json"), "--out", str(out))
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    assert "test points: 152.00, on validation 153.00" in printed.out
    assert "2/2  loss 0.250" in printed.out
    assert task.calls == [(PATTERNS, 3)]
    assert sorted(path.name for path in out.iterdir()) == ["patterns.json", "result.json"]
    assert PatternSet.load(out / "patterns.json").provenance == {"made_by": "hand"}
    result = json.loads((out / "result.json").read_text())
    assert (result["test"], result["valid"], result["seed"]) == (152, 153, 3)
    assert result["task"] == {"name": "fake"}
    assert result["curve"] == [[1, 0.5], [2, 0.25]]


def test_samples_of_a_task_that_has_some_are_printed_and_written(
    task: FakeTask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = {"source": "ein [rotes] Haus, schön", "translation": "a [red] house"}
    task.samples = lambda: [sample, sample]  # type: ignore[attr-defined]
    assert command(monkeypatch, "fake", "--out", str(tmp_path / "out")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("source      ein [rotes] Haus, schön") == 2
    assert lines.count("translation a [red] house") == 2
    text = (tmp_path / "out" / "result.json").read_text("utf-8")
    assert json.loads(text)["samples"] == [sample, sample]
    assert "schön" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pydocs"], "Expected one of pydoc"),
        (["fake", "--patterns", "TMP/nothing.json"], "No such file"),
        (["fake", "--patterns", "TMP/notes.txt"], "not valid JSON"),
        (["fake", "--patterns", "TMP/site.json"], "Received: 'nowhere'"),
        (["fake", "--patterns", "TMP/conv.json"], "Site 'first' needs a TransformerPattern"),
        (["fake", "--out", "TMP"], "not an empty directory"),
        (["fake", "--out", "TMP/notes.txt"], "not an empty directory"),
        (["fake", "--out", "/proc/nowhere"], "/proc/nowhere"),
        (["fake", "--steps", "0"], "'--steps'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_trains_nothing(
    task: FakeTask,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    PatternSet({"nowhere": TransformerPattern(size=1)}).save(tmp_path / "site.json")
    PatternSet({"first": tad.ConvPattern(size=1)}).save(tmp_path / "conv.json")
    before = sorted(tmp_path.rglob("*"))
    assert command(monkeypatch, *(argument.replace("TMP", str(tmp_path)) for argument in arguments)) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert task.calls == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (
            FloatingPointError("training loss is nan after 50 steps"),
            1,
            "error: The child diverged: training loss is nan",
        ),
        (KeyboardInterrupt(), 130, "stopped; the same command begins anew"),
    ],
)
def test_a_child_that_does_not_come_to_its_end(
    task: FakeTask,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fault: Exception,
    code: int,
    says: str,
) -> None:
    task._fault = lambda call: fault
    assert command(monkeypatch, "fake", "--out", str(tmp_path / "out")) == code
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
    task._fault = lambda call: None
    assert command(monkeypatch, "fake", "--out", str(tmp_path / "out")) == 0  # the directory is still empty
