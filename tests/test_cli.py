"""The command line, in processes of its own: what a user sees."""

import contextlib
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tf_autodropout as tad
from tests.command_line import COMMAND, kill_after_the_first_trial
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.ledger import Ledger, LedgerReader
from tf_autodropout.search.terminal import cli

ROOT = Path(__file__).parents[1]
TABLE = str(ROOT / "benchmarks" / "searchers.json")
SMALL = ["search", "pydoc", "--trials", "3", "--steps", "5", "--finalists", "1", "--fresh-seeds", "2"]


def call(*arguments: str, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT, **kwargs)


def call_here(*arguments: str) -> tuple[int | None, str, str]:
    """Exit code, output and errors of the command in this process, which has loaded everything already."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        patch.setattr(sys, "argv", ["tf-autodropout", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
    return end.value.code, output.getvalue(), errors.getvalue()


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A small search on real text."""
    out = tmp_path_factory.mktemp("cli") / "run"
    return out, call(*SMALL, "--out", str(out))


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on(tmp_path: Path) -> None:
    """By kill -9 after its first trial."""
    out = tmp_path / "run"
    kill_after_the_first_trial(ROOT, *SMALL, "--trials", "2", "--out", str(out))
    first = LedgerReader(out)
    before = [(t.number, t.suggestion, t.reward) for t in first.trials() if t.reward is not None]
    first.close()
    done = call("resume", str(out), "--trials", "3")
    second = LedgerReader(out)
    after = [(t.number, t.suggestion, t.reward) for t in second.trials()]
    attempts = [t.attempts for t in second.trials()]
    second.close()
    assert before  # it was killed with a finished trial
    assert after[: len(before)] == before  # none lost, none repeated
    assert attempts[: len(before)] == [1] * len(before)
    assert (done.returncode, done.stderr) == (0, "")
    assert "going on after" in " ".join(done.stdout.split())  # lines break at 80 characters


def test_a_search_ends_with_table_and_files_and_nothing_on_stderr(finished) -> None:
    out, done = finished
    assert (done.returncode, done.stderr) == (0, "")
    assert "Retrained on 2 fresh seeds; test perplexity, lower is better" in done.stdout
    for file in ("log.txt", "best.json", "best.png", "best_so_far.png", "report.md", "ledger.sqlite", "tensorboard"):
        assert (out / file).exists()
        assert file in done.stdout
    for chatter in ("WARNING", "I0000", "oneDNN", "Traceback"):
        assert chatter not in done.stdout


@pytest.mark.slow
def test_the_same_command_after_the_end_changes_no_trial(finished) -> None:
    out, _ = finished
    before = LedgerReader(out).trials()
    done = call(*SMALL, "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert LedgerReader(out).trials() == before
    assert "going on after 3 finished" in " ".join(done.stdout.split())
    assert "fresh seeds" in done.stdout


def test_quiet_leaves_the_result_alone(finished) -> None:
    out, _ = finished
    done = call("resume", str(out), "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pydoc, searcher thompson")
    assert "Retrained on 2 fresh seeds" in done.stdout
    for progress in ("going on", "trial 1:", "retraining", "3/3"):
        assert progress not in done.stdout
    quiet = {name for name, command in cli.cli.commands.items() if any(one.name == "quiet" for one in command.params)}
    assert quiet == {"search", "resume", "train", "report", "analyse", "reproduce"}  # whatever shows progress


def test_report_and_plot(finished, tmp_path: Path) -> None:
    out, _ = finished
    code, output, error = call_here("report", str(out))
    assert (code, error) == (0, "")
    assert "trials: 3 finished" in output
    code, _, error = call_here("plot", str(out / "best.json"), "--out", str(tmp_path / "masks.png"))
    assert (code, error) == (0, "")
    assert (tmp_path / "masks.png").read_bytes().startswith(b"\x89PNG")


def test_export_writes_the_table_and_its_card(finished, tmp_path: Path) -> None:
    out, _ = finished
    done = call("export", str(out), "--parquet", str(tmp_path / "trials.parquet"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"written: {tmp_path / 'trials.parquet'}, 3 trials")
    assert "Fig" not in (tmp_path / "trials.parquet.md").read_text()
    card = (tmp_path / "trials.parquet.md").read_text()
    assert "3 finished" in card
    assert "34. `residual" in card  # a name for each of the tokens


def test_resume_refuses_fewer_trials_and_loads_nothing_for_it(finished) -> None:
    out, _ = finished
    done = call("resume", str(out), "--trials", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: Invalid value for 'trials'. Expected at least those of the run, 3. Received: 2\n"


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, *SMALL, "--out", str(tmp_path / "run")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while not (tmp_path / "run" / "ledger.sqlite").exists():
        time.sleep(0.1)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    # Native code that the signal hits may print an exception that it cannot pass on, before this line.
    assert errors.splitlines()[-1] == "stopped; the same command goes on"


def good_file(tmp_path: Path) -> Path:
    tad.PatternSet({"a": tad.ConvPattern(size=2)}).save(tmp_path / "best.json")
    return tmp_path / "best.json"


def broken(tmp_path: Path, change) -> Path:
    path = good_file(tmp_path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "pydocs", "--out", "OUT"], "Expected one of pydoc, digits, cifar10-small"),
        (["search", "pydoc", "--trials", "-1", "--out", "OUT"], "'--trials': -1"),
        (["search", "pydoc", "--trials", "many", "--out", "OUT"], "'--trials'"),
        (["search", "pydoc"], "'--out'"),
        (["search", "pydoc", "--out", "OUT", "--width", "2"], "has no setting 'width'"),
        (["search", "pydoc", "--out", "OUT", "--searcher", "grid"], "'--searcher'"),
        (["search", "pydoc", "--out", "TMP"], "holds other files"),
        (["search", "pydoc", "--out", "TMP/notes.txt"], "is a file"),
        (["search", "digits", "--steps", "20", "--out", "/proc/nowhere"], "cannot write"),
        (["search", "cifar10-small", "--image-size", "7", "--out", "OUT"], "4, 8, 16 or 32"),
        (["search", "tabular", "--table", TABLE, "--halving", "--out", "OUT"], "cannot end a training early"),
        (["resume", "TMP"], "holds no run"),
        (["resume", "OUT", "--trials", "0"], "'--trials': 0"),
        (["export", "TMP", "--parquet", "TMP/t.parquet"], "holds no run"),
        (["export", "TMP", "--parquet", "TMP/t.csv"], "expected a .parquet file"),
        (["export", "TMP"], "'--parquet'"),
        (["report", "TMP"], "holds no run"),
        (["report", "OUT"], "holds no run"),
        (["plot", "TMP/nothing.json"], "No such file"),
        (["plot", "TMP/notes.txt"], "not valid JSON"),
        (["learn"], "No such command"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_changes_nothing(tmp_path: Path, arguments, says: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    given = [a.replace("OUT", str(tmp_path / "out")).replace("TMP", str(tmp_path)) for a in arguments]
    code, output, errors = call_here(*given)
    assert (code, output) == (2, "")
    assert says in errors
    assert errors.count("\n") == 1
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_bad_input_leaves_the_process_with_exit_code_2() -> None:
    done = call("search", "pydocs", "--out", "out")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["patterns"]["a"].pop("stride"), "site 'a': missing field 'stride'"),
        (lambda d: d.pop("version"), "missing field 'version'"),
        (lambda d: d.update(version=2), "field 'version': expected 1. Received: 2"),
        (lambda d: d["patterns"]["a"].update(size="two"), "Invalid value for 'size'"),
        (lambda d: d.update(patterns=[1]), "field 'patterns': expected a JSON object"),
        (lambda d: d.update(patterns={}), "at least one site"),
    ],
)
def test_a_bad_best_json_is_one_line_and_exit_code_2(tmp_path: Path, change, says: str) -> None:
    path = broken(tmp_path, change)
    before = snapshot(tmp_path)
    code, output, errors = call_here("plot", str(path))
    assert (code, output) == (2, "")
    assert says in errors
    assert errors.count("\n") == 1
    assert snapshot(tmp_path) == before


def test_a_directory_of_another_run_is_refused_and_untouched(tmp_path: Path) -> None:
    Ledger(tmp_path / "run", {"task": {"name": "other"}, "seed": 0}).close()
    before = snapshot(tmp_path)
    code, _, errors = call_here("search", "digits", "--steps", "20", "--out", str(tmp_path / "run"))
    assert code == 2
    assert "holds another run" in errors
    assert errors.count("\n") == 1
    assert snapshot(tmp_path) == before


def test_help_does_not_load_tensorflow() -> None:
    helps = [[name, "--help"] for name in cli.cli.commands]
    for arguments in (["--help"], *helps, []):
        script = (
            "import sys; from tf_autodropout.search.terminal import cli; sys.argv = ['tf-autodropout', *sys.argv[1:]]\n"
            "try: cli.main()\nexcept SystemExit: pass\nassert 'tensorflow' not in sys.modules"
        )
        done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Usage: " in done.stdout


def test_version() -> None:
    assert tad.__version__ in call("--version").stdout


def test_resume_goes_on_in_the_precision_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"task": "digits", "trials": 4, "seed": 0, "settings": {}, "searcher": "random"}
    Ledger(tmp_path / "run", {"task": {"name": "digits"}}, kept | {"precision": "bfloat16"}).close()
    heard: list[tuple[EngineConfig, dict[str, object]]] = []
    monkeypatch.setattr(cli, "_search", lambda out, engine, quiet, **arguments: heard.append((engine, arguments)))
    cli.cli(["resume", str(tmp_path / "run"), "--engine", "processes", "--trials", "9"], standalone_mode=False)
    assert heard == [(EngineConfig("processes", precision="bfloat16"), kept | {"trials": 9, "warm_start": False})]
