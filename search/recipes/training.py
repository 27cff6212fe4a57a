"""`Training`: a compiled model with data and score; how it is trained, goes on after a stop, and is saved."""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tf_autodropout.search.core import Progress, unheard
from tf_autodropout.search.recipes.mixing import ManifoldMixup
from tf_autodropout.surgery.edit import refresh, take_out

_MOST_PARTS = 20  # checkpoints of a training
_STATE = re.compile(r"state-(\d+)\.weights\.h5$")


@dataclass(frozen=True)
class Training:
    """One row's training, ready to begin.

    Args:
        model: Compiled; `fit` is called on it. Its weights, with those of its optimizer, are the state of the training.
        network: What is saved at the end; `model` itself or the network inside it.
        batches: From a step to the endless batches from there on.
        evaluate: Returns the scores by name, once the training has ended.
        steps: Steps in all.
        facts: What else is worth keeping, as JSON types.
    """

    model: keras.Model
    network: keras.Model
    batches: Callable[[int], Any]
    evaluate: Callable[[], dict[str, float]]
    steps: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps_per_part(self) -> int:
        """Steps between two checkpoints: they divide all steps."""
        return self.steps // max(parts for parts in range(1, _MOST_PARTS + 1) if self.steps % parts == 0)

    def run(self, directory: Path, progress: Progress = unheard) -> dict[str, float]:
        """Trains by `fit` from where an earlier call has stopped, saves `model.keras`, and returns the scores.

        Args:
            directory: Of this training alone: its checkpoint and, at the end, its network.
            progress: Called at each checkpoint with steps done, steps in all and mean loss.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        directory.mkdir(parents=True, exist_ok=True)
        each, done = self.steps_per_part, self._restore(directory)
        self.model.fit(
            self.batches(done * each),
            initial_epoch=done,
            epochs=self.steps // each,
            steps_per_epoch=each,
            callbacks=[_Checkpoints(directory, each, self.steps, progress)],
            shuffle=False,  # the batches come shuffled
            verbose=0,
        )
        scores = self.evaluate()
        unfinished = directory / "model.tmp.keras"
        self.saved_network().save(unfinished)
        os.replace(unfinished, directory / "model.keras")
        for path in directory.glob("state-*.weights.h5"):
            path.unlink()
        return scores

    def saved_network(self) -> keras.Model:
        """Returns the network for use: not compiled, without the layers that only a training has."""
        mixers = [layer for layer in self.network.layers if isinstance(layer, ManifoldMixup)]
        if mixers:
            take_out(self.network, mixers)
            refresh(self.network)
        return keras.Model(self.network.input, self.network.output, name=self.network.name)

    def _restore(self, directory: Path) -> int:
        """Loads the newest checkpoint; returns how many parts are done."""
        found = {int(name[1]): path for path in directory.iterdir() if (name := _STATE.search(path.name))}
        if not found:
            return 0
        self.model.optimizer.build(self.model.trainable_variables)
        self.model.load_weights(found[max(found)])
        return max(found)


class _Checkpoints(keras.callbacks.Callback):
    """Writes the state after each part, beside its place, and removes the one before."""

    def __init__(self, directory: Path, each: int, steps: int, progress: Progress) -> None:
        super().__init__()
        self._directory, self._each, self._steps, self._progress = directory, each, steps, progress

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss {loss} at step {(epoch + 1) * self._each}")
        before = list(self._directory.glob("state-*.weights.h5"))
        unfinished = self._directory / "unfinished.weights.h5"
        self.model.save_weights(unfinished)
        os.replace(unfinished, self._directory / f"state-{epoch + 1}.weights.h5")
        for path in before:
            path.unlink()
        self._progress((epoch + 1) * self._each, self._steps, loss)
