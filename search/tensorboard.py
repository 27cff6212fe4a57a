"""Writes what happens in a search as TensorBoard events."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_autodropout.search.observer import Observer
from tf_autodropout.search.trial import Status, Trial


class TensorBoard(Observer):
    """Logs reward and best-so-far by finished trial, the learner's numbers by update.

    Args:
        directory: Directory of the event files; a resumed run adds a file.
    """

    def __init__(self, directory: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(directory))
        self._done, self._best = 0, float("-inf")

    def resumed(self, final: int, best: float | None, baseline: float | None) -> None:
        self._done, self._best = final, self._best if best is None else best

    def trial_finished(self, trial: Trial) -> None:
        self._done += 1
        with self._writer.as_default(step=self._done):
            if trial.status is Status.FINISHED and trial.reward is not None:
                self._best = max(self._best, trial.reward)
                tf.summary.scalar("trial/reward", trial.reward)
                tf.summary.scalar("trial/best_so_far", self._best)
            for name, value in trial.metrics.items():
                if isinstance(value, int | float):
                    tf.summary.scalar(f"trial/{name}", value)
        self._writer.flush()

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        with self._writer.as_default(step=version):
            for name, value in metrics.items():
                tf.summary.scalar(f"update/{name}", value)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
