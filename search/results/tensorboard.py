"""Writes what happens in a search as TensorBoard events: scalars, HParams, learning curves, masks of the best."""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from tf_autodropout.search.core import LEARNING_CURVE, Observer, Status, Trial
from tf_autodropout.search.space import SearchSpace

_MOST_RUNS = 512  # trials with a run of their own: TensorBoard reads each of them
_REWARD, _LOSS = "reward", "train_loss"


class TensorBoard(Observer):
    """Logs reward and best-so-far by finished trial, the learner's numbers by update; each trial with its HParams.

    The first 512 trials, and later ones that are the best so far, have a run of their own under `trials/`, which holds
    decisions, reward and learning curve: the tabs HParams, and Scalars by `train_loss`.

    Args:
        directory: Directory of the event files; a resumed run adds a file.
        space: Names the decisions of a trial.

    Raises:
        OSError: the disk is full; also from every method.
    """

    def __init__(self, directory: Path, space: SearchSpace) -> None:
        self._directory, self._decisions = directory, space.decisions
        with _full_disk():
            self._writer = tf.summary.create_file_writer(str(directory))
        self._done, self._best = 0, float("-inf")

    def resumed(self, final: int, best: float | None, baseline: float | None) -> None:
        self._done, self._best = final, self._best if best is None else best
        if final:
            return
        names = [f"{one.group} {one.token}" for one in self._decisions]
        domains = [hparams.Discrete([_plain(value, one.values) for value in one.values]) for one in self._decisions]
        with _full_disk(), self._writer.as_default(step=0):
            hparams.hparams_config(
                [hparams.HParam(name, domain) for name, domain in zip(names, domains, strict=True)],
                [hparams.Metric(_REWARD)],
            )

    def trial_finished(self, trial: Trial) -> None:
        self._done += 1
        leads = trial.status is Status.FINISHED and trial.reward is not None and trial.reward > self._best
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
        if trial.reward is not None and (trial.number <= _MOST_RUNS or leads):
            self._add_run(trial)

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        with _full_disk(), self._writer.as_default(step=version):
            for name, value in metrics.items():
                tf.summary.scalar(f"update/{name}", value)
            self._writer.flush()

    def close(self) -> None:
        with _full_disk():
            self._writer.close()

    def _add_run(self, trial: Trial) -> None:
        chosen = {
            f"{one.group} {one.token}": _plain(one.values[token], one.values)
            for one, token in zip(self._decisions, trial.suggestion.tokens, strict=False)
        }
        with _full_disk():
            writer = tf.summary.create_file_writer(str(self._directory / "trials" / f"{trial.number:05}"))
            with writer.as_default(step=0):
                hparams.hparams(chosen, trial_id=str(trial.number))
                tf.summary.scalar(_REWARD, trial.reward)
                for step, loss in enumerate(trial.metrics.get(LEARNING_CURVE) or (), start=1):
                    tf.summary.scalar(_LOSS, loss, step=step)
            writer.close()


def add_picture(directory: Path, picture: Path, step: int) -> None:
    """Adds the picture of the best PatternSet's masks.

    Args:
        directory: Directory of the event files.
        picture: PNG file.
        step: Number of trials that it is the best of.

    Raises:
        OSError: the disk is full.
    """
    with _full_disk():
        writer = tf.summary.create_file_writer(str(directory))
        with writer.as_default(step=step):
            tf.summary.image("best PatternSet", tf.io.decode_png(picture.read_bytes(), channels=3)[None])
        writer.close()


def _plain(value: Any, values: Sequence[Any]) -> bool | float | str:
    """A value as HParams takes it: of one decision all of one type."""
    if isinstance(value, bool):
        return value
    return float(value) if all(isinstance(one, int | float) for one in values) else str(value)


@contextmanager
def _full_disk() -> Iterator[None]:
    """TensorFlow has an error of its own for a full disk."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise OSError(errno.ENOSPC, "No space left on device, for TensorBoard's events") from None
