"""One child across several processes or hosts: the first worker searches, the others train along."""

import pickle

import numpy as np
import tensorflow as tf

from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.core import Outcome, Scoring, Task, Training
from tf_autodropout.search.engines.attempt import attempt
from tf_autodropout.search.engines.in_process import InProcess


class LeadingProcess(InProcess):
    """The first worker's engine: tells the others what to train, and trains it with them.

    Every process must take the same steps, or the exchange of gradients waits for ever. What goes wrong in all
    of them, such as a training that diverges, the first worker reports. If one process dies, all end; the ledger
    knows where to go on.

    Args:
        task: See `InProcess`.
        placement: With a `MultiWorkerMirroredStrategy`.
    """

    def __init__(self, task: Task, placement: Placement) -> None:
        super().__init__(task, placement)
        self._training = False

    def close(self) -> None:
        super().close()
        if not self._training:  # in the middle of one the others cannot hear: they end with this process
            _broadcast(self._placement.made, pickle.dumps(None))

    def _attempt(self, number: int, work: Training | Scoring) -> Outcome:
        self._training = True
        _broadcast(self._placement.made, pickle.dumps((number, work)))
        outcome = super()._attempt(number, work)
        self._training = False
        return outcome


def follow(task: Task, placement: Placement) -> None:
    """Trains along with the first worker until it says that the search has ended.

    Args:
        task: The first worker's task.
        placement: The first worker's.

    Raises:
        RuntimeError: another process is gone.
    """
    try:
        with placement.scope():  # as the first worker does: what is built and measured there is so in all of them
            _ = task.space
        task.describe()
        while (call := pickle.loads(_broadcast(placement.made, b""))) is not None:
            with placement.scope():
                attempt(task, *call)
    except tf.errors.OpError as error:
        raise RuntimeError(f"Another process of the strategy is gone ({type(error).__name__})") from error


def _broadcast(strategy: tf.distribute.Strategy, message: bytes) -> bytes:
    """Returns the first worker's message in every process; the others give an empty one."""
    length = int(_sum(strategy, np.array([len(message)], np.int32))[0])
    padded = np.zeros(length, np.int32)
    padded[: len(message)] = np.frombuffer(message, np.uint8)
    return _sum(strategy, padded).astype(np.uint8).tobytes()


def _sum(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """Sums what the first replica of all has, and zeros: strategies know sums, but no broadcast."""

    def own() -> tf.Tensor:
        return values * tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group == 0, tf.int32)

    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(own), axis=None).numpy()
