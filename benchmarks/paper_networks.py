"""Every network of the paper's tables at full size: its parameters, the trace of its training step, a first step.

Each network is a process of its own. The process builds it from its recipe, compiles it as the recipe does, traces the
training step for the recipe's own batch from shapes alone (no memory is needed for that), and takes one real step with
a small batch where `--steps` asks for it.

    python benchmarks/paper_networks.py --steps            # about 15 minutes on 2 cores
    python benchmarks/paper_networks.py --only table1/cifar10/no-noise

Results: `benchmarks/paper_networks.md`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from environment import environment

# One row for each network, with the parameters that are published for it, millions.
NETWORKS = {
    "table1/cifar10/search": ("WRN-28-2 (proxy)", 1.5),
    "table1/cifar10/no-noise": ("WRN-28-10", 36.5),
    "table1/resnet50/search": ("ResNet-50, half width (proxy)", None),
    "table1/resnet50/no-noise": ("ResNet-50", 25.6),
    "table1/efficientnet-b0/search": ("EfficientNet-B0, half width (proxy)", None),
    "table1/efficientnet-b0/stochastic-depth": ("EfficientNet-B0", 5.3),
    "table1/efficientnet-b3/stochastic-depth": ("EfficientNet-B3", 12.0),
    "table1/efficientnet-b5/stochastic-depth": ("EfficientNet-B5", 30.0),
    "table1/efficientnet-b7/stochastic-depth": ("EfficientNet-B7", 66.0),
    "table3/cifar10-4000/uda": ("WRN-28-2 with UDA", 1.5),
    "table3/imagenet-10pct/uda": ("ResNet-50 with UDA", 25.6),
    "table4/ptb/variational-dropout": ("Transformer-XL, Penn Treebank", 24.0),
    "table4/wikitext-2/variational-dropout": ("Transformer-XL, WikiText-2", None),
    "table4/iwslt14/dropout": ("Transformer, IWSLT'14", None),
    "table4/wmt14/dropout": ("Transformer base, WMT'14 En-Fr", 65.0),
}
_WORDS = {"ptb": 10_000, "wikitext-2": 33_278}
_CLASSES = {"cifar10": 10}


def build(name: str) -> tuple[Any, Any, Any]:
    """Returns the compiled model, from a batch size to the shapes of a batch, and the recipe's batch size."""
    import keras
    import tensorflow as tf

    from tf_autodropout.search.recipes.networks import image_network, language_model, translator
    from tf_autodropout.search.recipes.optimizer import make_optimizer
    from tf_autodropout.search.recipes.registry import find
    from tf_autodropout.search.recipes.segment_model import SegmentModel
    from tf_autodropout.search.recipes.train_translation import SmoothedTokenLoss
    from tf_autodropout.search.recipes.uda import UDA

    recipe, spec = find(name), tf.TensorSpec
    plan = recipe.at("full")
    if recipe.training in ("text",):
        network = language_model(plan, _WORDS[recipe.data], recipe.noise)
        size, length = plan["batch_size"], plan["segment_length"]
        model = SegmentModel(network, size, plan["memory_length"], plan["evaluation_memory_length"])
        model.compile(make_optimizer(plan), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        tokens = spec((size, length), tf.int32)
        batch = {"tokens": tokens, "first": spec((size,), tf.bool)}, tokens
        return model, lambda count: batch, size  # the memory fixes the batch
    if recipe.training == "translation":
        network = translator(plan, plan["vocabulary_size"], recipe.noise)
        network.compile(make_optimizer(plan), SmoothedTokenLoss(plan["label_smoothing"]))
        side = 32

        def pairs(count: int) -> Any:
            tokens = spec((count, side), tf.int32)
            return (tokens, tokens), tokens

        return network, pairs, plan["batch_tokens"] // side
    side, classes = plan["image_size"], _CLASSES.get(recipe.data, 1000)
    network = image_network(plan, classes, recipe.noise)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=plan.get("label_smoothing", 0.0))
    ratio = plan.get("unlabelled_ratio", 0) if recipe.training == "uda" else 0
    model = UDA(network, 1.0, plan["temperature"], plan["threshold"], steps=plan["steps"]) if ratio else network
    model.compile(make_optimizer(plan), loss, metrics=["accuracy"])

    def images(count: int) -> Any:
        x = {name: spec((n, side, side, 3)) for name, n in _parts(count, ratio).items()}
        return (x if ratio else x["labelled"]), spec((count, classes))

    return model, images, plan["batch_size"]


def _parts(count: int, ratio: int) -> dict[str, int]:
    return {"labelled": count, "original": count * ratio, "augmented": count * ratio}


def example(spec: Any) -> Any:
    """Returns what a step is taken on: grey images of the first class, and tokens of 1, as those of 0 are padding."""
    import tensorflow as tf

    if spec.dtype == tf.float32 and spec.shape.rank == 2:  # labels
        return tf.one_hot(tf.zeros(spec.shape[:1], tf.int32), spec.shape[1])
    return (tf.ones if spec.dtype == tf.int32 else tf.zeros)(spec.shape, spec.dtype)


def measure(name: str, small: int) -> dict[str, float]:
    """Builds one network in this process, traces its step for the recipe's batch, takes a step of `small` examples."""
    import tensorflow as tf

    begin = time.perf_counter()
    model, batch_of, size = build(name)
    built = time.perf_counter()
    network = getattr(model, "network", model)
    model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda x, y: model.train_step((x, y)))
    trace = step.get_concrete_function(*batch_of(size))
    traced = time.perf_counter()
    measured = {
        "parameters": network.count_params() / 1e6,
        "batch": size,
        "operations": len(trace.graph.as_graph_def().node) + sum(
            len(function.node_def) for function in trace.graph.as_graph_def().library.function
        ),
        "build": built - begin,
        "trace": traced - built,
    }  # fmt: skip
    if small:
        data = tf.nest.map_structure(example, batch_of(small))
        before = time.perf_counter()
        loss = float(step(*data)["loss"])
        measured |= {"step": time.perf_counter() - before, "loss": loss}
    return measured


def main() -> None:
    """Measures every network and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--steps", action="store_true", help="take a real step of two examples as well")
    parser.add_argument("--table", type=Path, help="write the table to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, 2 if options.steps else 0)))
        return
    lines = [
        "# The networks of the paper's tables at full size",
        "",
        environment("keras-cv", "keras-nlp")
        + " Command: `python benchmarks/paper_networks.py --steps`. Each network in a process of its own; seconds on a "
        "shared machine, not to be compared. The trace is that of the recipe's whole training step (network, loss, "
        "optimizer, averages) for the recipe's batch, from shapes alone; the first step is a real one of two examples "
        "(of language models the recipe's batch), its trace included.",
        "",
        "| network | parameters, M | published, M | batch | operations in the step | build, s | trace, s | "
        "first step, s | its loss |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in options.only:
        title, published = NETWORKS[name]
        command = [sys.executable, __file__, "--one", name, *(["--steps"] if options.steps else [])]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, env=quiet)
        if done.returncode:
            cells = [title, f"failed: {(done.stderr.strip().splitlines() or ['killed'])[-1][:100]}", *[""] * 7]
        else:
            one = json.loads(done.stdout.strip().splitlines()[-1])
            step = [f"{one['step']:.1f}", f"{one['loss']:.2f}"] if "step" in one else ["not run", ""]
            cells = [
                title,
                f"{one['parameters']:.2f}",
                "" if published is None else f"{published:g}",
                f"{one['batch']:,}",
                f"{one['operations']:,}",
                f"{one['build']:.1f}",
                f"{one['trace']:.1f}",
                *step,
            ]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if options.table:
        options.table.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
