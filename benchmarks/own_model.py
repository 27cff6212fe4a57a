"""What does a trial of an own model cost? Against `model.fit` of the same steps of the same model and patterns.

A ConvNet with two batch normalizations and a pattern at both, on 2,048 images of 28x28, three epochs with validation;
from arrays and from a `tf.data` pipeline, as a graph and with XLA. Each line is a process of its own, in which all
trainings are made one after the other: first one of each, which compiles, then the two in turn. Reported are the
medians of the later ones and their ratio; and the largest memory of a process that makes trials alone, over that of one
that calls `fit` alone.

    python benchmarks/own_model.py        # about 10 minutes on 2 cores

Results: `benchmarks/own_model.md`.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from environment import environment

COUNT, EPOCHS, BATCH, REPEATS = 2048, 3, 64, 7


def measure(source: str, mode: str, who: str) -> dict[str, float]:
    """Returns the median seconds of a trial and of `fit`, and the largest memory, MiB.

    Args:
        source: `"arrays"` or `"stream"`.
        mode: `"graph"` or `"XLA"`.
        who: `"both"`, `"trial"` or `"fit"`.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    import tf_autodropout as tad
    from tf_autodropout.search.tasks.model_task import ModelTask

    rng = np.random.default_rng(0)
    x = rng.random((COUNT, 28, 28, 1)).astype(np.float32)
    y = rng.integers(0, 10, COUNT).astype(np.int32)
    valid = (x[:512], y[:512])

    def build() -> keras.Model:
        image = keras.Input((28, 28, 1))
        h = image
        for filters in (32, 64):
            h = keras.layers.Conv2D(filters, 3, use_bias=False)(h)
            h = keras.layers.MaxPooling2D()(keras.layers.ReLU()(keras.layers.BatchNormalization()(h)))
        model = keras.Model(image, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(h)))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"], jit_compile=mode == "XLA")
        return model

    def stream() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).prefetch(2)

    data = {"x": stream()} if source == "stream" else {"x": x, "y": y, "batch_size": BATCH}
    task = ModelTask(build, **data, validation_data=valid, epochs=EPOCHS)
    patterns = task.space.decode([min(2, size - 1) for size in task.space.vocabulary_sizes])
    runs: dict[str, Callable[[], object]] = {}
    if who in ("both", "fit"):
        plain = build()
        own = tad.PatternSet({s.name: p for s, p in zip(tad.sites(plain), patterns.values(), strict=True)})
        model = tad.regularize(plain, own)
        model.compile("adam", plain.loss, metrics=["accuracy"], jit_compile=mode == "XLA")
        runs["fit"] = lambda: model.fit(**data, validation_data=valid, epochs=EPOCHS, verbose=0)
    if who in ("both", "trial"):
        runs["trial"] = lambda: task.train(patterns, 1)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    return medians | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Prints the report as Markdown and writes it."""
    if len(sys.argv) == 4:
        print(json.dumps(measure(*sys.argv[1:])))
        return

    def apart(*arguments: str) -> dict[str, float]:
        done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    lines = [
        "# A trial of an own model against `model.fit`",
        "",
        "```sh",
        "python benchmarks/own_model.py",
        "```",
        "",
        "What is measured, and how: the docstring of `own_model.py`.",
        "",
        environment(),
        "",
        "| | a trial, s | `model.fit`, s | ratio | peak memory, ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for source in ("arrays", "stream"):
        for mode in ("graph", "XLA"):
            times = apart(source, mode, "both")
            memory = apart(source, mode, "trial")["memory"] / apart(source, mode, "fit")["memory"]
            ratio = times["trial"] / times["fit"]
            lines.append(
                f"| {source}, {mode} | {times['trial']:.2f} | {times['fit']:.2f} | {ratio:.2f} | {memory:.2f} |"
            )
            print(lines[-1], flush=True)
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
