"""Where and how children are trained: a choice of engine and strategy. Brings TensorFlow only when used."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tf_autodropout.search.strategy import PRECISIONS, STRATEGIES, follows

if TYPE_CHECKING:
    from tf_autodropout.search.engines import Engine
    from tf_autodropout.search.engines.base import Calls
    from tf_autodropout.search.tasks.base import Task

ENGINES = ("in-process", "processes", "ray")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineConfig:
    """Options of `run` and of the command line; none of them identifies a run, but for the precision.

    Args:
        engine: `"in-process"`: one child at a time in this process. `"processes"`: several processes on this
            machine, see `WorkerProcesses`. `"ray"`: the machines of a Ray cluster, see `RayCluster`.
        workers: Number of children at a time; None for one per accelerator, or per core where there is none.
        time_limit: Seconds after which a training counts as hanging and its process is replaced.
        strategy: What a child trains on, see `make_strategy`.
        precision: `"float32"` or `"bfloat16"`, see `PlacedTask`.
        address: Of a Ray cluster; None starts one on this machine.

    Raises:
        ValueError: an unknown name, or an option that the engine does not have.

    Example:
        >>> from tf_autodropout.search.engine_config import EngineConfig
        >>> EngineConfig("processes", workers=2, time_limit=600).strategy
        'default'
    """

    engine: str = "in-process"
    workers: int | None = None
    time_limit: float | None = None
    strategy: str = "default"
    precision: str = "float32"
    address: str | None = None

    def __post_init__(self) -> None:
        choices = (("engine", ENGINES), ("strategy", STRATEGIES), ("precision", PRECISIONS))
        for name, known in choices:
            if getattr(self, name) not in known:
                raise ValueError(
                    f"Invalid value for '{name}'. Expected one of {', '.join(known)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        if self.engine == "in-process" and (self.workers, self.time_limit) != (None, None):
            raise ValueError("'workers' and 'time_limit' need the engine 'processes' or 'ray'")
        if self.engine != "ray" and self.address is not None:
            raise ValueError(f"'address' is that of a Ray cluster, and needs the engine 'ray'. Received: {self.engine}")
        if self.engine != "in-process" and self.strategy == "multiworker":
            raise ValueError("Strategy 'multiworker' needs the engine 'in-process': its processes are the workers")

    @property
    def follows(self) -> bool:
        """Whether this process does not search, but trains along with the first worker of its strategy."""
        return self.engine == "in-process" and follows(self.strategy)

    def task(self, task: "str | Task", settings: Mapping[str, Any] | None = None) -> "Task":
        """Returns the task as this process needs it: with the strategy if children are trained here.

        If they are not, this process leaves the GPUs to those that train: TensorFlow sees none here any more.

        Args:
            task: Name of a task, or a `Task`.
            settings: Settings of a task given by name.

        Raises:
            ValueError: an unknown task or setting, or a strategy that cannot be had here.
        """
        from tf_autodropout.search.tasks.multi_worker import lead
        from tf_autodropout.search.tasks.placed import place

        if self.engine != "in-process":
            _leave_gpus()
            return place(task, settings, "default", self.precision)
        placed = place(task, settings, self.strategy, self.precision)
        return placed if self.follows else lead(placed)

    def start(
        self, task: "str | Task", settings: Mapping[str, Any] | None, seed: int, own: "Task"
    ) -> "tuple[Engine, Calls]":
        """Returns the engine, and its way to call the task's methods after the search.

        Args:
            task: As for `task`.
            settings: As for `task`.
            seed: Seed of the search.
            own: What `task` returned.

        Raises:
            ValueError: the engine cannot be had here.
        """
        from tf_autodropout.search.engines import InProcess, WorkerProcesses
        from tf_autodropout.search.tasks.placed import place

        if self.engine == "in-process":
            alone = InProcess(own, seed)
            return alone, alone.calls
        make = partial(place, task, settings, self.strategy, self.precision)
        if self.engine == "processes":
            processes = WorkerProcesses(make, seed, self.workers, self.time_limit)
            return processes, processes.calls
        try:
            from tf_autodropout.search.engines.ray_cluster import RayCluster
        except ImportError as error:
            raise ValueError(f"Engine 'ray' needs Ray: pip install 'tf_autodropout[ray]' ({error})") from error
        cluster = RayCluster(make, seed, self.address, self.workers, self.time_limit)
        return cluster, cluster.calls


def _leave_gpus() -> None:
    """Hides the GPUs from this process: the controller would reserve the memory that the children need."""
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:  # the caller's own program has computed something before
        _log.warning("this process keeps the memory of the GPUs that it has taken: %s", error)
