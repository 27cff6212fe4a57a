"""The two queues."""

from pathlib import Path

import pytest

from tests.fakes import SPACE, ScriptedEngine
from tf_autodropout.search.core import Trial
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.loop import BATCH, FinishedQueue, UnfinishedQueue, search_loop
from tf_autodropout.search.searchers import RandomSearch

TRIALS = [Trial(i, s, SPACE.decode(s.tokens)) for i, s in enumerate(RandomSearch(SPACE, 0).suggest(5), start=1)]


def test_unfinished_has_room_up_to_its_capacity() -> None:
    queue = UnfinishedQueue(TRIALS[:2])
    assert (len(queue), queue.room(3)) == (2, 1)
    queue.add(TRIALS[2])
    assert queue.room(3) == 0
    assert queue.pop(2) is TRIALS[1]
    assert queue.pop(2) is None
    assert queue.room(3) == 1


def test_unfinished_that_is_overfull_after_a_resume_has_no_room() -> None:
    assert UnfinishedQueue(TRIALS).room(2) == 0


def test_finished_flushes_the_oldest_m() -> None:
    queue = FinishedQueue(2, TRIALS[:1])
    assert queue.flush() is None
    queue.add(TRIALS[1])
    queue.add(TRIALS[2])
    assert queue.flush() == TRIALS[:2]
    assert queue.flush() is None
    queue.add(TRIALS[3])
    assert queue.flush() == TRIALS[2:4]


def test_sizes_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected >= 1"):
        FinishedQueue(0)
    ledger = Ledger(tmp_path, {})
    with pytest.raises(ValueError, match="'capacity'. Expected >= 1. Received: capacity=0"):
        search_loop(RandomSearch(SPACE, 0), ledger, ScriptedEngine(), SPACE.decode, trials=1, capacity=0)
    ledger.close()


@pytest.mark.parametrize(("slots", "most"), [(1, BATCH), (8, BATCH), (16, 20), (64, 80)])
def test_the_capacity_grows_with_the_slots_of_the_engine(tmp_path: Path, slots: int, most: int) -> None:
    engine = ScriptedEngine()
    engine.slots = slots
    ledger = Ledger(tmp_path, {})
    search_loop(RandomSearch(SPACE, 0), ledger, engine, SPACE.decode, trials=200)
    ledger.close()
    assert engine.most_waiting == most
