"""The two queues."""

import pytest

from tests.fakes import SPACE
from tf_autodropout.search.queues import FinishedQueue, UnfinishedQueue
from tf_autodropout.search.searchers import RandomSearch
from tf_autodropout.search.trial import Trial

TRIALS = [Trial(i, s, SPACE.decode(s.tokens)) for i, s in enumerate(RandomSearch(SPACE, 0).suggest(5), start=1)]


def test_unfinished_has_room_up_to_its_capacity() -> None:
    queue = UnfinishedQueue(3, TRIALS[:2])
    assert (len(queue), queue.room) == (2, 1)
    queue.add(TRIALS[2])
    assert queue.room == 0
    assert queue.pop(2) is TRIALS[1]
    assert queue.pop(2) is None
    assert queue.room == 1


def test_unfinished_that_is_overfull_after_a_resume_has_no_room() -> None:
    assert UnfinishedQueue(2, TRIALS).room == 0


def test_finished_flushes_the_oldest_m() -> None:
    queue = FinishedQueue(2, TRIALS[:1])
    assert queue.flush() is None
    queue.add(TRIALS[1])
    queue.add(TRIALS[2])
    assert queue.flush() == TRIALS[:2]
    assert queue.flush() is None
    queue.add(TRIALS[3])
    assert queue.flush() == TRIALS[2:4]


@pytest.mark.parametrize("queue", [UnfinishedQueue, FinishedQueue])
def test_sizes_below_one_are_refused(queue: type) -> None:
    with pytest.raises(ValueError, match="Expected >= 1"):
        queue(0)
