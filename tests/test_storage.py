"""A disk that is full: the run stops with one line, loses nothing, and goes on."""

import errno
import sqlite3
from pathlib import Path

import pytest
import tensorflow as tf

from tests.fakes import FakeTask
from tests.sessions import CONFIG, begin, limited_session
from tests.test_ledger import fill
from tf_autodropout.search import run
from tf_autodropout.search.core import Outcome, Status
from tf_autodropout.search.ledger import FILE_NAME, Ledger, LedgerReader, StorageError, storage_errors, stored_config

TRIALS = 60


def session(directory: Path, largest_file: int = 0) -> str:
    process, pipe = begin(limited_session, directory, TRIALS, largest_file)
    said = pipe.recv()
    process.join()
    return said


@pytest.mark.slow
def test_files_that_may_not_grow_stop_the_run_which_then_goes_on(tmp_path: Path) -> None:
    stops, kept = [], 0
    for kilobytes in (4, 50, 60, 80, 100, 200):  # the limit hits ever later: table, trials, events, log, picture
        stops.append(session(tmp_path / "run", 1024 * kilobytes))
        if (tmp_path / "run" / FILE_NAME).exists() and kilobytes > 50:
            reader = LedgerReader(tmp_path / "run")
            final = len(reader.outcomes())
            reader.close()
            assert final >= kept  # nothing that was finished is lost
            kept = final
    refused = [said for said in stops if said != "done"]
    assert len(refused) >= 3
    for said in refused:
        assert said.startswith(f"cannot write to {tmp_path / 'run'}")
        assert "the search goes on once there is room" in said
        assert "\n" not in said
    assert session(tmp_path / "run") == "done"
    assert session(tmp_path / "whole") == "done"
    assert sums(tmp_path / "run") == sums(tmp_path / "whole")


def sums(directory: Path):
    reader = LedgerReader(directory)
    found = [(t.number, t.suggestion, t.status, t.reward, t.failures) for t in reader.trials()], reader.outcomes()
    reader.close()
    assert len(found[0]) == TRIALS
    db = sqlite3.connect(directory / FILE_NAME)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    return found


def test_a_full_database_takes_all_of_an_update_or_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "run", CONFIG)
    numbers = fill(ledger, 4)
    for number in numbers:
        ledger.finish(Outcome(number, Status.FINISHED, 1.0))
    ledger.checkpoint(1, b"small", numbers[:2], {})
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageError, match="database or disk is full; what was finished is kept"):
        ledger.checkpoint(2, bytes(100_000), numbers[2:], {})
    assert ledger.latest_checkpoint() == (1, b"small")
    assert [trial.number for trial in ledger.trials(unconsumed=True)] == numbers[2:]
    ledger._db.execute("PRAGMA max_page_count = 1000000")
    ledger.checkpoint(2, bytes(100_000), numbers[2:], {})
    assert ledger.trials(unconsumed=True) == []
    ledger.close()


def test_a_disk_that_fills_up_with_events_stops_the_run_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "events.out.tfevents; No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tf.summary, "scalar", full)
        with pytest.raises(StorageError, match="No space left on device, for TensorBoard's events"):
            run(FakeTask(), 3, tmp_path / "run", searcher="random", fresh_seeds=0, finalists=1)  # type: ignore
    assert "stopped by OSError" in (tmp_path / "run" / "log.txt").read_text()
    run(FakeTask(), 3, tmp_path / "run", searcher="random", fresh_seeds=0, finalists=1)  # type: ignore
    reader = LedgerReader(tmp_path / "run")
    assert [t.attempts for t in reader.trials()] == [1, 1, 1]
    reader.close()


def test_a_log_left_by_a_stopped_checkpoint_is_read_with_the_file(tmp_path: Path) -> None:
    """The main file alone may be half old and half new; the truth is the file and its log together."""
    ledger = Ledger(tmp_path / "run", CONFIG)
    fill(ledger, 3)
    ledger._db.execute("VACUUM")  # all pages are in the log now
    (tmp_path / "copy").mkdir()
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):  # as a killed process leaves them
        (tmp_path / "copy" / name).write_bytes((tmp_path / "run" / name).read_bytes())
    ledger.close()
    with open(tmp_path / "copy" / FILE_NAME, "r+b") as file:
        file.truncate(4096)  # the first page is there, the others not yet
    assert stored_config(tmp_path / "copy") == CONFIG
    ledger = Ledger(tmp_path / "copy", CONFIG)
    assert ledger.count() == 3
    ledger.close()


def test_only_errors_of_a_full_disk_are_called_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No space left on device"), storage_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path):
        (tmp_path / "nothing").read_text()
