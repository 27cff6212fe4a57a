"""Where and how children are trained: a choice of engine and placement. Brings TensorFlow only when used."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tf_autodropout.patterns.checks import check_float, check_int, invalid
from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.children.strategy import follows

if TYPE_CHECKING:
    from tf_autodropout.search.core import Engine, Task

ENGINES = ("in-process", "processes", "ray")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineConfig:
    """Options of `run` and of the command line; none of them identifies a run, but for the precision.

    Args:
        engine: `"in-process"`: one child at a time in this process. `"processes"`: several processes on this
            machine, see `WorkerProcesses`. `"ray"`: the machines of a Ray cluster, see `RayCluster`.
        workers: Number of children at a time; None for one per accelerator, or per core where there is none.
        time_limit: Seconds after which a training, or the building of a task, counts as hanging and its process is
            replaced.
        strategy: What a child trains on, see `make_strategy`.
        precision: `"float32"` or `"bfloat16"`, see `Placement`.
        address: Of a Ray cluster; None starts one on this machine.

    Raises:
        ValueError: an unknown name, or an option that the engine does not have.

    Example:
        >>> from tf_autodropout.search import EngineConfig
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
        if self.engine not in ENGINES:
            raise ValueError(
                f"Invalid value for 'engine'. Expected one of {', '.join(ENGINES)}. Received: engine={self.engine!r}"
            )
        Placement(self.strategy, self.precision)
        if self.engine == "in-process" and (self.workers, self.time_limit) != (None, None):
            raise ValueError("'workers' and 'time_limit' need the engine 'processes' or 'ray'")
        if self.workers is not None:
            check_int("workers", self.workers, 1)
        if self.time_limit is not None and check_float("time_limit", self.time_limit) <= 0:
            raise invalid("time_limit", "seconds > 0", self.time_limit)
        if self.engine != "ray" and self.address is not None:
            raise ValueError(f"'address' is that of a Ray cluster, and needs the engine 'ray'. Received: {self.engine}")
        if self.engine != "in-process" and self.strategy == "multiworker":
            raise ValueError("Strategy 'multiworker' needs the engine 'in-process': its processes are the workers")

    @property
    def follows(self) -> bool:
        """Whether this process does not search, but trains along with the first worker of its strategy."""
        return self.engine == "in-process" and follows(self.strategy)

    def prepare(self) -> Placement:
        """Returns the placement of children in this process. If they are trained elsewhere, this process leaves the
        GPUs to those that train: TensorFlow sees none here any more.

        Raises:
            ValueError: a strategy that cannot be had here.
        """
        if self.engine != "in-process":
            _leave_gpus()
            return Placement()
        placement = Placement(self.strategy, self.precision)
        placement.prepare()
        return placement

    def start(self, make_task: "Callable[[], Task]", own: "Task", placement: Placement) -> "Engine":
        """Returns the engine.

        Args:
            make_task: Builds the task in another process; must be picklable for those.
            own: The task of this process.
            placement: What `prepare` returned.

        Raises:
            ValueError: the engine cannot be had here.
        """
        if self.engine == "in-process":
            return _in_this_process(own, placement)
        elsewhere = Placement(self.strategy, self.precision)
        if self.engine == "processes":
            from tf_autodropout.search.engines import WorkerProcesses

            return WorkerProcesses(make_task, self.workers, self.time_limit, elsewhere)
        try:
            from tf_autodropout.search.engines.ray_cluster import RayCluster
        except ImportError as error:
            raise ValueError(f"Engine 'ray' needs Ray: pip install 'tf_autodropout[ray]' ({error})") from error
        return RayCluster(make_task, self.address, self.workers, self.time_limit, elsewhere)


def _in_this_process(task: "Task", placement: Placement) -> "Engine":
    from tf_autodropout.search.engines import InProcess

    if placement.strategy in ("auto", "multiworker"):
        import tensorflow as tf

        if isinstance(placement.made, tf.distribute.MultiWorkerMirroredStrategy):
            from tf_autodropout.search.engines.multi_worker import LeadingProcess

            return LeadingProcess(task, placement)
    return InProcess(task, placement)


def _leave_gpus() -> None:
    """Hides the GPUs from this process: the controller would reserve the memory that the children need."""
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:  # the caller's own program has computed something before
        _log.warning("this process keeps the memory of the GPUs that it has taken: %s", error)
