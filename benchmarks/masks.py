"""What masks cost: each kind of pattern as a multiple of a bare multiply, and a whole train step.

Forward and backward together, medians of interleaved runs in one process, so that a machine that slows
down slows all of them. `graph` is `tf.function(layer)`, `XLA` is `tf.function(layer, jit_compile=True)`.

Run: `python benchmarks/masks.py`, about 12 minutes alone on 2 cores. Results: `benchmarks/masks.md`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from environment import environment

import tf_autodropout as tad
from tf_autodropout.patterns.document import write_text

SPATIAL = (64, 32, 32, 64)
SIGNAL = (64, 1024, 64)
VOLUME = (16, 16, 16, 16, 64)
TEXT = (64, 70, 410)
TURNED = {"size": 4, "stride": 2, "repeat": 3, "rotate": 30, "shear_x": 0.25}
STEP_BATCH = 64


class Row(NamedTuple):
    """A line of a table: a pattern, its bars in graph mode and under XLA, and the schedule of the layer."""

    pattern: Any
    graph: float | None = None
    xla: float | None = None
    schedule: tad.Schedule | None = None

    def layer(self, mutable: bool = False) -> keras.layers.Layer:
        """Makes the layer."""
        return tad.PatternDropout(self.pattern, seed=0, mutable=mutable, schedule=self.schedule)


RAMP = tad.Schedule.ramp_up(1000)
SPATIAL_ROWS = {
    "axis-aligned, share_c": Row(tad.ConvPattern(4, 2, 3, share_c=True), 1.5, 1.2),
    "axis-aligned, independent channels": Row(tad.ConvPattern(4, 2, 3), 2.5, 1.5),
    "rotated and sheared, share_c": Row(tad.ConvPattern(**TURNED, share_c=True), 1.7, 1.3),
    "rotated and sheared, independent channels": Row(tad.ConvPattern(**TURNED), 4, 3),
    "elementwise: Dropout(0.2)": Row(tad.TransformerPattern(1, rate=0.2), 6, 4),
    "axis-aligned, independent channels, on a schedule": Row(tad.ConvPattern(4, 2, 3), 2.5, 1.5, RAMP),
    "axis-aligned, independent channels, in fractions": Row(tad.ConvPattern("1/8", "1/16", 3), 2.5, 1.5),
    "elementwise: Dropout(0.2), on a schedule": Row(tad.TransformerPattern(1, rate=0.2), 6, 4, RAMP),
    "DropBlock(7, 0.1)": Row(tad.members.drop_block(7)),
}
LINE_ROWS = {
    "axis-aligned, share_c": Row(tad.ConvPattern(4, 2, 3, share_c=True), 1.5, 1.2),
    "axis-aligned, independent channels": Row(tad.ConvPattern(4, 2, 3), 2.5, 1.5),
}
VOLUME_ROWS = LINE_ROWS | {
    "rotated and sheared, independent channels": Row(tad.ConvPattern(**TURNED), 4, 3),
}
TEXT_ROWS = {
    "shared along C": Row(tad.TransformerPattern(4, 2, share_c=True, rate=0.2), 2, 1.3),
    "share_t": Row(tad.TransformerPattern(4, 2, share_t=True, rate=0.2), 5, 4),
    "elementwise: Dropout(0.2)": Row(tad.TransformerPattern(1, rate=0.2), 6, 4),
}


class BareMultiply(keras.layers.Layer):
    """Multiplies by a scalar variable: what the others are measured by."""

    def build(self, input_shape: Any) -> None:
        """Makes the scalar."""
        self.factor = self.add_weight(shape=(), initializer="ones", trainable=False)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the product."""
        return inputs * self.factor


def ours(name: str) -> Callable[[], keras.layers.Layer]:
    """Returns the maker of a layer with one of the patterns above."""
    return partial(tad.PatternDropout, SPATIAL_ROWS[name].pattern)


# What stands at every batch-norm of a train step.
STEPS: dict[str, Callable[[], keras.layers.Layer] | None] = {
    "no dropout": None,
    "bare multiply": BareMultiply,
    **{name: ours(name) for name in list(SPATIAL_ROWS)[:4]},
    "Keras Dropout": partial(keras.layers.Dropout, 0.2),
}


def forward_and_backward(layer: keras.layers.Layer, shape: tuple[int, ...], jit_compile: bool) -> Callable[..., Any]:
    """Returns a compiled function from `(h, dy)` to `(y, dh)`."""
    layer(tf.zeros((1, *shape[1:])), training=False)  # variables are made outside the function

    @tf.function(jit_compile=jit_compile)
    def both(h: tf.Tensor, dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(h)
            y = layer(h, training=True)
        return y, tape.gradient(y, h, dy)

    return both


def medians(functions: dict[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Returns the median seconds of each function, the runs of all interleaved."""
    for function in functions.values():
        function()
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def layer_table(shape: tuple[int, ...], rows: dict[str, Row], runs: int) -> list[str]:
    """Times the pattern layers beside Keras' own."""
    rng = np.random.default_rng(0)
    h, dy = (tf.constant(rng.normal(size=shape), tf.float32) for _ in range(2))
    rivals: dict[str, Callable[[], keras.layers.Layer]] = {
        "`keras.layers.Dropout(0.2)`": lambda: keras.layers.Dropout(0.2)
    }
    if len(shape) == 4:
        rivals["`keras.layers.SpatialDropout2D(0.2)`"] = lambda: keras.layers.SpatialDropout2D(0.2)
        rivals["`keras_cv.layers.DropBlock2D(0.2, 4)`"] = drop_block
    makers: dict[str, Callable[[], keras.layers.Layer]] = {"bare multiply": BareMultiply}
    for name, row in rows.items():
        makers[name] = row.layer
        if not row.pattern.has_fractions and not isinstance(row.pattern, tad.DropBlockPattern):
            makers[f"{name}, in variables"] = partial(row.layer, True)
    nothing = type(next(iter(rows.values())).pattern)()
    makers["size 0, in variables"] = lambda: tad.PatternDropout(nothing, seed=0, mutable=True)
    makers |= rivals
    columns = []
    for jit_compile in (False, True):
        functions, errors = {}, {}
        for name, make in makers.items():
            try:
                function = forward_and_backward(make(), shape, jit_compile)
                function(h, dy)
                functions[name] = lambda function=function: function(h, dy)
            except Exception as error:  # a rival that does not run is part of the table
                if name not in rivals:
                    raise
                errors[name] = f"fails: {type(error).__name__}"
        seconds = medians(functions, runs)
        bare = seconds["bare multiply"]
        columns.append({name: f"{value / bare:.2f}" for name, value in seconds.items()} | errors)
        print(
            f"{shape} jit_compile={jit_compile}: bare {1e3 * bare:.2f} ms, {columns[-1]}", file=sys.stderr, flush=True
        )
    bars = {
        name: ("" if row.graph is None else f"{row.graph:g}", "" if row.xla is None else f"{row.xla:g}")
        for name, row in rows.items()
    }
    lines = [f"`{shape}` float32", "", "| | graph | bar | XLA | bar |", "|---|---:|---:|---:|---:|"]
    for name in makers:
        graph_bar, xla_bar = bars.get(name, ("", ""))
        lines.append(f"| {name} | {columns[0][name]} | {graph_bar} | {columns[1][name]} | {xla_bar} |")
    return [*lines, ""]


def drop_block() -> keras.layers.Layer:
    """keras-cv's DropBlock, an optional package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras_cv
    return keras_cv.layers.DropBlock2D(0.2, 4)


def scale_table(draws: int = 200) -> list[str]:
    """Measures how far Eq. 1's scale is from the classic `1 / (1 - rate)`, mask by mask."""
    rate = 0.2
    cases = (
        ("Dropout", tad.members.dropout(rate), TEXT),
        ("Spatial Dropout", tad.members.spatial_dropout(rate), SPATIAL),
        ("Word Dropout", tad.members.word_dropout(rate), TEXT),
        ("Variational Dropout", tad.members.variational_dropout(rate), TEXT),
        ("DropPath", tad.members.drop_path(rate), SPATIAL),
    )
    lines = [
        f"Eq. 1's scale over `1 / (1 - {rate})`, {draws} masks",
        "",
        "| member | shape | mean | standard deviation |",
        "|---|---|---:|---:|",
    ]
    for name, pattern, shape in cases:
        masks = (tad.keep_mask(pattern, shape, (1, k)) for k in range(draws))
        scales = [(1 - rate) / float(tf.reduce_mean(mask)) for mask in masks]
        lines.append(f"| {name} | `{shape}` | {statistics.fmean(scales):.4f} | {statistics.stdev(scales):.4f} |")
    return [*lines, ""]


def at_every_batch_norm(make: Callable[[], keras.layers.Layer] | None) -> keras.Model:
    """Returns WRN-28-2 with a new layer at every batch-norm."""
    if make is None:
        return tad.models.wide_resnet(28, 2)
    model = tad.models.wide_resnet(28, 2)
    model = tad.models.wide_resnet(28, 2, patterns={site.name: tad.ConvPattern(1) for site in tad.sites(model)})

    def exchanged(layer: keras.layers.Layer) -> keras.layers.Layer:
        # The pattern layers on skip connections are identities, and stay so.
        at_batch_norm = isinstance(layer, tad.PatternDropout) and not layer.on_skip
        return make() if at_batch_norm else type(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=exchanged)


def train_step(kind: str, jit_compile: bool, batch: int = STEP_BATCH) -> Callable[[], Any]:
    """Returns one train step of WRN-28-2 on a fixed batch."""
    keras.utils.set_random_seed(0)
    model = at_every_batch_norm(STEPS[kind])
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(batch, 32, 32, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, 10, batch), tf.int32)

    @tf.function(jit_compile=jit_compile)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return step


def resident(field: str) -> int:
    """Returns a field of /proc/self/status in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{field}:")[1].split()[0])


def peak_resident(kind: str, batch: int) -> int:
    """Returns the process's peak resident bytes over three train steps in graph mode."""
    step = train_step(kind, False, batch)
    step()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    for _ in range(3):
        step()
    return resident("VmHWM")


def peak_of_xla(kind: str) -> int:
    """Returns the bytes that XLA's buffer assignment gives to the train step, temporary arrays and variables."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLA_FLAGS"] = f"--xla_dump_to={folder} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=.*step.*"
        train_step(kind, True)()
        (report,) = Path(folder).glob("*memory-usage-report.txt")
        return int(report.read_text().split("Total bytes used: ")[1].split()[0])


def in_a_process_of_its_own(*arguments: str) -> int:
    """Runs this file for one memory figure."""
    run = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return int(run.stdout.split()[-1])


def step_table(runs: int) -> list[str]:
    """Times the train steps in one process, and takes each one's peak memory in a process of its own."""
    times, memory = [], []
    for jit_compile in (False, True):
        times.append(medians({kind: train_step(kind, jit_compile) for kind in STEPS}, runs))
        print(f"jit_compile={jit_compile}: {times[-1]}", file=sys.stderr, flush=True)
    # The peak grows with the batch by what a step holds for an example; what XLA's compiler left behind does not.
    peaks = {
        kind: [in_a_process_of_its_own("--peak-memory", kind, str(batch)) for batch in (64, 192)] for kind in STEPS
    }
    memory.append({kind: large - small for kind, (small, large) in peaks.items()})
    memory.append({kind: in_a_process_of_its_own("--peak-memory", kind, "xla") for kind in STEPS})
    print(memory, file=sys.stderr, flush=True)
    none = "no dropout"
    lines = [
        f"WRN-28-2, batch {STEP_BATCH}, 32x32, float32: a train step over one without dropout, time and memory",
        "",
        "| at every batch-norm | graph, time | bar | memory | bar | XLA, time | bar | memory | bar |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in STEPS:
        cells = []
        for seconds, held, bar in zip(times, memory, ("1.05", "1.03"), strict=True):
            barred = kind in SPATIAL_ROWS
            cells += [f"{seconds[kind] / seconds[none]:.3f}", bar if barred else ""]
            cells += [f"{held[kind] / held[none]:.3f}", "1.03" if barred else ""]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"Without dropout: {1e3 * times[0][none]:.0f} ms in graph mode and {1e3 * times[1][none]:.0f} ms under XLA. "
        f"Memory in graph mode: growth of the process's peak from batch 64 to 192 "
        f"({memory[0][none] / 2**20:.0f} MB without dropout). Under XLA: its buffer assignment "
        f"({memory[1][none] / 2**20:.0f} MB).",
    ]


def main() -> None:
    """Runs the benchmark and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="runs of each layer; a train step runs two thirds of it")
    parser.add_argument("--only", choices=["layers", "steps"], help="half of the tables, printed only")
    parser.add_argument("--peak-memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_memory:
        kind, batch = options.peak_memory
        print(peak_of_xla(kind) if batch == "xla" else peak_resident(kind, int(batch)))
        return
    lines = ["# What masks cost", "", f"{environment()} Command: `python benchmarks/masks.py`.", ""]
    lines += [f"Forward and backward as multiples of a bare multiply, medians of {options.runs} interleaved runs.", ""]
    if options.only != "steps":
        for shape, rows in (
            (SPATIAL, SPATIAL_ROWS),
            (SIGNAL, LINE_ROWS),
            (VOLUME, VOLUME_ROWS),
            (TEXT, TEXT_ROWS),
        ):
            lines += layer_table(shape, rows, options.runs)
        lines += scale_table()
    if options.only != "layers":
        lines += step_table(max(2, 2 * options.runs // 3))
    print("\n".join(lines))
    if not options.only:
        write_text(Path(__file__).with_suffix(".md"), "\n".join(lines) + "\n")


if __name__ == "__main__":
    tf.get_logger().setLevel("ERROR")
    main()
