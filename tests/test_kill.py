"""The search's process dies by kill -9 at random moments; nothing is lost, nothing is done twice."""

import os
import signal
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import score
from tests.sessions import BATCH, CONFIG, begin, reinforce_session
from tf_autodropout.search.core import Status
from tf_autodropout.search.ledger import FILE_NAME, Ledger


def whole_run(directory: Path, trials: int):
    process, pipe = begin(reinforce_session, directory, trials)
    while pipe.recv() != "done":
        pass
    process.join()
    return contents(directory)


def contents(directory: Path):
    ledger = Ledger(directory, CONFIG)
    found = ledger.trials(), ledger.outcomes(), ledger.latest_checkpoint(), ledger.update_metrics()
    ledger.close()
    return found


def kill_at_random(directory: Path, trials: int, rng: np.random.Generator, most_events: int) -> None:
    """Kills a session some milliseconds after a random number of events."""
    process, pipe = begin(reinforce_session, directory, trials)
    for _ in range(rng.integers(1, most_events)):
        assert pipe.recv() != "done", "the run ended before it was killed"
    time.sleep(rng.uniform(0, 0.02))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(("kills", "trials"), [(2, 16), pytest.param(20, 120, marks=pytest.mark.slow)])
def test_a_search_that_is_killed_ends_like_an_unbroken_one(kills: int, trials: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(kills):
        kill_at_random(tmp_path / "killed", trials, rng, most_events=trials // kills)
    killed = whole_run(tmp_path / "killed", trials)
    unbroken = whole_run(tmp_path / "unbroken", trials)

    assert [trial.number for trial in killed[0]] == list(range(1, trials + 1))
    assert all(t.status is Status.FINISHED and t.reward == score(t.patterns) and not t.failures for t in killed[0])
    assert sorted(number for number, _, _ in killed[1]) == list(range(1, trials + 1))
    assert [t.suggestion for t in killed[0]] == [t.suggestion for t in unbroken[0]]
    assert killed[1:] == unbroken[1:]  # order of finishing; weights, optimizer and baseline to the bit; metrics
    assert killed[2] is not None
    assert killed[2][0] == trials // BATCH
    db = sqlite3.connect(tmp_path / "killed" / FILE_NAME)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
