"""What runs in a worker process or a Ray actor: builds its task once, then trains what it is asked for."""

import json
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle

from tf_autodropout.search.answers import reason_of
from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.core import Outcome, Scoring, Status, Task, Training
from tf_autodropout.search.engines.attempt import attempt
from tf_autodropout.search.engines.temporary_files import own_temporary_files


class Trainer:
    """A task in a process of its own, with temporary files of its own: all that it leaves ends with the process.

    Args:
        make_task: What builds the task, from `packed`.
        placement: Strategy and precision of the children.
        ends_with: Number of the process that this one must not outlive.
    """

    def __init__(self, make_task: bytes | bytearray, placement: Placement, ends_with: int) -> None:
        self._make_task, self._placement, self._ends_with = make_task, placement, ends_with
        self._task: Task | None = None

    def build(self) -> str:
        """Returns why the task cannot be built, or nothing."""
        try:
            own_temporary_files(self._ends_with)
            self._placement.prepare()
            self._task = pickle.loads(self._make_task)()
            self._make_task = b""  # it may hold all data
        except BaseException as error:  # sys.exit of an imported script among them
            return reason_of(error)
        return ""

    def answer(self, identity: int, number: int, work: Training | Scoring) -> bytes:
        """Does a work; returns what `unpacked` reads.

        Args:
            identity: Of the call; comes back with the answer.
            number: See `attempt`.
            work: See `attempt`.
        """
        assert self._task is not None
        with self._placement.scope():
            outcome = attempt(self._task, number, work)
        return json.dumps([identity, number, outcome.status, outcome.reward, dict(outcome.metrics)]).encode()


def packed(make_task: Callable[[], Task]) -> bytes:
    """Returns what builds a task as bytes; by value where another process cannot import it.

    Raises:
        ValueError: it cannot be sent.
    """
    try:
        return cloudpickle.dumps(make_task)
    except Exception as error:  # whatever an object raises that cannot be pickled
        raise ValueError(
            "The task is sent to its workers, and this one cannot be sent "
            f"({reason_of(error)}). Of a tf.data.Dataset give the function that makes it."
        ) from error


def unpacked(answer: bytes) -> tuple[int, Outcome]:
    """Returns the identity of a call and its outcome.

    Args:
        answer: Of a `Trainer`; JSON, so that reading it runs nothing.

    Raises:
        ValueError: it is none.
    """
    try:
        fields: Any = json.loads(answer)
        identity, number, status, reward, metrics = fields
        return identity, Outcome(number, Status(status), reward, metrics)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its answer cannot be read ({reason_of(error)})") from None
