"""What tasks that wrap another task have in common."""

from collections.abc import Sequence
from typing import Any

from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.tasks.base import Contender, EndsEarly, Task


class DelegatingTask:
    """Everything of a task but its training.

    Args:
        task: The task that is wrapped.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    @property
    def name(self) -> str:
        return self._task.name

    @property
    def space(self) -> SearchSpace:
        return self._task.space

    @property
    def score(self) -> str:
        return self._task.score

    @property
    def lower_is_better(self) -> bool:
        return self._task.lower_is_better

    def classics(self) -> Sequence[Contender]:
        return self._task.classics()

    def describe(self) -> dict[str, Any]:
        return self._task.describe()


def ends_early(task: Task) -> bool:
    """Returns whether a task, or the one that it wraps, has `train_by_rungs`."""
    while isinstance(task, DelegatingTask):
        task = task._task
    return isinstance(task, EndsEarly)
