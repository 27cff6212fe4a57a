"""What it takes to put patterns into large ready models, and what a training step with them costs.

Three models at random weights: a Llama of 16 layers, ViT-B/16, ConvNeXt-Tiny. `regularize` is timed as a whole: the
look at the model, the copy, the edit. The steps of the plain and of the regularized model, forward, backward and SGD,
are run in turns in one process.

Run: `python benchmarks/any_layer.py`, about 15 minutes alone on 2 cores. Results: `benchmarks/any_layer.md`.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from environment import environment

import tf_autodropout as tad
from tf_autodropout.patterns.document import write_text

SECONDS, RATIO = 20, 1.06  # the bars
WORDS = tad.members.word_dropout(0.1)


def llama() -> keras.Model:
    """16 layers of Llama, narrow enough for a small machine."""
    return keras_hub.models.LlamaBackbone(
        vocabulary_size=8000,
        num_layers=16,
        num_query_heads=8,
        num_key_value_heads=4,
        hidden_dim=512,
        intermediate_dim=1408,
    )


def vit() -> keras.Model:
    """ViT-B/16 for 224 by 224."""
    return keras_hub.models.ViTBackbone((224, 224, 3), 16, 12, 12, 768, 3072)


def convnext() -> keras.Model:
    """ConvNeXt-Tiny for 224 by 224."""
    return keras.applications.ConvNeXtTiny(weights=None, include_top=False, input_shape=(224, 224, 3))


# name -> builder, patterns, the shape of a batch
MODELS: dict[str, tuple[Callable[[], keras.Model], Any, tuple[int, ...]]] = {
    "Llama, 16 layers": (llama, {"ffn": WORDS, "output": WORDS}, (8, 128)),
    "ViT-B/16": (vit, {"ffn": WORDS, "output": WORDS}, (4, 224, 224, 3)),
    "ConvNeXt-Tiny": (convnext, {"*_pointwise_conv_2": tad.ConvPattern(size=2, rate=0.1)}, (4, 224, 224, 3)),
}


def batch(model: keras.Model, shape: tuple[int, ...]) -> Any:
    """Random inputs."""
    rng = np.random.default_rng(0)
    if isinstance(model.input, dict):
        tokens = rng.integers(1, 8000, shape).astype("int32")
        return {"token_ids": tf.constant(tokens), "padding_mask": tf.ones(shape, tf.int32)}
    return tf.constant(rng.normal(size=shape), tf.float32)


def step_of(model: keras.Model, inputs: Any) -> Callable[[], Any]:
    """A compiled training step."""
    optimizer = keras.optimizers.SGD(1e-4)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(keras.tree.flatten(model(inputs, training=True))[0]))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return step


def measure(name: str, steps: int) -> str:
    """Returns a row of the table."""
    build, patterns, shape = MODELS[name]
    keras.utils.set_random_seed(0)
    plain = build()
    start = time.perf_counter()
    model = tad.regularize(plain, patterns)
    seconds = time.perf_counter() - start
    sites = sum(site.pattern is not None for site in tad.sites(model, every=True))
    inputs = batch(plain, shape)
    compiled = [step_of(one, inputs) for one in (plain, model)]
    times: list[list[float]] = [[], []]
    for turn in range(steps + 2):
        for step, spent in zip(compiled, times, strict=True):
            start = time.perf_counter()
            float(step())
            if turn >= 2:  # the first ones trace and warm up
                spent.append(time.perf_counter() - start)
    plain_step, step = (statistics.median(spent) for spent in times)
    ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
    return f"| {name} | {sites} | {seconds:.1f} | {SECONDS} | {plain_step:.2f} | {step:.2f} | {ratio:.3f} | {RATIO} |"


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    lines = [
        "# Patterns in large ready models",
        "",
        f"{environment('keras-hub')} Command: `python benchmarks/any_layer.py`.",
        "",
        "Random weights. Word Dropout(0.1) at `ffn` and `output` of every block; in ConvNeXt a `ConvPattern(size=2, "
        f"rate=0.1)` where each block ends. Steps in graph mode, medians of {arguments.steps} in turns.",
        "",
        "| | sites | regularize, s | bar | plain step, s | with patterns, s | ratio | bar |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in MODELS:
        lines.append(measure(name, arguments.steps))
        print(lines[-1], flush=True)
        gc.collect()
    write_text(arguments.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
