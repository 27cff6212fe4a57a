"""A task that is trained where the engine trains: for what follows a search, when this process has no accelerator."""

from collections.abc import Callable
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.tasks.base import Contender, Progress, Result, Task, unheard
from tf_autodropout.search.tasks.delegating import DelegatingTask


class RemoteTask(DelegatingTask):
    """Delegates training to an engine.

    Args:
        task: The task of this process, which trains nothing.
        call: The engine's `call`.
    """

    def __init__(self, task: Task, call: Callable[..., Any]) -> None:
        super().__init__(task)
        self._call = call

    def train(self, patterns: PatternSet, seed: int) -> Result:
        return self._call("train", patterns, seed)

    def test(self, contender: Contender, seed: int, progress: Progress = unheard) -> dict[str, float]:
        return self._call("test", contender, seed)
