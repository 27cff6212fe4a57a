"""Files of a run that are damaged, newer, locked, taken away or put there by somebody else: one line, or it goes on."""

import errno
import fcntl
import json
import os
import random
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.fakes import FakeTask
from tests.test_ledger import CONFIG, fill
from tf_autodropout import version
from tf_autodropout.search import run
from tf_autodropout.search.core import Outcome, Status
from tf_autodropout.search.ledger import (
    FILE_NAME,
    Ledger,
    LedgerError,
    LedgerReader,
    StorageError,
    lock,
    schema,
    stored_config,
    writer,
)
from tf_autodropout.search.ledger.export import export_trials
from tf_autodropout.search.results import curve, report
from tf_autodropout.search.results.log_file import log_file
from tf_autodropout.search.terminal import cli

TRIALS = 36  # two updates


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two updates, to be copied."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    search(directory, TRIALS)
    return directory


def search(directory: Path, trials: int):
    settings = {"searcher": "evolution", "batch": 16, "fresh_seeds": 1, "finalists": 1}
    return run(FakeTask(), trials, directory, **settings)  # type: ignore[arg-type]


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def change(directory: Path, statement: str, *values) -> None:
    db = sqlite3.connect(directory / FILE_NAME)
    with db:
        db.execute(statement, values)
    db.close()


# Checkpoints


def learned(directory: Path) -> list[tuple[int, int | None]]:
    db = sqlite3.connect(directory / FILE_NAME)
    found = db.execute("SELECT number, consumed_by FROM trials ORDER BY number LIMIT ?", (TRIALS,)).fetchall()
    db.close()
    return found


@pytest.mark.parametrize("fault", ["zeroblob(0)", "zeroblob(100)", "NULL", "'text'"])
def test_a_search_goes_on_from_the_older_checkpoint(copy, fault):
    before = learned(copy)
    change(copy, f"UPDATE checkpoints SET state = {fault} WHERE version = 2")
    search(copy, TRIALS)
    assert "checkpoint 2 is damaged: the search goes on from checkpoint 1" in (copy / "log.txt").read_text()
    assert learned(copy) == before  # it has learned from the same trials again
    db = sqlite3.connect(copy / FILE_NAME)
    assert db.execute("SELECT version FROM checkpoints WHERE state IS NOT NULL").fetchall() == [(1,), (2,)]
    db.close()


@pytest.mark.parametrize(
    "searcher", ["thompson", *(pytest.param(name, marks=pytest.mark.slow) for name in ("evolution", "random"))]
)
def test_what_was_suggested_after_a_damaged_checkpoint_is_not_suggested_again(tmp_path, searcher):
    def trained(directory: Path, trials: int) -> list[tuple[int, ...]]:
        run(FakeTask(), trials, directory, searcher=searcher, batch=4, capacity=3, fresh_seeds=0, finalists=1)
        ledger = LedgerReader(directory)
        tokens = [trial.suggestion.tokens for trial in ledger.trials()]
        ledger.close()
        return tokens

    trained(tmp_path / "run", 15)  # the last one is of version 3
    change(tmp_path / "run", "UPDATE checkpoints SET state = zeroblob(3) WHERE version = 3")
    assert trained(tmp_path / "run", 18) == trained(tmp_path / "whole", 18)


def test_the_only_checkpoint_is_learned_anew(tmp_path):
    search(tmp_path / "run", 16)
    change(tmp_path / "run", "UPDATE checkpoints SET state = zeroblob(3)")
    search(tmp_path / "run", 16)
    ledger = LedgerReader(tmp_path / "run")
    assert ledger.latest_checkpoint()[0] == 1
    ledger.close()


def test_two_damaged_checkpoints_are_refused(copy):
    change(copy, "UPDATE checkpoints SET state = zeroblob(3)")
    with pytest.raises(LedgerError, match="is damaged: neither of its two checkpoints is what was written"):
        search(copy, TRIALS)


# What was written by another version


def refused_by_all(directory: Path, match: str) -> None:
    for call in (
        lambda: search(directory, TRIALS),
        lambda: LedgerReader(directory),
        lambda: stored_config(directory),
        lambda: export_trials(directory, directory.parent / "table.parquet"),
    ):
        with pytest.raises(LedgerError, match=match):
            call()


@pytest.mark.parametrize("also", ["", "PRAGMA user_version = 4"])
def test_a_run_of_a_newer_version_is_refused_with_its_number(copy, also):
    value = "99.1.0"
    change(copy, "UPDATE run SET value = ?, digest = ? WHERE key = 'version'", value, schema.digest("version", value))
    if also:
        change(copy, also)
    refused_by_all(copy, "was written by tf_autodropout 99.1.0, which is newer than this one")


def test_a_run_of_an_older_version_goes_on_and_is_of_this_one_then(copy, monkeypatch):
    monkeypatch.setattr(version, "__version__", "9.1.1")
    Ledger(copy, stored_config(copy)).close()
    monkeypatch.setattr(version, "__version__", "9.1.0")
    with pytest.raises(LedgerError, match=r"9\.1\.1, which is newer"):
        LedgerReader(copy)


def resumed(directory: Path) -> str:
    """What `resume` says in its one line."""
    done = CliRunner().invoke(cli.cli, ["resume", str(directory)], standalone_mode=False)
    assert isinstance(done.exception, ValueError), done.exc_info
    return str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"warp": 9}, "'warp', which this version does not know"),
        ({"capacity": []}, "capacity"),
        ({"seed": "one"}, "seed"),
        ({"trials": None}, "trials"),
        ({"settings": 3}, "settings"),
        ({"task": 4}, "task"),
        ({"precision": "float9"}, "float9"),
    ],
)
def test_arguments_that_are_not_understood_are_one_line(tmp_path, arguments, said):
    known = {"task": "digits", "trials": 2, "seed": 0, "settings": {}, "searcher": "random"}
    Ledger(tmp_path / "run", CONFIG, known).close()
    value = json.dumps(known | arguments)
    checksum = schema.digest("arguments", value)
    change(tmp_path / "run", "UPDATE run SET value = ?, digest = ? WHERE key = 'arguments'", value, checksum)
    assert said in resumed(tmp_path / "run")


def test_missing_arguments_are_one_line(tmp_path):
    Ledger(tmp_path / "run", CONFIG, {"task": "digits"}).close()
    assert "lacks" in resumed(tmp_path / "run")


# Derived files


@pytest.mark.parametrize("name", [report.ROWS, report.BEST])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"trial": 1}', b"\xff\xfe\x00", None])
def test_derived_files_that_are_damaged_are_made_anew(copy, name, content):
    wanted = {one: (copy / one).read_bytes() for one in (report.ROWS, report.BEST)}
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    told(copy)
    search(copy, TRIALS)
    assert {one: (copy / one).read_bytes() for one in wanted} == wanted


def told(directory: Path) -> str:
    """What `report` prints."""
    config = stored_config(directory)
    reader = LedgerReader(directory)  # refuses a directory without a run
    assert config is not None
    console = Console(record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    try:
        report.print_report(console, directory, reader, config)
    finally:
        reader.close()
        console.file.close()
    return console.export_text()


# Locks, disks, links


def test_a_directory_that_is_deleted_ends_its_search(tmp_path):
    directory = tmp_path / "run"
    ledger = Ledger(directory, CONFIG)
    (number,) = fill(ledger, 1)
    shutil.rmtree(directory)
    with pytest.raises(StorageError, match=r"run is gone: it was deleted or moved while a search was at work"):
        ledger.finish(Outcome(number, Status.FINISHED, 1.0))
    (directory).mkdir()
    (directory / FILE_NAME).write_bytes(b"")  # of somebody else
    with pytest.raises(StorageError, match="is gone"):
        ledger.start(number)
    ledger.close()


class Deletes(FakeTask):
    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def train(self, patterns, seed):
        shutil.rmtree(self.directory, ignore_errors=True)
        return super().train(patterns, seed)


def test_a_whole_search_whose_directory_is_deleted(tmp_path):
    with pytest.raises(StorageError, match="is gone"):
        run(Deletes(tmp_path / "run"), 3, tmp_path / "run", searcher="random", fresh_seeds=0, finalists=1)


def test_a_lock_of_another_program_is_told_as_one(copy, monkeypatch):
    other = sqlite3.connect(copy / FILE_NAME, isolation_level=None)
    connect = sqlite3.connect
    monkeypatch.setattr(writer.sqlite3, "connect", lambda *a, **k: connect(*a, **k | {"timeout": 0.1}))
    ledger = Ledger(copy, stored_config(copy))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="another program has locked .*once that program lets it go"):
        ledger.add_evaluation("one", 0, {})
    ledger.close()
    with pytest.raises(StorageError, match="another program has locked"):
        Ledger(copy, stored_config(copy), {"trials": TRIALS + 1})
    other.close()
    other = connect(copy / FILE_NAME, isolation_level=None)
    for statement in ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN IMMEDIATE", "COMMIT"):  # it keeps readers out too
        other.execute(statement)
    with pytest.raises(StorageError, match="another program has locked"):
        LedgerReader(copy)
    other.close()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EWOULDBLOCK, "another process is at work"),
        (errno.ENOLCK, "cannot be locked: No locks available; its file system has no file locks"),
        (errno.EOPNOTSUPP, "cannot be locked: Operation not supported"),
    ],
)
def test_a_lock_that_is_not_to_be_had_is_told_as_what_it_is(tmp_path, monkeypatch, number, said):
    def refuses(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuses)
    with pytest.raises(LedgerError, match=said):
        Ledger(tmp_path / "run", CONFIG)


def test_windows_is_told_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(LedgerError, match="Windows Subsystem for Linux"):
        Ledger(tmp_path / "run", CONFIG)


def test_nothing_in_the_directory_can_be_removed_to_let_a_second_search_in(tmp_path):
    first = Ledger(tmp_path / "run", CONFIG)
    for path in (tmp_path / "run").iterdir():
        if not path.name.startswith(FILE_NAME):
            path.unlink()
    with pytest.raises(LedgerError, match="another process"):
        Ledger(tmp_path / "run", CONFIG)
    first.close()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "ext4", "9p"])
def test_a_file_system_that_machines_share_is_refused(tmp_path, monkeypatch, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        f"36 22 0:31 / {tmp_path / 'mnt'} rw shared:1 - {kind} server:/export rw\n"
    )
    monkeypatch.setattr(lock, "_MOUNTS", mounts)
    if kind in ("ext4", "9p"):
        Ledger(tmp_path / "mnt" / "run", CONFIG).close()
    else:
        with pytest.raises(LedgerError, match=rf"machines share \({kind}\).*name a directory on a local disk"):
            Ledger(tmp_path / "mnt" / "run", CONFIG)
    Ledger(tmp_path / "here", CONFIG).close()


@pytest.mark.parametrize("name", ["ledger.lock", "log.txt", FILE_NAME])
def test_links_from_strangers_are_not_followed(tmp_path, name):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    directory = tmp_path / "run"
    search(directory, 1)
    (directory / name).unlink(missing_ok=True)
    (directory / name).symlink_to(mine)
    if name == "ledger.lock":  # of no use to anybody any more
        search(directory, 2)
    else:
        with pytest.raises(LedgerError, match="is a symbolic link"):
            search(directory, 2)
    assert mine.read_text() == "mine"


def test_a_log_that_is_no_file_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "log.txt")
    with pytest.raises(LedgerError, match="is no file"), log_file(tmp_path) as log:
        log.info("anything")


# Fuzzing


def survives(directory: Path, damage: str) -> None:
    """Every call on a damaged run ends well or with one clear line."""
    calls = {
        "report": lambda: told(directory),
        "export": lambda: export_trials(directory, directory.parent / "table.parquet"),
        "read": lambda: read_all(directory),
        "resume": lambda: search(directory, TRIALS + 2),
    }
    for name, call in calls.items():
        try:
            call()
        except Exception as error:
            clear = isinstance(error, LedgerError | StorageError) and "\n" not in str(error) and len(str(error)) < 2000
            if not clear:
                raise AssertionError(f"{damage}, {name}: {type(error).__name__}: {error}") from error


def read_all(directory: Path) -> None:
    reader = LedgerReader(directory)
    try:
        reader.arguments(), reader.latest_checkpoint(), reader.update_metrics(), reader.baseline(), reader.trials()
        reader.outcomes(), list(reader.rows()), reader.counts(), reader.highest_reward(), reader.top(3)
        reader.last_error()
    finally:
        reader.close()


def fuzz(whole: Path, place: Path, monkeypatch, flips: int, truncations: int, seed: int) -> None:
    rng = random.Random(seed)
    original = (whole / FILE_NAME).read_bytes()
    monkeypatch.setattr(curve, "save_figure", lambda *_: None)
    monkeypatch.setattr(report, "save_figure", lambda *_: None)  # not what is tested, and most of the time
    directory = place / "run"
    for turn in range(flips + truncations):
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(whole, directory)
        if turn < flips:
            bit = rng.randrange(8 * (len(original) if turn % 3 else 4096))  # the first page has the tables' texts
            content = bytearray(original)
            content[bit // 8] ^= 1 << bit % 8
            damage = f"bit {bit} flipped"
        else:
            length = rng.randrange(len(original))
            content, damage = bytearray(original[:length]), f"cut at {length}"
        (directory / FILE_NAME).write_bytes(content)
        survives(directory, damage)


def test_flipped_bits_and_truncations(whole, tmp_path, monkeypatch):
    fuzz(whole, tmp_path, monkeypatch, 20, 10, seed=1)


@pytest.mark.slow
def test_a_thousand_flipped_bits_and_five_hundred_truncations(whole, tmp_path, monkeypatch):
    fuzz(whole, tmp_path, monkeypatch, 1000, 500, seed=2)


def test_a_flipped_reward_is_seen(copy):
    change(copy, "UPDATE trials SET reward = reward + 1 WHERE number = 3")
    with pytest.raises(LedgerError, match="damaged: trial 3 is not what was written"):
        LedgerReader(copy)


@pytest.mark.parametrize("time", [1e300, float("inf")])
def test_a_time_that_is_none_is_one_line_of_an_export(copy, time):
    change(copy, f"UPDATE trials SET queued_at = {'9e999' if time == float('inf') else time} WHERE number = 2")
    with pytest.raises(
        LedgerError, match="the ledger is damaged: a value of trials 1 to 36 is none that a search writes"
    ):
        export_trials(copy, copy.parent / "table.parquet")
    assert sorted(path.name for path in copy.parent.iterdir()) == ["run"]


def test_a_table_of_another_run_is_not_believed(copy):
    table = json.loads((copy / report.ROWS).read_text())
    table["rows"][0]["name"] = "\x1b]52;c;aGk=\x07"
    (copy / report.ROWS).write_text(json.dumps(table))
    assert "\x1b" not in told(copy)
