"""One step of `fit` of KerasHub's backbones with patterns, in a process: `python -m tests.hub_fit NAME ...`.

Prints a line for each: its name, what came of it in graph mode, and under XLA.
"""

import json
import sys
from typing import Any

import keras
import numpy as np

import tf_autodropout as tad
from tests.hub_backbones import BACKBONES, NOT_UNDER_XLA, inputs_of


def patterns_for(model: keras.Model) -> dict[str, Any]:
    """A pattern that fits, for every recommended site."""
    conv, tokens = tad.ConvPattern(size=1, rate=0.5), tad.TransformerPattern(size=1, rate=0.3)
    return {site.name: conv if site.pattern_type is tad.ConvPattern else tokens for site in tad.sites(model)}


def fit_one_step(model: keras.Model, x: Any, jit_compile: bool) -> None:
    """One step of `fit` towards zero at all outputs; RQ-VAE has a loss of its own, of what it reconstructs."""
    count = len(keras.tree.flatten(x)[0])
    outputs = model(x, training=False)
    if isinstance(outputs, dict):  # SAM returns places in an image too, which have no batch
        outputs = {name: one for name, one in outputs.items() if len(keras.tree.flatten(one)[0]) == count}
    targets = keras.tree.map_structure(lambda one: np.zeros(one.shape, "float32"), outputs)
    losses = keras.tree.map_structure(lambda _: "mse", outputs)
    if type(model).compute_loss is not keras.Model.compute_loss:
        targets, losses = x, "mse"
    model.compile("sgd", losses, jit_compile=jit_compile)
    history = model.fit(x, targets, batch_size=2, epochs=1, verbose=0)
    if not np.isfinite(history.history["loss"]).all():
        raise ValueError(f"a loss of {history.history['loss']}")


def outcome(name: str, jit_compile: bool) -> str:
    """Builds, regularizes and fits one backbone."""
    if jit_compile and name in NOT_UNDER_XLA:  # XLA cannot compile the plain model either
        return "not under XLA"
    try:
        plain = BACKBONES[name]()
        fit_one_step(tad.regularize(plain, patterns_for(plain)), inputs_of(plain), jit_compile)
    except Exception as error:  # told to the test, which asks for all
        return repr(error)
    finally:
        keras.backend.clear_session()
    return "fits"


if __name__ == "__main__":
    for each in sys.argv[1:]:
        print(json.dumps([each, [outcome(each, False), outcome(each, True)]]), flush=True)
