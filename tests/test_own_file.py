"""A task of one's own on the command line: the file of `init`, searched, killed, resumed, trained, exported."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.tasks.model_task import ModelTask
from tf_autodropout.search.tasks.registry import make_task

COMMAND = [sys.executable, "-m", "tf_autodropout.search"]
QUICK = ["--trials", "2", "--finalists", "1", "--fresh-seeds", "0", "--searcher", "random"]


def call(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=directory)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("own")
    done = call(directory, "init", "mine.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "tf-autodropout search mine.py:build --out runs/mine" in done.stdout.replace("\n", " ")
    text = (directory / "mine.py").read_text()
    quick = text.replace("epochs=10", "epochs=1").replace(
        'metrics=["accuracy"]', 'metrics=["accuracy"], jit_compile=False'
    )
    (directory / "mine.py").write_text(quick)
    return directory


def test_the_file_of_init_is_searched_killed_and_resumed_and_its_patterns_trained(place: Path) -> None:
    begun = [*COMMAND, "search", "mine.py:build", *QUICK, "--out", "runs/mine"]
    process = subprocess.Popen(begun, cwd=place, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("1/2"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    done = call(place / "runs", "resume", "mine", "--trials", "3", "--engine", "processes", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine.py:build: 3 trials by random" in done.stdout
    assert "without dropout" in done.stdout
    reader = LedgerReader(place / "runs" / "mine")
    trials = reader.trials()
    assert [trial.attempts for trial in trials][:1] == [1]
    assert [trial.worker.startswith("worker 0") for trial in trials] == [False, True, True]
    assert reader.evaluation("trial 0", 0) is not None
    reader.close()
    done = call(place, "train", "mine.py:build", "--patterns", "runs/mine/best.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "test accuracy: 0." in done.stdout
    done = call(place, "export", "runs/mine", "--parquet", "trials.parquet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 trials" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "other.py:build", "--out", "OUT"], "Expected a file that is there"),
        (["search", "mine.py:nothing", "--out", "OUT"], "has no function 'nothing'"),
        (["search", "mine.py:network", "--out", "OUT"], "expected a function that returns a Task"),
        (["search", "mine.py:build", "--steps", "3", "--out", "OUT"], "has no setting 'steps'"),
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


def test_a_file_and_a_module_may_be_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task(f"{place / 'mine.py'}:build", epochs=3)
    assert isinstance(task, ModelTask)
    assert task._described["epochs"] == 3
    monkeypatch.syspath_prepend(str(place))
    assert isinstance(make_task("mine:build"), ModelTask)
