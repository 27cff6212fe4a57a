"""The ledger: what it holds, whom it refuses."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import SPACE
from tf_autodropout.search.core import Outcome, Status
from tf_autodropout.search.ledger import FILE_NAME, Ledger, LedgerError, LedgerReader, check_directory, stored_config
from tf_autodropout.search.ledger import reader as ledger_reader
from tf_autodropout.search.searchers import RandomSearch

CONFIG = {"task": {"name": "fake"}, "seed": 1}


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger(tmp_path / "run", CONFIG)
    yield ledger
    ledger.close()


def fill(ledger: Ledger, count: int) -> list[int]:
    suggestions = RandomSearch(SPACE, 0).suggest(count)
    return [trial.number for trial in ledger.add((s, SPACE.decode(s.tokens)) for s in suggestions)]


def test_a_trial_comes_back_as_it_went_in(ledger: Ledger) -> None:
    suggestion = RandomSearch(SPACE, 3).suggest(1)[0]
    added = ledger.add([(suggestion, SPACE.decode(suggestion.tokens))])
    assert ledger.trials() == added
    assert added[0].suggestion == suggestion
    assert added[0].status is Status.QUEUED


def test_the_life_of_a_trial(ledger: Ledger) -> None:
    (number,) = fill(ledger, 1)
    ledger.start(number)
    assert (ledger.trials()[0].status, ledger.trials()[0].attempts) == (Status.RUNNING, 1)
    assert [t.number for t in ledger.trials(unfinished=True)] == [number]
    assert ledger.finish(Outcome(number, Status.FINISHED, 0.5, {"curve": [1.0, 0.5]}))
    trial = ledger.trials()[0]
    assert (trial.status, trial.reward, trial.metrics) == (Status.FINISHED, 0.5, {"curve": [1.0, 0.5]})
    assert ledger.trials(unfinished=True) == []


def test_a_second_finish_and_a_late_start_change_nothing(ledger: Ledger) -> None:
    (number,) = fill(ledger, 1)
    ledger.start(number)
    assert ledger.finish(Outcome(number, Status.FINISHED, 0.5))
    assert not ledger.finish(Outcome(number, Status.FINISHED, 0.9))
    ledger.start(number)
    assert (ledger.trials()[0].reward, ledger.trials()[0].status) == (0.5, Status.FINISHED)


def test_unconsumed_trials_come_in_the_order_of_finishing(ledger: Ledger) -> None:
    numbers = fill(ledger, 4)
    for number in reversed(numbers):
        ledger.finish(Outcome(number, Status.FINISHED, float(number)))
    assert [t.number for t in ledger.trials(unconsumed=True)] == numbers[::-1]
    assert [number for number, _, _ in ledger.outcomes()] == numbers[::-1]
    ledger.checkpoint(1, b"state", numbers[2:], {"baseline": 3.5})
    assert [t.number for t in ledger.trials(unconsumed=True)] == numbers[1::-1]
    assert ledger.latest_checkpoint() == (1, b"state")
    assert ledger.update_metrics() == [{"version": 1, "baseline": 3.5}]


def test_a_checkpoint_and_its_trials_are_one_transaction(ledger: Ledger) -> None:
    numbers = fill(ledger, 2)
    for number in numbers:
        ledger.finish(Outcome(number, Status.FINISHED, 1.0))

    def dies_half_way():
        yield numbers[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.checkpoint(1, b"state", dies_half_way(), {})
    assert ledger.latest_checkpoint() is None
    assert len(ledger.trials(unconsumed=True)) == 2


def test_adding_trials_is_one_transaction(ledger: Ledger) -> None:
    suggestion = RandomSearch(SPACE, 0).suggest(1)[0]

    def dies_half_way():
        yield suggestion, SPACE.decode(suggestion.tokens)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.add(dies_half_way())
    assert ledger.count() == 0


def test_the_two_newest_states_are_kept_and_all_metrics(ledger: Ledger) -> None:
    state = bytes(200_000)
    for version in range(1, 30):
        ledger.checkpoint(version, state, [], {"baseline": float(version)})
    assert ledger.latest_checkpoint() == (29, state)
    assert ledger.baseline() == 29.0
    assert [metrics["baseline"] for metrics in ledger.update_metrics()] == [float(v) for v in range(1, 30)]
    assert ledger._db.execute("SELECT COUNT(state) FROM checkpoints").fetchone() == (2,)
    assert ledger._db.execute("PRAGMA page_count").fetchone()[0] * 4096 < 5 * len(state)


def test_a_failed_attempt_keeps_its_reason_also_when_the_trial_finishes(ledger: Ledger) -> None:
    (number,) = fill(ledger, 1)
    ledger.start(number)
    ledger.queue_again(Outcome(number, Status.FAILED, None, {"error": "host lost"}, "host a"))
    (trial,) = ledger.trials(unfinished=True)
    assert (trial.status, trial.attempts, trial.failures, trial.worker) == (Status.QUEUED, 1, 1, "host a")
    ledger.start(number)
    ledger.finish(Outcome(number, Status.FINISHED, 0.5, {"train_loss": [2.0, 1.0], "seconds": 3.0}, "host b"))
    (trial,) = ledger.trials()
    assert (trial.attempts, trial.failures, trial.worker) == (2, 1, "host b")
    assert trial.metrics == {"train_loss": [2.0, 1.0], "seconds": 3.0}
    (row,) = ledger.rows()
    assert (row["error"], row["learning_curve"], row["metrics"]) == ("host lost", "[2.0, 1.0]", '{"seconds": 3.0}')


def test_counts_and_the_highest_reward_are_answered_without_reading_trials(ledger: Ledger) -> None:
    assert (ledger.counts(), ledger.highest_reward(), ledger.last_error(), ledger.baseline()) == ({}, None, None, None)
    numbers = fill(ledger, 5)
    for number, reward in zip(numbers[:3], (0.5, 0.75, 0.25), strict=True):
        ledger.finish(Outcome(number, Status.FINISHED, reward))
    ledger.finish(Outcome(numbers[3], Status.INVALID, 0.0, {"error": "nan"}))
    assert ledger.counts() == {Status.QUEUED: 1, Status.FINISHED: 3, Status.INVALID: 1}
    assert (ledger.highest_reward(), ledger.last_error()) == (0.75, "nan")
    assert ledger.outcomes()[-1] == (numbers[3], Status.INVALID, 0.0)


def test_arguments_are_those_of_the_last_call(tmp_path: Path) -> None:
    for trials in (4, 8):
        Ledger(tmp_path / "run", CONFIG, {"trials": trials}).close()
    Ledger(tmp_path / "run", CONFIG).close()
    reader = LedgerReader(tmp_path / "run")
    assert reader.arguments() == {"trials": 8}
    reader.close()


def test_failed_trials_have_no_reward_and_best_ignores_all_but_finished(ledger: Ledger) -> None:
    numbers = fill(ledger, 4)
    ledger.finish(Outcome(numbers[0], Status.FAILED, None, {"error": "boom"}))
    ledger.finish(Outcome(numbers[1], Status.INVALID, 0.0))
    assert ledger.top(3) == []
    ledger.finish(Outcome(numbers[2], Status.FINISHED, -2.0))
    ledger.finish(Outcome(numbers[3], Status.FINISHED, -2.0))
    assert [t.number for t in ledger.top(3)] == numbers[2:]
    assert [t.number for t in ledger.top(1)] == [numbers[2]]
    assert [t.number for t in ledger.trials(unconsumed=True)] == numbers[1:]


def test_counts_by_controller_version(ledger: Ledger) -> None:
    search = RandomSearch(SPACE, 0)
    ledger.add((s, SPACE.decode(s.tokens)) for s in search.suggest(3))
    search.restore(1, b"", 0)
    ledger.add((s, SPACE.decode(s.tokens)) for s in search.suggest(2))
    assert [ledger.count(), ledger.count(0), ledger.count(1)] == [5, 3, 2]


def test_evaluations_are_kept(ledger: Ledger) -> None:
    assert ledger.evaluation("none", 0) is None
    ledger.add_evaluation("none", 0, {"test": 1.5})
    assert ledger.evaluation("none", 0) == {"test": 1.5}


def test_an_open_run_is_refused_to_a_second_process(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="another process"):
        Ledger(tmp_path / "run", CONFIG)
    reader = LedgerReader(tmp_path / "run")
    assert reader.count() == 0
    reader.close()


def test_of_two_real_processes_the_second_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from tf_autodropout.search.ledger import Ledger
ledger = Ledger(Path({str(tmp_path / "run")!r}), {CONFIG!r})
print("at work", flush=True)
input()
"""
    command, root = [sys.executable, "-c", script], Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "at work\n"
        second = subprocess.run(command, cwd=root, input="\n", capture_output=True, text=True)
        assert second.stderr.rstrip().endswith(f"LedgerError: another process is at work on {tmp_path / 'run'}")
        first.kill()
    third = subprocess.run(command, cwd=root, input="\n", capture_output=True, text=True)
    assert (third.returncode, third.stdout) == (0, "at work\n")


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_another_run_is_refused_and_untouched(tmp_path: Path) -> None:
    Ledger(tmp_path / "run", CONFIG).close()
    before = snapshot(tmp_path)
    with pytest.raises(LedgerError, match="its seed is 1, this run's is 2"):
        Ledger(tmp_path / "run", CONFIG | {"seed": 2})
    task = {"name": "fake", "steps": 4}
    with pytest.raises(LedgerError, match="its task steps is null, this run's is 4"):
        Ledger(tmp_path / "run", CONFIG | {"task": task})
    assert snapshot(tmp_path) == before
    Ledger(tmp_path / "run", CONFIG).close()


def test_foreign_directories_and_files_are_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(LedgerError, match="other files"):
        Ledger(tmp_path, CONFIG)
    with pytest.raises(LedgerError, match="is a file"):
        Ledger(tmp_path / "notes.txt", CONFIG)
    with pytest.raises(LedgerError, match="no run"):
        stored_config(tmp_path)
    with pytest.raises(LedgerError, match="cannot write"):
        Ledger(Path("/proc/nowhere"), CONFIG)
    assert snapshot(tmp_path) == before


def test_other_versions_and_files_that_are_no_ledger_are_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "run", CONFIG).close()
    db = sqlite3.connect(tmp_path / "run" / FILE_NAME)
    db.execute("PRAGMA user_version = 1")
    db.close()
    before = snapshot(tmp_path)
    for open_it in (Ledger, check_directory):
        with pytest.raises(LedgerError, match="schema version 3. Received: 1; go on with the version"):
            open_it(tmp_path / "run", CONFIG)
    assert snapshot(tmp_path) == before
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / FILE_NAME).write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(LedgerError, match="not a ledger"):
        check_directory(tmp_path / "junk", CONFIG)


def test_a_killed_process_leaves_a_sound_file(tmp_path: Path) -> None:
    script = f"""
import os
from pathlib import Path
from tests.test_ledger import CONFIG, fill
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.core import Outcome, Status
ledger = Ledger(Path({str(tmp_path / "run")!r}), CONFIG)
numbers = fill(ledger, 3)
ledger.finish(Outcome(numbers[0], Status.FINISHED, 1.0))
ledger.start(numbers[1])
os.kill(os.getpid(), 9)
"""
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=os.environ | {"PYTHONPATH": str(root)})
    assert done.returncode == -9
    ledger = Ledger(tmp_path / "run", CONFIG)
    assert [t.status for t in ledger.trials()] == [Status.FINISHED, Status.RUNNING, Status.QUEUED]
    assert ledger._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    ledger.close()


def test_numbers_of_numpy_are_kept_as_numbers(ledger: Ledger) -> None:
    (number,) = fill(ledger, 1)
    metrics = {"accuracy": np.float32(0.5), "steps": np.int64(3), "train_loss": np.array([2.0, 1.0])}
    ledger.finish(Outcome(number, Status.FINISHED, np.float32(0.5), metrics))  # type: ignore[arg-type]
    (trial,) = ledger.trials()
    assert (trial.reward, trial.metrics) == (0.5, {"accuracy": 0.5, "steps": 3, "train_loss": [2.0, 1.0]})


def test_a_run_is_read_where_nothing_may_be_written(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ledger, 3)
    directory = ledger._file.parent
    connect = sqlite3.connect

    class ReadOnly(sqlite3.Connection):
        """As SQLite behaves in a directory of somebody else's."""

        def execute(self, *arguments):
            raise sqlite3.OperationalError("attempt to write a readonly database")

    def refuses(address: str, **kwargs):
        return connect(address, **kwargs, **({} if "immutable" in address else {"factory": ReadOnly}))

    monkeypatch.setattr(sqlite3, "connect", refuses)
    with pytest.raises(LedgerError, match="unfinished writes beside it"):
        ledger_reader._connect(ledger._file)  # the run is at work: its newest trials are in the log
    ledger.close()
    opened = LedgerReader(directory)
    assert opened.count() == 3
    opened.close()
