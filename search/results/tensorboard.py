"""Writes what happens in a search as TensorBoard events."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_autodropout.search.core import Observer, Status, Trial


class TensorBoard(Observer):
    """Logs reward and best-so-far by finished trial, the learner's numbers by update.

    Args:
        directory: Directory of the event files; a resumed run adds a file.

    Raises:
        OSError: the disk is full; also from every method.
    """

    def __init__(self, directory: Path) -> None:
        with _full_disk():
            self._writer = tf.summary.create_file_writer(str(directory))
        self._done, self._best = 0, float("-inf")

    def resumed(self, final: int, best: float | None, baseline: float | None) -> None:
        self._done, self._best = final, self._best if best is None else best

    def trial_finished(self, trial: Trial) -> None:
        self._done += 1
        with _full_disk(), self._writer.as_default(step=self._done):
            if trial.status is Status.FINISHED and trial.reward is not None:
                self._best = max(self._best, trial.reward)
                tf.summary.scalar("trial/reward", trial.reward)
                tf.summary.scalar("trial/best_so_far", self._best)
            elif trial.status is Status.STOPPED and trial.reward is not None:
                tf.summary.scalar("trial/expected_reward", trial.reward)
            for name, value in trial.metrics.items():
                if isinstance(value, int | float):
                    tf.summary.scalar(f"trial/{name}", value)
            self._writer.flush()

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        with _full_disk(), self._writer.as_default(step=version):
            for name, value in metrics.items():
                tf.summary.scalar(f"update/{name}", value)
            self._writer.flush()

    def close(self) -> None:
        with _full_disk():
            self._writer.close()


@contextmanager
def _full_disk() -> Iterator[None]:
    """TensorFlow has an error of its own for a full disk."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise OSError(errno.ENOSPC, "No space left on device, for TensorBoard's events") from None
