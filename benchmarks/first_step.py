"""How long does a user wait for the first training step, with and without patterns?

Each measurement is a process of its own, since a compiled function serves every later model. The process builds a
network of keras.applications at random weights, regularizes it or not, compiles it, and times the first call of
`train_on_batch` (tracing, compiling, one step) and the median of the steps after it. Keras' own Dropout at the same
places is measured beside it.

    python benchmarks/first_step.py            # about 15 minutes on 2 cores
    python benchmarks/first_step.py --models mobilenet --modes graph --repeats 1

Results: `benchmarks/first_step.md`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from environment import environment

MODELS = {"mobilenet": ("MobileNetV2", 96, 16), "efficientnet": ("EfficientNetB0", 224, 4)}
VARIANTS = ("plain", "patterns", "Dropout")
MODES = ("graph", "XLA")
BAR, STEPS = 1.5, 12


def measure(model: str, mode: str, variant: str) -> dict[str, float]:
    """Returns the seconds of the first step and the median of the later ones, in this process."""
    import keras
    import numpy as np

    import tf_autodropout as tad

    name, pixels, batch = MODELS[model]
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)(weights=None, input_shape=(pixels, pixels, 3), classes=10)
    if variant == "patterns":
        network = tad.regularize(network, tad.ConvPattern(size=2, stride=1, repeat=2, rate=0.9))
    if variant == "Dropout":

        def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
            outputs = layer(*args, **kwargs)
            return keras.layers.Dropout(0.1)(outputs) if isinstance(layer, keras.layers.BatchNormalization) else outputs

        network = keras.models.clone_model(network, call_function=call)
    network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=mode == "XLA")
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(batch, pixels, pixels, 3)).astype("float32"), rng.integers(10, size=batch)
    times = []
    for _ in range(1 + STEPS):
        before = time.perf_counter()
        network.train_on_batch(images, labels)
        times.append(time.perf_counter() - before)
    return {"first": times[0], "step": statistics.median(times[2:])}


def main() -> None:
    """Measures every variant in turn, `repeats` times, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=list(MODES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--table", type=Path, help="write the table to this file")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    lines = [
        "# The first step, with patterns at every batch norm and without",
        "",
        f"{environment()} Command: `python benchmarks/first_step.py`. Median of {options.repeats} runs.",
        "",
        "| network | mode | plain, s | patterns, s | ratio | bar | Dropout | later steps | Dropout, later |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    print("\n".join(lines[-2:]), flush=True)
    for model in options.models:
        name, pixels, batch = MODELS[model]
        for mode in options.modes:
            runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
            for _ in range(options.repeats):
                for variant in VARIANTS:
                    command = [sys.executable, __file__, "--one", model, mode, variant]
                    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                    runs[variant].append(json.loads(printed.splitlines()[-1]))

            def ratio(variant: str, what: str, runs: dict[str, list[dict[str, float]]] = runs) -> float:
                return statistics.median(b[what] / a[what] for a, b in zip(runs["plain"], runs[variant], strict=True))

            plain, patterns = (statistics.median(run["first"] for run in runs[one]) for one in VARIANTS[:2])
            lines.append(
                f"| {name}, {pixels} pixels, batch {batch} | {mode} | {plain:.1f} | {patterns:.1f} | "
                f"{ratio('patterns', 'first'):.2f} | {BAR} | {ratio('Dropout', 'first'):.2f} | "
                f"{ratio('patterns', 'step'):.2f} | {ratio('Dropout', 'step'):.2f} |"
            )
            print(lines[-1], flush=True)
    if options.table:
        options.table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
