"""What masks cost on JAX and PyTorch: each kind of pattern as a multiple of a bare multiply, forward and backward.

The rows are those of `benchmarks/masks.py`, which measures TensorFlow. On JAX both passes are one function under
`jax.jit`; PyTorch is eager. Medians of interleaved runs in one process.

Run: `KERAS_BACKEND=jax python benchmarks/masks_by_backend.py`, about 3 minutes alone on 2 cores; `torch` likewise.
Results: `benchmarks/masks_jax.md`, `benchmarks/masks_torch.md`.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tf_autodropout as tad
from tf_autodropout.patterns.document import write_text

BACKEND = keras.backend.backend()
SPATIAL, TEXT = (64, 32, 32, 64), (64, 70, 410)
TURNED = {"size": 4, "stride": 2, "repeat": 3, "rotate": 30, "shear_x": 0.25}
ROWS: dict[tuple[int, ...], dict[str, Any]] = {
    SPATIAL: {
        "axis-aligned, share_c": tad.ConvPattern(4, 2, 3, share_c=True),
        "axis-aligned, independent channels": tad.ConvPattern(4, 2, 3),
        "rotated and sheared, share_c": tad.ConvPattern(**TURNED, share_c=True),
        "rotated and sheared, independent channels": tad.ConvPattern(**TURNED),
        "elementwise: Dropout(0.2)": tad.TransformerPattern(1, rate=0.2),
        "DropBlock(7, 0.1)": tad.members.drop_block(7),
    },
    TEXT: {
        "shared along C": tad.TransformerPattern(4, 2, share_c=True, rate=0.2),
        "share_t": tad.TransformerPattern(4, 2, share_t=True, rate=0.2),
        "elementwise: Dropout(0.2)": tad.TransformerPattern(1, rate=0.2),
    },
}


class BareMultiply(keras.layers.Layer):
    """Multiplies by a scalar variable: what the others are measured by."""

    def build(self, input_shape: Any) -> None:
        """Makes the scalar."""
        self.factor = self.add_weight(shape=(), initializer="ones", trainable=False)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the product."""
        return inputs * self.factor


def forward_and_backward(layer: keras.layers.Layer, h: np.ndarray, dy: np.ndarray) -> Callable[[], Any]:
    """Returns a function that runs a layer in training, and its gradient, on fixed tensors."""
    if not layer.built:
        layer.build(h.shape)
    if BACKEND == "torch":
        import torch

        x, incoming = torch.tensor(h), torch.tensor(dy)

        def run() -> Any:
            leaf = x.detach().requires_grad_(True)
            layer(leaf, training=True).backward(incoming)
            return leaf.grad

        return run
    import jax

    variables = layer.variables
    values = [variable.value for variable in variables]

    @jax.jit
    def both(values: list[Any], h: Any, dy: Any) -> Any:
        def call(h: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
                y = layer(h, training=True)
            return y, [scope.get_current_value(variable) for variable in variables]

        y, backward, after = jax.vjp(call, h, has_aux=True)
        return y, backward(dy)[0], after

    x, incoming = jax.numpy.asarray(h), jax.numpy.asarray(dy)
    return lambda: jax.block_until_ready(both(values, x, incoming))


def table(shape: tuple[int, ...], patterns: dict[str, Any], runs: int) -> list[str]:
    """Times the layers on tensors of one shape."""
    rng = np.random.default_rng(0)
    h, dy = (rng.normal(size=shape).astype("float32") for _ in range(2))
    layers: dict[str, keras.layers.Layer] = {"bare multiply": BareMultiply()}
    for name, pattern in patterns.items():
        layers[name] = tad.PatternDropout(pattern, seed=0)
        if not isinstance(pattern, tad.DropBlockPattern):
            layers[f"{name}, in variables"] = tad.PatternDropout(pattern, seed=0, mutable=True)
    layers["`keras.layers.Dropout(0.2)`"] = keras.layers.Dropout(0.2)
    functions = {name: forward_and_backward(layer, h, dy) for name, layer in layers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
        function()
    for _ in range(runs):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    bare = statistics.median(seconds["bare multiply"])
    lines = [f"`{shape}` float32, a bare multiply {1e3 * bare:.1f} ms", "", "| | |", "|---|---:|"]
    return [*lines, *(f"| {name} | {statistics.median(taken) / bare:.2f} |" for name, taken in seconds.items()), ""]


def main() -> None:
    """Runs the benchmark and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    if BACKEND not in ("jax", "torch"):
        raise SystemExit("Set KERAS_BACKEND=jax or torch; TensorFlow is measured by benchmarks/masks.py.")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in (BACKEND, "keras", "numpy"))
    lines = [
        f"# What masks cost on {'JAX under jit' if BACKEND == 'jax' else 'PyTorch, eager'}",
        "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} "
        f"cores, {versions}. Command: `KERAS_BACKEND={BACKEND} python benchmarks/masks_by_backend.py`.",
        "",
        f"Forward and backward as multiples of a bare multiply, medians of {options.runs} interleaved runs.",
        "",
    ]
    if BACKEND == "torch":
        lines += [
            "Each operation is a pass over memory here: the hash of a mask with a draw for each entry is 13 passes "
            "over its words; a mask is made once and kept for the backward pass.",
            "",
        ]
    for shape, patterns in ROWS.items():
        lines += table(shape, patterns, options.runs)
    print("\n".join(lines))
    write_text(Path(__file__).with_name(f"masks_{BACKEND}.md"), "\n".join(lines))


if __name__ == "__main__":
    main()
