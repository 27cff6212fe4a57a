"""A task of one's own on the command line: the file of `init`, searched, killed, resumed, trained, exported."""

import subprocess
from pathlib import Path

import pytest

from tests.command_line import COMMAND, kill_after_the_first_trial
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.tasks.model_task import ModelTask
from tf_autodropout.search.tasks.registry import make_task
from tf_autodropout.search.terminal import cli

QUICK = ["--trials", "2", "--finalists", "1", "--fresh-seeds", "0", "--searcher", "random"]


def call(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=directory)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("own")
    cli.cli(["init", str(directory / "mine.py")], standalone_mode=False)
    text = (directory / "mine.py").read_text()
    quick = text.replace("epochs=10", "epochs=1").replace(
        'metrics=["accuracy"]', 'metrics=["accuracy"], jit_compile=False'
    )
    (directory / "mine.py").write_text(quick)
    return directory


@pytest.mark.slow
def test_the_file_of_init_is_searched_and_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    cli.cli(["search", "mine.py:build", *QUICK, "--out", "runs/first"], standalone_mode=False)
    monkeypatch.chdir(place / "runs")  # from anywhere
    cli.cli(["resume", "first", "--trials", "3"], standalone_mode=False)
    reader = LedgerReader(place / "runs" / "first")
    trials, arguments = reader.trials(), reader.arguments()
    assert reader.evaluation("trial 0", 0) is not None
    reader.close()
    assert [trial.attempts for trial in trials] == [1, 1, 1]
    assert arguments["task"] == f"{place / 'mine.py'}:build"
    assert arguments["trial_zero"] is True


@pytest.mark.slow
def test_it_is_searched_in_a_process_that_is_killed_and_its_patterns_are_trained(place: Path) -> None:
    kill_after_the_first_trial(place, "search", "mine.py:build", *QUICK, "--out", "runs/mine")
    done = call(place / "runs", "resume", "mine", "--trials", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine.py:build: 3 trials by random" in done.stdout
    assert "without dropout" in done.stdout
    reader = LedgerReader(place / "runs" / "mine")
    trials = reader.trials()
    assert trials[0].attempts == 1
    assert len(trials) == 3
    assert reader.evaluation("trial 0", 0) is not None
    reader.close()
    done = call(place, "train", "mine.py:build", "--patterns", "runs/mine/best.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "test accuracy: 0." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "other.py:build", "--out", "OUT"], "Expected a file that is there"),
        (["init", "mine.py"], "exists; name a new file"),
        (["init", "mine.txt"], "expected a new .py file"),
    ],
)
def test_bad_input_is_one_line(place: Path, arguments: list[str], says: str) -> None:
    done = call(place, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (place / "OUT").exists()


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("mine.py:nothing", {}, "has no function 'nothing'"),
        ("mine.py:network", {}, "expected a function that returns a Task"),
        ("mine.py:build", {"steps": 3}, "has no setting 'steps'"),
        ("mine.py:build", {"epochs": 0}, "Invalid value for 'epochs'"),
        ("mine", {}, "or FILE.py:FUNCTION"),
    ],
)
def test_what_the_file_does_not_have_is_refused(place: Path, name: str, settings: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_task(f"{place}/{name}", **settings)


def test_a_file_and_a_module_may_be_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task(f"{place / 'mine.py'}:build", epochs=3)
    assert isinstance(task, ModelTask)
    assert task._described["epochs"] == 3
    monkeypatch.syspath_prepend(str(place))
    assert isinstance(make_task("mine:build"), ModelTask)
