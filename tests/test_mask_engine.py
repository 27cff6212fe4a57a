"""How masks are computed: fused passes, nothing kept for the backward pass, one branch a case, legal on a TPU."""

import functools
import importlib.metadata
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tf_autodropout.layers import pattern_layers
from tf_autodropout.masks.backend import fusion

TURNED = tad.ConvPattern(size=2, stride=1, repeat=2, rotate=30, shear_x=0.2)
KINDS = {
    "straight": tad.ConvPattern(size=2, stride=1, repeat=2),
    "straight-shared": tad.ConvPattern(size=2, stride=1, repeat=2, share_c=True),
    "turned": TURNED,
    "turned-long": tad.ConvPattern(size=2, stride=30, repeat=2, rotate=30),
    "turned-shared": tad.ConvPattern(size=(2, 3), rotate=30, share_c=True, rate=0.7),
    "spatial": tad.members.spatial_dropout(0.3),
    "path": tad.members.drop_path(0.3),
    "dropout": tad.members.dropout(0.3),
    "word": tad.members.word_dropout(0.3),
    "variational": tad.members.variational_dropout(0.3),
    "blocks": tad.TransformerPattern(size=3, stride=2, share_t=True, rate=0.5),
    "nothing": tad.ConvPattern(),
    "nothing-text": tad.TransformerPattern(),
}
MAPS, TOKENS = (4, 9, 7, 6), (4, 13, 10)
each_kind = pytest.mark.parametrize("pattern", KINDS.values(), ids=list(KINDS))


def shape_of(pattern):
    return MAPS if isinstance(pattern, tad.ConvPattern) else TOKENS


def a_layer(pattern, mutable=False, **kwargs):
    return tad.PatternDropout(pattern, seed=3, mutable=mutable, **kwargs)


def both_ways(layer, jit_compile=False):
    """A compiled function from (h, dy) to (y, dh)."""

    @tf.function(jit_compile=jit_compile)
    def function(h, dy):
        with tf.GradientTape() as tape:
            tape.watch(h)
            y = layer(h, training=True)
        return y, tape.gradient(y, h, dy)

    return function


def numbers(shape, seed=0, dtype="float32"):
    return tf.constant(np.random.default_rng(seed).uniform(0.5, 2, shape), dtype)


# Forward and backward


@functools.cache
def mutable_both_ways(kind, jit_compile):
    """A mutable layer and its compiled function: one for all patterns of a kind, as in a search."""
    layer = a_layer(kind(), mutable=True)
    return layer, both_ways(layer, jit_compile)


def set_to(pattern, jit_compile):
    """The compiled function of the mutable layer, once it holds a pattern and is at its first step."""
    layer, function = mutable_both_ways(type(pattern), jit_compile)
    layer.assign(pattern)
    layer.reseed(3)
    return function


SLOW = ("straight-shared", "turned-long", "spatial", "path", "word", "nothing-text")  # compiled as their kin are


@pytest.mark.parametrize(
    "pattern", [pytest.param(one, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, one in KINDS.items()]
)
def test_both_passes_draw_one_mask_eager_in_graphs_and_under_xla_with_values_fixed_and_in_variables(pattern):
    h, dy = numbers(shape_of(pattern)), numbers(shape_of(pattern), 1)
    compiled = [both_ways(a_layer(pattern), jit) for jit in (False, True)] + [
        set_to(pattern, jit) for jit in (False, True)
    ]
    eager = a_layer(pattern)
    for _ in range(3):
        with tf.GradientTape() as tape:
            tape.watch(h)
            y = eager(h, training=True)
        dh = tape.gradient(y, h, dy)
        assert (dh / dy).numpy() == pytest.approx((y / h).numpy(), rel=1e-5)
        if pattern.is_identity:
            assert (y.numpy() == h.numpy()).all()
        for function in compiled:
            for ours, wanted in zip(function(h, dy), (y, dh), strict=True):
                assert ours.numpy() == pytest.approx(wanted.numpy(), rel=1e-6)


def test_the_second_derivative_goes_through_too():
    h = numbers(MAPS)
    layer = a_layer(TURNED)
    with tf.GradientTape() as outer:
        outer.watch(h)
        with tf.GradientTape() as tape:
            tape.watch(h)
            y = layer(h, training=True)
            loss = tf.reduce_sum(y**3)
        first = tape.gradient(loss, h)
    scale = (y / h).numpy()
    assert outer.gradient(first, h).numpy() == pytest.approx(6 * scale**3 * h.numpy(), rel=1e-4)


def test_float64_has_the_precision_of_float64():
    pattern = tad.ConvPattern(size=3)
    y = tad.PatternDropout(pattern, seed=1, dtype="float64")(tf.ones((3, 7, 7, 1), tf.float64), training=True).numpy()
    assert y.max() == y.size / np.count_nonzero(y)


def calls(graph):
    return [op for op in graph.get_operations() if op.type in ("PartitionedCall", "StatefulPartitionedCall")]


def is_large(tensor, size):
    return tensor.shape.num_elements() >= size / 8


@each_kind
@pytest.mark.parametrize("mutable", [False, True])
def test_nothing_of_the_size_of_h_is_kept_for_the_backward_pass(pattern, mutable):
    if pattern.is_identity and not mutable:
        return
    shape = (4, 33, 31, 40) if isinstance(pattern, tad.ConvPattern) else (4, 130, 300)  # large enough to be compiled
    graph = both_ways(a_layer(pattern, mutable)).get_concrete_function(tf.TensorSpec(shape), tf.TensorSpec(shape)).graph
    size = int(np.prod(shape))
    assert all(call.get_attr("_XlaMustCompile") for call in calls(graph))
    # What draws and what counts returns next to nothing; one function more for each of the two passes.
    forward, backward = (call for call in calls(graph) if any(is_large(x, size) for x in call.outputs))
    for call, own in ((forward, "h"), (backward, "dy")):
        assert [x.name for x in call.inputs if is_large(x, size)] == [f"{own}:0"]
        assert sum(is_large(x, size) for x in call.outputs) == 1
    made = [x for op in graph.get_operations() for x in op.outputs if x.dtype in (tf.bool, tf.int32, tf.uint32)]
    assert not any(is_large(x, size) for x in made)


@pytest.mark.parametrize("mutable", [False, True])
def test_layers_alike_share_their_compiled_functions(mutable):
    layers = [tad.PatternDropout(TURNED, seed=seed, mutable=mutable) for seed in range(3)]

    def two_ways(h, dy):
        with tf.GradientTape() as tape:
            tape.watch(h)
            y = layers[2](layers[1](layers[0](h, training=True), training=True), training=True)
        return tape.gradient(y, h, dy)

    graph = tf.function(two_ways).get_concrete_function(tf.TensorSpec(MAPS), tf.TensorSpec(MAPS)).graph
    names = [call.get_attr("f").name for call in calls(graph)]
    kinds = 2 if mutable else 3  # one forward, one backward; or what draws, counts and, both ways, multiplies
    assert len(names) == (6 if mutable else 12)
    assert len(set(names)) == kinds


# Within one HLO module, XLA could merge the mask of the backward pass with that of the forward pass.
@pytest.mark.parametrize(
    ("name", "mutable"),
    [(name, False) for name in ("straight", "turned", "turned-shared", "dropout", "blocks")]
    + [("straight", True)]
    + [pytest.param(name, True, marks=pytest.mark.slow) for name in ("turned", "turned-shared", "dropout", "blocks")],
)
def test_xla_keeps_no_mask_for_the_backward_pass(name, mutable):
    pattern = KINDS[name]
    shape = (64, 32, 32, 64) if isinstance(pattern, tad.ConvPattern) else (64, 70, 410)
    h = tf.zeros(shape)
    layer = a_layer(pattern, mutable)
    layer(h)
    text = both_ways(layer, True).experimental_get_compiler_ir(h, h)(stage="optimized_hlo")
    # Arrays inside a fused computation live in registers; all others in memory.
    blocks = re.split(r"\n(?=(?:ENTRY )?%\S+ \()", text)
    stored = "\n".join(block for block in blocks if not block.startswith("%fused_computation"))
    sizes = ",".join(map(str, shape))
    masks = set(re.findall(rf"(%\S+) = (?:pred|s8|u8|s32|u32|s64)\[{sizes}\]", stored))
    applied = re.findall(rf"= f32\[{sizes}\]\S* fusion\(([^)]*)\)", stored)
    reading = [arguments for arguments in applied if masks & set(re.findall(r"%[^\s,)]+", arguments))]
    # The forward pass may read the mask that it has counted; the backward pass draws its own.
    assert len(applied) >= 2
    assert len(reading) <= len(applied) // 2


def test_a_size_unknown_while_tracing_is_computed_without_compiling_for_each_size():
    layer = a_layer(TURNED)
    function = tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec((None, None, None, 3))])
    for call in calls(function.get_concrete_function().graph):  # it draws, and knows the batch and the channels only
        assert [x.shape.is_fully_defined() for x in call.inputs].count(False) == 1
        assert sum(x.shape == [None] for x in call.inputs) == 1
    for shape in ((2, 5, 6, 3), (3, 8, 8, 3)):
        assert function(tf.ones(shape)).shape == shape


def test_an_unknown_batch_is_compiled():
    layer = a_layer(TURNED)
    function = tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec((None, 9, 7, 6))])
    assert [call.get_attr("_XlaMustCompile") for call in calls(function.get_concrete_function().graph)] == [True] * 3
    eager = a_layer(TURNED)
    for batch in (4, 2):
        x = tf.ones((batch, 9, 7, 6))
        assert function(x).numpy() == pytest.approx(eager(x, training=True).numpy(), rel=1e-6)


# TPU


def small_network(patterns, mutable):
    """Convolutions with batch-norm, then tokens: every pattern somewhere."""
    inputs = keras.Input(MAPS[1:], batch_size=MAPS[0])
    x = inputs
    for index, pattern in enumerate(patterns):
        if isinstance(pattern, tad.ConvPattern):
            x = keras.layers.Conv2D(6, 3, padding="same")(x)
            x = keras.layers.BatchNormalization()(x)
            x = a_layer(pattern, mutable, site=str(index))(x)
    x = keras.layers.Reshape((9, 42))(x)
    for index, pattern in enumerate(patterns):
        if isinstance(pattern, tad.TransformerPattern):
            x = a_layer(pattern, mutable, site=str(index))(keras.layers.Dense(10)(x))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("mutable", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_train_step_with_every_kind_of_pattern_is_legal_on_a_tpu(mutable):
    model = small_network(list(KINDS.values()), mutable)
    assert len(pattern_layers(model)) == len(KINDS)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=True)
    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    arguments = tf.ones(MAPS), tf.zeros(MAPS[0], tf.int32)
    program = step.experimental_get_compiler_ir(*arguments)(stage="stablehlo")
    assert "stablehlo.multiply" in program
    assert "custom_call" not in program
    assert not re.search(r"tensor<[^>]*\?", program)  # a dynamic dimension
    assert not re.search(r"stablehlo\.(dynamic_(reshape|iota|broadcast_in_dim|pad|conv|gather)|rng)\b", program)
    before = [variable.numpy() for variable in model.trainable_variables]
    assert np.isfinite(step(*arguments))
    assert any((variable.numpy() != old).any() for variable, old in zip(model.trainable_variables, before, strict=True))


def test_what_a_compiled_pass_returns_says_its_shape_in_the_graph():
    # TensorFlow's optimizer does not look into a compiled function. Without its shape a square after it stayed a power:
    # 10 % of the step of a Llama.
    layer = tad.PatternDropout(tad.members.word_dropout(0.1))

    @tf.function(input_signature=[tf.TensorSpec((None, 128, 512))])
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**2)
        return loss, tape.gradient(loss, x)

    graph = step.get_concrete_function().graph.as_graph_def()
    nodes = {node.name: node for node in graph.node}
    compiled = {name for name, node in nodes.items() if node.attr["_XlaMustCompile"].b}
    assert len(compiled) == 3  # the draw, forward, backward
    for node in graph.node:
        for source in node.input:
            if source.split(":")[0] in compiled:
                assert node.op == "EnsureShape", node
    shapes = [[dim.size for dim in node.attr["shape"].shape.dim] for node in graph.node if node.op == "EnsureShape"]
    assert shapes.count([-1, 128, 512]) == 2


@pytest.mark.parametrize("installed", [True, False])
def test_the_build_for_tpus_compiles_nothing_on_the_processor_beside_them(installed, monkeypatch):
    def version(name):
        if not installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.20.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    fusion._is_built_for_tpus.cache_clear()
    with tf.Graph().as_default():
        assert (fusion.fused(tf.identity, tf.TensorShape([None, 2])) is tf.identity) == installed
    fusion._is_built_for_tpus.cache_clear()
