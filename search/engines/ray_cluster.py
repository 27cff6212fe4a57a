"""Trains children on the machines of a Ray cluster, which may come and go. The only file that imports Ray."""

import logging
import os
import re
import time
from collections.abc import Callable
from typing import Any

import grpc

from tf_autodropout.search.answers import readable
from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.core import Scoring, Task, Training
from tf_autodropout.search.engines.trainer import Trainer, packed
from tf_autodropout.search.engines.worker_pool import PoolWorker, WorkerPool

# Read by Ray when it is imported; a program that imports Ray before this module sets them itself. Who has no
# token shall not run code here, and nothing is sent to Ray's makers.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray

_POLL_SECONDS = 5.0  # between two looks at which machines are there
_PLACE_SECONDS = 600.0  # for an actor to get a place and a process, while there are machines for it
_log = logging.getLogger(__name__)


class RayCluster(WorkerPool["_Actor"]):
    """Long-lived Ray actors, each with its own task, device and compiled child.

    One actor per TPU host, else per GPU, else per CPU of the cluster. Machines that join are used within
    seconds; an actor that is lost is replaced by a new one, which waits for the next free place, and what it was
    training is reported as failed with the reason. Token authentication must be on, here and on the cluster.

    Args:
        make_task: Builds the task in each actor; must be picklable and importable on all machines.
        address: `"host:port"` of a cluster, `"auto"` for the one that runs on this machine; None starts one
            for this search alone.
        workers: Largest number of actors; None for as many as there are places.
        time_limit: Seconds after which a training, or the building of a task, counts as hanging and its actor is
            replaced; the first training of an actor compiles the child as well. None for no limit.
        placement: Strategy and precision of the children.

    Raises:
        ValueError: bad numbers, a task that cannot be sent, no cluster at the address, or one that asks for no token.
        RuntimeError: from `next`: the actors do not start.

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
        self._task, self._placement, self._most = packed(make_task), placement or Placement(), workers
        self._owns_connection = not ray.is_initialized()
        if self._owns_connection:
            _connect(address)
        try:
            _check_token()
        except ValueError:
            self.close()
            raise
        self._device, self._amount = _device()
        self._nodes: dict[str, str] = {}
        self._looked = -_POLL_SECONDS

    @property
    def slots(self) -> int:
        return max(1, sum(not actor.given_up for actor in self._workers))

    def close(self) -> None:
        super().close()
        if self._owns_connection:
            ray.shutdown()

    def _look(self) -> None:
        """Looks which machines are there, and makes room for actors where there is room for more."""
        if time.monotonic() < self._looked + _POLL_SECONDS:
            return
        self._looked = time.monotonic()
        alive = [node for node in ray.nodes() if node["Alive"]]
        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in alive}
        joined = sorted(nodes.keys() - self._nodes.keys())
        for name in joined:
            _log.info("machine %s has joined", nodes[name])
        for name in sorted(self._nodes.keys() - nodes.keys()):
            _log.warning("machine %s is lost; the search goes on with %d", self._nodes[name], len(nodes))
        self._nodes = nodes
        places = sum(int(node["Resources"].get(self._device, 0) // self._amount) for node in alive)
        if self._most is not None:
            places = min(places, self._most)
        while len(self._workers) < places:
            trainer = (self._task, self._placement, self._device)
            self._workers.append(_Actor(len(self._workers), trainer, self._amount))
        self._look_after(places, bool(joined))

    def _look_after(self, places: int, joined: bool) -> None:
        """Deals with actors that were given up, or that get no place."""
        placed = sum(bool(actor.place) for actor in self._workers)
        for actor in self._workers:
            if actor.given_up and joined:  # perhaps the new machine has what the others lack
                actor.given_up, actor.failed_starts, actor.rests_until = False, 0, 0.0
            if actor.place or placed >= places or actor.asked is None:
                actor.asked = None if actor.asked is None else time.monotonic()
            elif time.monotonic() >= actor.asked + _PLACE_SECONDS:
                self._lost(actor, f"no machine has given it a place within {_PLACE_SECONDS:g} s")

    def _listen(self) -> None:
        pending = {actor.reference: actor for actor in self._workers if actor.reference}
        seconds = self._patience(_POLL_SECONDS)
        if not pending:
            time.sleep(seconds)
            return
        ready, _ = ray.wait(list(pending), num_returns=len(pending), timeout=0)
        if not ready:
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=seconds)
        for reference in ready:
            self._hear(pending[reference])

    def _hear(self, actor: "_Actor") -> None:
        try:
            answer = ray.get(actor.reference)
        except ray.exceptions.RayError as error:
            self._lost(actor, _reason(error))
            return
        if actor.busy:
            actor.reference = None
            self._answered(actor, answer)
            if actor.busy:
                self._lost(actor, "its answer is that of another call")
        elif not actor.place:
            actor.build(answer)
        else:
            actor.reference = None
            self._built(actor, answer)
            if actor.ready:
                _log.info("%s is ready", actor.name)


class _Actor(PoolWorker):
    """The search's view of one place for an actor, and of the actor that is there now."""

    def __init__(self, index: int, trainer: tuple[bytes, Placement, str], amount: float) -> None:
        super().__init__()
        self._index, self._trainer, device = index, trainer, trainer[2]
        self._needs: dict[str, Any] = {"num_cpus": amount}
        if device == "TPU":
            self._needs = {"num_cpus": 0, "resources": {"TPU": amount}}
        elif device == "GPU":
            self._needs = {"num_gpus": amount}
        self._handle: Any = None
        self.reference: Any = None  # of the answer that is waited for
        self.place = ""
        self.asked: float | None = None  # when it asked for a place

    @property
    def name(self) -> str:
        return f"worker {self._index}" + (f" on machine {self.place}" if self.place else "")

    def build(self, place: str) -> None:
        """Builds its task, now that it has a place."""
        self.place, self.asked, self.since = place, None, time.monotonic()
        self.reference = self._handle.build.remote()

    def _start(self) -> None:
        # A new actor each time: one that Ray restarts by itself does so for ever, or never again.
        options = {"max_restarts": 0, "max_task_retries": 0} | self._needs
        self._handle = ray.remote(_ActorTrainer).options(**options).remote(*self._trainer)
        self.reference, self.asked = self._handle.place.remote(), time.monotonic()

    def _end(self) -> None:
        if self._handle is not None:
            ray.kill(self._handle)
        self._handle = self.reference = self.asked = None
        self.place = ""

    def _send(self, identity: int, number: int, work: Training | Scoring) -> None:
        self.reference = self._handle.answer.remote(identity, number, work)


class _ActorTrainer(Trainer):
    """What runs in an actor's process."""

    def __init__(self, make_task: bytes, placement: Placement, device: str) -> None:
        if device == "CPU":  # Ray limits other libraries to the CPU that the actor has, but not TensorFlow
            os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
        super().__init__(make_task, placement, ends_with=os.getppid())

    def place(self) -> str:
        """Returns the machine's address."""
        return ray.util.get_node_ip_address()


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
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise ValueError(
            f"Invalid value for 'address'. Expected that of a Ray cluster. Received: address={address!r} "
            f"({_reason(error)})"
        ) from error


def _check_token() -> None:
    """Raises `ValueError` if the cluster takes calls without a token, for then everybody may run code on it."""
    if os.environ.get("RAY_USE_TLS") == "1":  # nobody comes in without a certificate
        return
    address = ray.get_runtime_context().gcs_address
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary("/ray.rpc.JobInfoGcsService/GetAllJobInfo")(b"", timeout=10)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return
            raise ValueError(f"The Ray cluster at {address} does not say if it asks for a token: {error}") from error
    raise ValueError(
        f"The Ray cluster at {address} asks for no token: everybody who reaches it may run code on it. "
        "Start it with RAY_AUTH_MODE=token"
    )


def _device() -> tuple[str, float]:
    """Returns what an actor needs: all TPU chips of a host, else one GPU, else one CPU."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if chips := max((r.get("TPU", 0) for r in resources), default=0):
        return "TPU", chips
    return ("GPU" if any(r.get("GPU") for r in resources) else "CPU"), 1


def _reason(error: Exception) -> str:
    """What an error of Ray's says; of one that came of another one, that."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The last line of a traceback, such as `ModuleNotFoundError: No module named 'tf_autodropout'`.
    causes = [line for line in lines[1:] if re.match(r"[\w.]*(Error|Exception|Exit|Interrupt)\b", line)]
    dead = [line.split(" Some common causes")[0] for line in lines if line.startswith("The actor is dead because")]
    return readable((causes[-1:] or dead or [f"{type(error).__name__}: {(lines or ['no reason given'])[0]}"])[0])
