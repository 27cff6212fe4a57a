"""What does a training step of a recipe cost, as a multiple of the plain Keras `fit` step of the same network?

The recipe's model, with its pipeline, optimizer, weight decay, clipping, averages and label smoothing, against a copy
of the network that is compiled with SGD with momentum and plain cross-entropy and reads the same batches. Both run by
turns in one process; a pair is one part of `STEPS` steps of each, and the ratio is the median over pairs.

    python benchmarks/recipe_steps.py --table benchmarks/recipe_steps.md      # about 10 minutes on 2 cores

Results: `benchmarks/recipe_steps.md`.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from environment import environment

from tf_autodropout.search.recipes.networks import image_network, language_model
from tf_autodropout.search.recipes.optimizer import make_optimizer
from tf_autodropout.search.recipes.registry import find
from tf_autodropout.search.recipes.segment_model import SegmentModel, segments

BAR, STEPS = 1.05, 4
# Recipes whose networks are measured at full size, with batches that a CPU trains in seconds.
NETWORKS = {
    "table1/cifar10/no-noise": ("WRN-28-10", {"batch_size": 8}),
    "table1/resnet50/no-noise": ("ResNet-50", {"batch_size": 8, "precision": "float32"}),
    "table1/efficientnet-b0/no-noise": ("EfficientNet-B0", {"batch_size": 8, "precision": "float32"}),
    "table4/ptb/no-noise": ("Transformer-XL", {}),
}


def images(plan: dict[str, Any]) -> tuple[keras.Model, keras.Model, Any]:
    """Returns the recipe's model, the plain one, and the batches of both."""
    recipe, plain = (image_network(plan, 10) for _ in range(2))
    smoothing = plan.get("label_smoothing", 0.0)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    recipe.compile(make_optimizer(plan), loss, metrics=["accuracy"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    plain.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    side, size = plan["image_size"], plan["batch_size"]
    x, y = tf.random.normal((size, side, side, 3)), tf.one_hot(tf.range(size) % 10, 10)
    return recipe, plain, tf.data.Dataset.from_tensors((x, y)).repeat().prefetch(2)


def text(plan: dict[str, Any]) -> tuple[keras.Model, keras.Model, Any]:
    """Likewise; the plain one hands its memory on in variables as well, which is what a Transformer-XL is."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    models = []
    for optimizer in (make_optimizer(plan), keras.optimizers.Adam(1e-3)):
        lengths = plan["batch_size"], plan["memory_length"], plan["evaluation_memory_length"]
        models.append(SegmentModel(language_model(plan, 10_000), *lengths))
        models[-1].compile(optimizer, loss)
    tokens = tf.random.uniform((40_000,), 0, 10_000, tf.int32, seed=0).numpy()
    return models[0], models[1], segments(tokens, plan["segment_length"], plan["batch_size"])


def seconds(model: keras.Model, batches: Any) -> float:
    """Returns the seconds of a step by `fit`."""
    before = time.perf_counter()
    model.fit(batches, steps_per_epoch=STEPS, epochs=1, shuffle=False, verbose=0)
    return (time.perf_counter() - before) / STEPS


def main() -> None:
    """Measures every network and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--table", type=Path, help="write the table to this file")
    options = parser.parse_args()
    lines = [
        "# A training step of the recipes, as a multiple of the plain Keras step",
        "",
        f"{environment()} Command: `python benchmarks/recipe_steps.py`. Median of {options.pairs} pairs by turns, "
        "without noise; the smallest and largest in brackets.",
        "",
        "| network | batch | plain, s | recipe, s | ratio | bar |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in options.only:
        title, own = NETWORKS[name]
        plan = find(name).at("full") | own
        recipe, plain, batches = (text if "num_layers" in plan else images)(plan)
        for model in (recipe, plain):
            seconds(model, batches)  # compiles
        pairs = [(seconds(recipe, batches), seconds(plain, batches)) for _ in range(options.pairs)]
        ratios = [ours / theirs for ours, theirs in pairs]
        ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        lines.append(f"| {title} | {plan['batch_size']} | {theirs:.2f} | {ours:.2f} | {ratio} | {BAR} |")
        print(lines[-1], flush=True)
        keras.backend.clear_session()
    if options.table:
        options.table.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
