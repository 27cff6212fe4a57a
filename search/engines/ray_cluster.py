"""Trains children on the machines of a Ray cluster, which may come and go. The only file that imports Ray."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.core import Outcome, Scoring, Task, Training
from tf_autodropout.search.engines.attempt import attempt, failed
from tf_autodropout.search.engines.worker_pool import PoolWorker, WorkerPool

# Read by Ray when it is imported; a program that imports Ray before this module sets them itself. Who has no
# token shall not run code here, and nothing is sent to Ray's makers.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray

_MAX_FAILED_STARTS = 3  # in a row, of all workers together
_POLL_SECONDS = 5.0  # between two looks at which machines are there
_log = logging.getLogger(__name__)


class RayCluster(WorkerPool["_Actor"]):
    """Long-lived Ray actors, each with its own task, device and compiled child.

    One actor per TPU host, else per GPU, else per CPU of the cluster. Machines that join are used within
    seconds; an actor whose machine is lost waits for the next free place, and what it was training is reported as
    failed with the reason. Token authentication must be on.

    Args:
        make_task: Builds the task in each actor; must be picklable and importable on all machines.
        address: `"host:port"` of a cluster, `"auto"` for the one that runs on this machine; None starts one
            for this search alone.
        workers: Largest number of actors; None for as many as there are places.
        time_limit: Seconds after which a training counts as hanging and its actor is restarted; the first one
            of an actor compiles the child as well. None for no limit.
        placement: Strategy and precision of the children.

    Raises:
        ValueError: bad numbers, authentication switched off, no cluster at the address.
        RuntimeError: from `next`: the actors cannot build their task.

    Example:
        >>> from functools import partial
        >>> from tf_autodropout.search.engines.ray_cluster import RayCluster  # doctest: +SKIP
        >>> from tf_autodropout.search.tasks.registry import make_task
        >>> engine = RayCluster(partial(make_task, "digits"), address="auto")  # doctest: +SKIP

    Reference:
        Ray's actors and their fault tolerance: https://docs.ray.io/en/latest/ray-core/fault_tolerance/actors.html
    """

    def __init__(
        self,
        make_task: Callable[[], Task],
        address: str | None = None,
        workers: int | None = None,
        time_limit: float | None = None,
        placement: Placement | None = None,
    ) -> None:
        super().__init__(time_limit)
        if workers is not None and workers < 1:
            raise ValueError(f"Invalid value for 'workers'. Expected an integer >= 1. Received: workers={workers}")
        self._make_task, self._placement, self._most = make_task, placement or Placement(), workers
        self._owns_connection = not ray.is_initialized()
        if self._owns_connection:
            _connect(address)
        self._device, self._amount = _device()
        self._nodes: dict[str, str] = {}
        self._looked = -_POLL_SECONDS
        self._failed_starts = 0

    @property
    def slots(self) -> int:
        return max(1, len(self._workers))

    def close(self) -> None:
        self._waiting.clear()
        for actor in self._workers:
            ray.kill(actor.handle)
        self._workers.clear()
        if self._owns_connection:
            ray.shutdown()

    def _look(self) -> None:
        """Looks which machines are there, and starts actors where there is room for more."""
        if time.monotonic() < self._looked + _POLL_SECONDS:
            return
        self._looked = time.monotonic()
        alive = [node for node in ray.nodes() if node["Alive"]]
        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in alive}
        for name in sorted(nodes.keys() - self._nodes.keys()):
            _log.info("machine %s has joined", nodes[name])
        for name in sorted(self._nodes.keys() - nodes.keys()):
            _log.warning("machine %s is lost; the search goes on with %d", self._nodes[name], len(nodes))
        self._nodes = nodes
        places = sum(int(node["Resources"].get(self._device, 0) // self._amount) for node in alive)
        if self._most is not None:
            places = min(places, self._most)
        while len(self._workers) < places:
            trainer = (self._make_task, self._placement, self._device)
            self._workers.append(_Actor(len(self._workers), trainer, self._amount))

    def _listen(self) -> None:
        pending = {actor.reference: actor for actor in self._workers if not actor.idle}
        limit = self._until_time_limit()
        seconds = _POLL_SECONDS if limit is None else min(_POLL_SECONDS, limit)
        if not pending:
            time.sleep(seconds)
            return
        ready, _ = ray.wait(list(pending), num_returns=len(pending), timeout=0)
        if not ready:
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=seconds)
        for reference in ready:
            self._hear(pending[reference])
        for actor in self._late():
            ray.kill(actor.handle, no_restart=False)
            self._lost(actor, self._time_limit_reason())

    def _hear(self, actor: "_Actor") -> None:
        try:
            place, answer = ray.get(actor.reference)
        except ray.exceptions.RayError as error:
            self._lost(actor, _first_line(error))
            return
        if actor.busy:
            self._answered(actor, answer)
        elif not answer:
            actor.place, actor.ready, self._failed_starts = place, True, 0
            _log.info("%s is ready", actor.name)
        else:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise RuntimeError(f"The workers cannot build their task: {answer}")
            _log.warning("%s on machine %s does not start: %s; it tries again", actor.name, place, answer)
            actor.prepare()

    def _lost(self, actor: "_Actor", reason: str) -> None:
        doing = actor.doing
        self._failed(actor, reason)
        _log.warning("%s ended %s: %s; it starts again where there is room", actor.name, doing, reason)
        actor.prepare()


class _Actor(PoolWorker):
    """The search's view of one actor."""

    def __init__(self, index: int, trainer: tuple[Callable[[], Task], Placement, str], amount: float) -> None:
        super().__init__()
        self._index, device = index, trainer[2]
        needs: dict[str, Any] = {"num_cpus": amount}
        if device == "TPU":
            needs = {"num_cpus": 0, "resources": {"TPU": amount}}
        elif device == "GPU":
            needs = {"num_gpus": amount}
        actor = ray.remote(_Trainer).options(max_restarts=-1, max_task_retries=0, **needs)
        self.handle: Any = actor.remote(*trainer)
        self.place = ""
        self.prepare()

    @property
    def name(self) -> str:
        return f"worker {self._index}" + (f" on machine {self.place}" if self.place else "")

    def prepare(self) -> None:
        """Asks for an answer as soon as the actor has a place and its task, however often it is lost before."""
        self.ready = False
        self.reference = self.handle.prepare.options(max_task_retries=-1).remote()

    def _send(self, number: int, work: Training | Scoring) -> None:
        self.reference = self.handle.call.remote(number, work)


class _Trainer:
    """What runs in an actor's process. A restarted one builds its task anew."""

    def __init__(self, make_task: Callable[[], Task], placement: Placement, device: str) -> None:
        if device == "CPU":  # Ray limits other libraries to the CPU that the actor has, but not TensorFlow
            os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
        self._make_task, self._placement = make_task, placement
        self._task: Task | None = None

    def prepare(self) -> tuple[str, str]:
        """Returns where it is, and why the task cannot be built, or nothing."""
        reason = ""
        try:
            self._placement.prepare()
            self._task = self._task or self._make_task()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        return ray.util.get_node_ip_address(), reason

    def call(self, number: int, work: Training | Scoring) -> tuple[str, Outcome]:
        place, reason = self.prepare()
        if self._task is None:
            return place, failed(number, reason)
        with self._placement.scope():
            return place, attempt(self._task, number, work)


def _connect(address: str | None) -> None:
    if os.environ["RAY_AUTH_MODE"] != "token":
        raise ValueError("Ray's token authentication is switched off. Unset RAY_AUTH_MODE, or set it to 'token'")
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        raise ValueError(
            f"Invalid value for 'address'. Expected that of a Ray cluster. Received: address={address!r} "
            f"({_first_line(error)})"
        ) from error


def _device() -> tuple[str, float]:
    """Returns what an actor needs: all TPU chips of a host, else one GPU, else one CPU."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if chips := max((r.get("TPU", 0) for r in resources), default=0):
        return "TPU", chips
    return ("GPU" if any(r.get("GPU") for r in resources) else "CPU"), 1


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
