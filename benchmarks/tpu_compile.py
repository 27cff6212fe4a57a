"""What a TPU's own compiler makes of patterns: train steps compiled ahead of time for a v5e, without one.

Wide ResNet 28-10 with a layer at every batch norm, and a Transformer layer with Keras' attention, in bfloat16. Of each
compiled program: bytes that it reads and writes, operations, the memory of its temporary arrays, fusions, and arrays of
whole tensors that are no numbers of the network: masks that would have been written to memory.

Needs JAX with libtpu (the extra `jax-tpu`) and no TPU.
Run: `KERAS_BACKEND=jax JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 python benchmarks/tpu_compile.py`, about an hour on one
core; `--depth 10 --width 1` for a look. Results: `benchmarks/tpu_compile.md`.
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tf_autodropout as tad
from tf_autodropout.patterns.document import write_text

TOPOLOGY = "v5e:2x2"  # the smallest that the compiler knows; one chip of it is used
BATCH, IMAGE = 128, (32, 32, 3)
TEXT_BATCH, TOKENS, FEATURES, HEADS = 64, 128, 512, 8
_TURNED = {"size": 4, "stride": 2, "repeat": 3, "rotate": 30, "shear_x": 0.25}
_WHOLE = re.compile(r"= \(?(?:pred|u8|s8|u32|s32)\[([\d,]+)\]")

Maker = Callable[[], keras.layers.Layer] | None
ON_MAPS: dict[str, Maker] = {
    "no dropout": None,
    "axis-aligned, share_c": lambda: tad.PatternDropout(tad.ConvPattern(4, 2, 3, share_c=True), seed=0),
    "axis-aligned, independent channels": lambda: tad.PatternDropout(tad.ConvPattern(4, 2, 3), seed=0),
    "rotated and sheared, independent channels": lambda: tad.PatternDropout(tad.ConvPattern(**_TURNED), seed=0),
    "elementwise: Dropout(0.2)": lambda: tad.PatternDropout(tad.members.dropout(0.2), seed=0),
    "Keras Dropout(0.2)": lambda: keras.layers.Dropout(0.2),
}
ON_TOKENS: dict[str, Any] = {
    "no dropout": None,
    "Word Dropout(0.1) at all sites": tad.members.word_dropout(0.1),
    "Dropout(0.1) at all sites": tad.members.dropout(0.1),
}


def wide_resnet(depth: int, width: int, make: Maker) -> keras.Model:
    """Returns a Wide ResNet (Zagoruyko and Komodakis, 2016) with a layer behind every batch norm."""
    layers = keras.layers

    def normed(x: Any) -> Any:
        x = layers.BatchNormalization()(x)
        return layers.ReLU()(x if make is None else make()(x))

    image = keras.Input(IMAGE, batch_size=BATCH)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    for stage, filters in enumerate((16 * width, 32 * width, 64 * width)):
        for block in range((depth - 4) // 6):
            stride = 2 if stage and not block else 1
            h = normed(x)
            skip = x if x.shape[-1] == filters else layers.Conv2D(filters, 1, stride, use_bias=False)(h)
            h = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(h)
            h = layers.Conv2D(filters, 3, padding="same", use_bias=False)(normed(h))
            x = layers.Add()([h, skip])
    return keras.Model(image, layers.Dense(10, dtype="float32")(layers.GlobalAveragePooling2D()(normed(x))))


def transformer_layer(pattern: Any) -> keras.Model:
    """Returns one pre-norm Transformer layer, with a pattern at the sites inside its attention and behind it."""
    layers = keras.layers
    tokens = keras.Input((TOKENS, FEATURES), batch_size=TEXT_BATCH)
    h = layers.LayerNormalization()(tokens)
    x = layers.Add()([tokens, layers.MultiHeadAttention(HEADS, FEATURES // HEADS)(h, h, use_causal_mask=True)])
    h = layers.Dense(4 * FEATURES, "gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(FEATURES)(h)])
    model = keras.Model(tokens, layers.Dense(FEATURES, dtype="float32")(x))
    return model if pattern is None else tad.regularize(model, pattern)


def compiled(model: keras.Model, loss: Callable[..., Any], targets: tuple[int, ...], kind: str) -> Any:
    """Returns a train step of a model, compiled for one chip."""
    import jax
    from jax.experimental import topologies

    chip = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGY).devices[0]
    sharding = jax.sharding.SingleDeviceSharding(chip)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)

    def objective(trainable: Any, others: Any, x: Any, y: Any) -> Any:
        outputs, others = model.stateless_call(trainable, others, x, training=True)
        return keras.ops.mean(loss(y, outputs)), others

    def step(trainable: Any, others: Any, state: Any, x: Any, y: Any) -> Any:
        (value, others), gradients = jax.value_and_grad(objective, has_aux=True)(trainable, others, x, y)
        trainable, state = optimizer.stateless_apply(state, gradients, trainable)
        return value, trainable, others, state

    def spec(one: Any) -> Any:
        return jax.ShapeDtypeStruct(tuple(one.shape), keras.backend.standardize_dtype(one.dtype), sharding=sharding)

    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    arguments = [[spec(one) for one in some] for some in variables]
    batch = spec(keras.KerasTensor(model.input_shape, "float32"))
    run = jax.jit(step, donate_argnums=(0, 1, 2))
    return run.lower(*arguments, batch, spec(keras.KerasTensor(targets, kind))).compile()


def whole_masks(text: str, least: int) -> int:
    """Counts the arrays of integers and booleans of at least so many entries that a program writes to memory."""
    entry = text[text.index("\nENTRY ") :]
    sizes = [math.prod(map(int, found.split(","))) for found in _WHOLE.findall(entry)]
    return sum(size >= least for size in sizes)


def row(name: str, program: Any, least: int) -> tuple[str, list[float]]:
    """Returns what is printed of a program."""
    cost, memory, text = program.cost_analysis(), program.memory_analysis(), program.as_text()
    figures = [
        cost["bytes accessed"],
        cost["flops"],
        memory.temp_size_in_bytes,
        text.count(" fusion("),
        whole_masks(text, least),
    ]
    print(name, figures, file=sys.stderr, flush=True)
    return name, figures


def table(rows: Sequence[tuple[str, list[float]]]) -> list[str]:
    """Returns the table of one network; the first row is what the others are measured by."""
    lines = [
        "| | bytes accessed | | FLOPs | | temporary memory | fusions | whole masks |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    plain = rows[0][1]
    for name, (accessed, flops, temporary, fusions, masks) in rows:
        lines.append(
            f"| {name} | {accessed / 1e9:.2f} GB | {accessed / plain[0]:.3f} | {flops / 1e9:.0f} G | "
            f"{flops / plain[1]:.3f} | {temporary / 2**20:.0f} MB | {fusions:.0f} | {masks:.0f} |"
        )
    return lines


def main() -> None:
    """Compiles and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=28)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--rows", nargs="*", help="names of the rows, of both networks; all without it")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    if keras.backend.backend() != "jax" or importlib.util.find_spec("libtpu") is None:
        print("skipped: needs KERAS_BACKEND=jax and the package libtpu (pip install 'tf_autodropout[jax-tpu]')")
        return
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    sparse = functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True)
    maps, tokens = [], []
    for name, make in ON_MAPS.items():
        if options.rows and name not in options.rows:
            continue
        model = wide_resnet(options.depth, options.width, make)
        least = BATCH * 8 * 8 * 64 * options.width  # the smallest map
        maps.append(row(name, compiled(model, sparse, (BATCH,), "int32"), least))
    for name, pattern in ON_TOKENS.items():
        if options.rows and name not in options.rows:
            continue
        model = transformer_layer(pattern)
        shape = (TEXT_BATCH, TOKENS, FEATURES)
        program = compiled(model, keras.losses.mean_squared_error, shape, "float32")
        tokens.append(row(name, program, int(np.prod(shape))))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "libtpu", "keras"))
    lines = [
        "# What a TPU's compiler makes of patterns",
        "",
        f"{versions}. Compiled for one chip of `{TOPOLOGY}`, bfloat16; nothing was run. "
        "Command: `python benchmarks/tpu_compile.py`, see there.",
        "",
        "Bytes, FLOPs and memory are the compiler's own estimates; the columns beside them are over no dropout. Whole "
        "masks are arrays of integers or booleans of a whole tensor's size among what the program writes to memory.",
        "",
        f"WRN-{options.depth}-{options.width}, batch {BATCH}, a layer at every batch norm",
        "",
        *table(maps),
        "",
        f"A Transformer layer, {TEXT_BATCH} texts of {TOKENS} tokens, {FEATURES} features, {HEADS} heads",
        "",
        *table(tokens),
    ]
    write_text(options.out, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
