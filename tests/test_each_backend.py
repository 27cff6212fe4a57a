"""Masks and layers on the backend that Keras runs on: `KERAS_BACKEND=jax python -m pytest tests/test_each_backend.py`.

The suite runs this file on TensorFlow; `test_other_backends` runs it on the others, each in a process of its own. What
must be the same everywhere is compared with NumPy, or with numbers that are written here.
"""

import hashlib
import itertools
import os

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests.random_patterns import random_cases
from tests.reference import drawn_offset, drawn_transformer_mask, mask_at
from tf_autodropout.layers import pattern_layers
from tf_autodropout.masks import apply_mask

BACKEND = keras.backend.backend()
TOGETHER = 20
BITS_OF_PATTERNS = {40: "f17e4050031c115b", 200: "27480668251710cf"}  # of SHA-256; they never change
BITS_OF_LAYERS = "cd0989c988034126"
TURNED = tad.ConvPattern(size=2, stride=1, repeat=2, rotate=30, shear_x=0.2)
KINDS = {
    "straight": (tad.ConvPattern(size=2, stride=1, repeat=2), (3, 9, 7, 4)),
    "turned": (TURNED, (3, 9, 7, 4)),
    "turned-long": (tad.ConvPattern(size=2, stride=30, repeat=2, rotate=30, share_c=True), (3, 9, 7, 4)),
    "large": (tad.ConvPattern(size=5, stride=2, repeat=2), (2, 40, 40, 32)),
    "dropout": (tad.members.dropout(0.3), (3, 13, 10)),
    "blocks": (tad.TransformerPattern(size=3, stride=2, share_t=True, rate=0.5), (3, 13, 10)),
}


def told_elsewhere(test):
    """On TensorFlow other tests tell the same, and more."""
    return pytest.mark.slow(test) if BACKEND == "tensorflow" else test


def array(x):
    return keras.ops.convert_to_numpy(x)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2, shape).astype("float32")


def value_and_gradient(layer, h, dy):
    """`layer(h)` in training, and its gradient, as a training step computes them."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function
        def step(h):
            with tf.GradientTape() as tape:
                tape.watch(h)
                y = layer(h, training=True)
            return y, tape.gradient(y, h, tf.constant(dy))

        return [array(one) for one in step(tf.constant(h))]
    if BACKEND == "jax":
        import jax

        variables = layer.variables

        @jax.jit
        def step(values, h):
            def call(h):
                with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
                    y = layer(h, training=True)
                return y, [scope.get_current_value(one) for one in variables]

            y, backward, after = jax.vjp(call, h, has_aux=True)
            return y, backward(dy)[0], after

        y, dh, after = step([one.value for one in variables], h)
        for variable, value in zip(variables, after, strict=True):
            variable.assign(variable if value is None else value)
        return array(y), array(dh)
    import torch

    x = torch.tensor(h, requires_grad=True)
    y = layer(x, training=True)
    y.backward(torch.tensor(dy))
    return array(y), array(x.grad)


# Bits


def masks(count):
    """Yields the cases with their masks, uint8; on JAX a few are compiled together, which takes less time."""
    cases = list(random_cases(count))
    for start in range(0, count, TOGETHER):
        here = cases[start : start + TOGETHER]

        def drawn(here=here):
            return [tad.keep_mask(pattern, shape, seed, **where) for pattern, shape, where, seed in here]

        if BACKEND == "jax":
            import jax

            drawn = jax.jit(drawn)
        for case, mask in zip(here, drawn(), strict=True):
            yield *case, np.broadcast_to(array(mask), case[1]).astype(np.uint8)


@pytest.mark.parametrize(
    "count",
    [40, pytest.param(200, marks=[pytest.mark.slow] if BACKEND == "jax" else [])],  # JAX compiles them all
)
def test_the_bits_of_random_patterns_are_those_of_numpy_and_of_every_backend(count):
    digest, compared, dropped = hashlib.sha256(), 0, 0
    for pattern, shape, where, seed, mask in masks(count):
        digest.update(np.packbits(mask).tobytes())
        dropped += int((mask == 0).any())
        if (wanted := by_definition(pattern, shape, where, seed)) is not None:
            assert np.array_equal(mask, wanted), (pattern, shape, where, seed)
            compared += 1
    assert compared > count / 2
    assert dropped > count / 2
    assert digest.hexdigest()[:16] == BITS_OF_PATTERNS[count]


def by_definition(pattern, shape, where, seed):
    """The mask in plain Python; None for maps of one or three axes, and DropBlock."""
    if isinstance(pattern, tad.TransformerPattern):
        return np.stack([drawn_transformer_mask(pattern, *shape[1:], seed, example) for example in range(shape[0])])
    if not isinstance(pattern, tad.ConvPattern) or len(shape) != 4:
        return None
    first = where["data_format"] == "channels_first"
    n, height, width, channels = (shape[0], *shape[2:], shape[1]) if first else shape
    pattern = pattern.resolve((height, width))
    mask = np.ones((n, height, width, channels), np.uint8)
    for example, channel in itertools.product(range(n), range(channels)):
        offset = drawn_offset(pattern, height, width, seed, example, channel, channels)
        if offset is not None:
            mask[example, :, :, channel] = mask_at(pattern, height, width, offset)
    return np.moveaxis(mask, -1, 1) if first else mask


# Layers


@told_elsewhere
@pytest.mark.parametrize(
    ("kind", "mutable"), [*((kind, False) for kind in KINDS), ("turned-long", True), ("dropout", True)]
)
def test_forward_and_backward_are_equation_1(kind, mutable):
    pattern, shape = KINDS[kind]
    layer = tad.PatternDropout(pattern, seed=3, mutable=mutable)
    h, dy = numbers(shape), numbers(shape, 1)
    masks = []
    for step in range(2):
        y, dh = value_and_gradient(layer, h, dy)
        mask = drawn_by_a_layer(pattern, shape, step)
        scale = mask * np.float32(mask.size) / max(mask.sum(), 1)
        np.testing.assert_allclose(y, h * scale, rtol=1e-6)
        np.testing.assert_allclose(dh, dy * scale, rtol=1e-6)
        masks.append(mask)
    assert not np.array_equal(*masks)


def drawn_by_a_layer(pattern, shape, step, seed=3):
    """The mask of a layer's step: that of its seed and replica 0, found by the layer that others are compared with."""
    layer = tad.PatternDropout(pattern, seed=seed)
    layer.seed_state.assign([seed, step])
    return (array(layer(np.ones(shape, "float32"), training=True)) != 0).astype("float32")


def test_the_masks_of_a_layer_are_the_same_everywhere():
    drawn = [drawn_by_a_layer(*KINDS[kind], step=5) for kind in KINDS]
    digest = hashlib.sha256(b"".join(np.packbits(mask.astype(np.uint8)).tobytes() for mask in drawn))
    assert digest.hexdigest()[:16] == BITS_OF_LAYERS


def test_a_mask_that_drops_all_gives_zeros():
    y = apply_mask(np.ones((2, 3), "float32"), np.zeros((2, 3), "float32"))
    assert np.array_equal(array(y), np.zeros((2, 3)))


@told_elsewhere
def test_half_precision():
    for dtype in ("float16", "bfloat16"):
        layer = tad.PatternDropout(tad.members.dropout(0.5), seed=0, dtype=dtype)
        y = layer(keras.ops.ones((8, 16, 16), dtype), training=True)
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        assert set(np.unique(np.round(array(y).astype("float32"), 1))) == {0.0, 2.0}


@told_elsewhere
def test_schedules_count_steps():
    schedule = tad.Schedule.ramp_up(4)
    pattern, x = tad.members.dropout(0.5), np.ones((64, 1, 64), "float32")
    fixed, mutable = (tad.PatternDropout(pattern, 1, schedule=schedule, mutable=one) for one in (False, True))
    for step in range(6):
        y = array(fixed(x, training=True))
        assert np.array_equal(y, array(mutable(x, training=True)))
        share = float(np.mean(y == 0))
        assert share == pytest.approx(0.5 * schedule(step), abs=0.05)


@told_elsewhere
def test_patterns_in_variables_are_exchanged():
    layer = tad.PatternDropout(tad.ConvPattern(), seed=3, mutable=True)
    x = np.ones((3, 9, 7, 4), "float32")
    assert (array(layer(x, training=True)) == 1).all()
    for kind in ("straight", "turned", "turned-long"):
        layer.assign(KINDS[kind][0])
        layer.seed_state.assign([3, 5])
        assert np.array_equal(array(layer(x, training=True)) != 0, drawn_by_a_layer(*KINDS[kind], step=5))


@told_elsewhere
def test_scores_are_lowered():
    layer = tad.PatternDropout(tad.members.word_dropout(0.5), seed=0, token_axis=3, before_softmax=True)
    scores = array(layer(np.zeros((2, 2, 8, 8), "float32"), training=True))
    assert set(np.unique(scores)) == {0.0, -1e4}


# Models


def convnet():
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(8, 3, padding="same", name="conv")(image))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(image, layers.Dense(3, name="head")(x))


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """Attention and a feed-forward branch in somebody's own code."""

    def build(self, shape):
        layers = keras.layers
        self.norm = layers.LayerNormalization(name="norm")
        self.q, self.k, self.v, self.o = (layers.Dense(shape[-1], name=name) for name in ("q", "k", "v", "o"))
        self.up, self.down = layers.Dense(16, activation="gelu", name="up"), layers.Dense(shape[-1], name="down")
        for layer in (self.norm, self.q, self.k, self.v, self.o, self.up):
            layer.build(shape)
        self.down.build((*shape[:-1], 16))

    def call(self, x, training=None):
        h = self.norm(x)
        weights = keras.ops.softmax(keras.ops.einsum("nqd,nkd->nqk", self.q(h), self.k(h)) * 0.3)
        x = x + self.o(keras.ops.einsum("nqk,nkd->nqd", weights, self.v(h)))
        return x + self.down(self.up(x))


def text_model():
    tokens = keras.Input((8, 8))
    attended = keras.layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens)
    x = Block(name="block")(keras.layers.Add()([tokens, attended]))
    return keras.Model(tokens, keras.layers.Dense(3)(x[:, 0]))


MODELS = {
    "convnet": (convnet, tad.ConvPattern(2), (8, 8, 3)),
    "text": (text_model, tad.members.word_dropout(0.3), (8, 8)),
}
each_model = pytest.mark.parametrize(("build", "pattern", "shape"), MODELS.values(), ids=list(MODELS))


def test_the_sites_of_attention_in_somebodys_code_are_found():
    rows = [(site.name, site.kind, site.shape) for site in tad.sites(text_model())]
    assert [row for row in rows if row[0].startswith("block")] == [
        ("block/q", "query", (8, 8)),
        ("block/k", "key", (8, 8)),
        ("block/v", "value", (8, 8)),
        ("block/o", "output", (8, 8)),
        ("block/down", "ffn", (8, 8)),
    ]
    assert [site.kind for site in tad.sites(text_model())][:5] == ["query", "key", "value", "softmax", "output"]


class Unnamed(keras.layers.Layer):
    """Layers that only the attributes name."""

    def __init__(self):
        super().__init__()
        self.first, self.inner, self.rest = keras.layers.Dense(4), Pair(), [keras.layers.Dense(4)]
        self.again = self.first

    def call(self, x):
        return self.rest[0](self.inner(self.first(x)))


class Pair(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.up, self.down = keras.layers.Dense(8), keras.layers.Dense(4)

    def call(self, x):
        return x + self.down(self.up(x))


def test_sites_are_named_by_attributes():
    tokens = keras.Input((5, 4))
    model = keras.Model(tokens, Unnamed()(tokens))
    names = [site.name.partition("/")[2] for site in tad.sites(model, every=True)]
    assert sorted(filter(None, names)) == ["first", "inner", "inner/down", "inner/up", "rest/0"]


@told_elsewhere
@each_model
def test_a_model_is_regularized_trained_saved_and_stripped(build, pattern, shape, tmp_path):
    plain = build()
    x, y = numbers((16, *shape)), np.arange(16) % 3
    model = tad.regularize(plain, pattern)
    assert [site.pattern for site in tad.sites(model) if site.pattern] != []
    assert np.allclose(array(model(x)), array(plain(x)), atol=1e-6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    before = array(model.trainable_variables[0])
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert not np.array_equal(array(model.trainable_variables[0]), before)
    assert {int(array(one.seed_state)[1]) for here in pattern_layers(model).values() for one in here} == {4}
    assert np.array_equal(array(plain.trainable_variables[0]), array(build().trainable_variables[0])) is False
    model.save(tmp_path / "model.keras")
    loaded = tad.load_model(tmp_path / "model.keras")
    assert [site.pattern for site in tad.sites(loaded)] == [site.pattern for site in tad.sites(model)]
    assert np.allclose(array(loaded(x, training=True)), array(model(x, training=True)), atol=1e-5)  # the next masks
    stripped = tad.strip(model)
    assert {site.pattern for site in tad.sites(stripped)} == {None}
    assert np.allclose(array(stripped(x)), array(model(x)), atol=1e-6)


class Again(keras.layers.Layer):
    """A block that is run a second time in the backward pass."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def call(self, x, training=None):
        return keras.remat(lambda x: self.block(x, training=training))(x)


def no_jax_that_tells():
    """JAX 0.8.1 tells no function that it is in a block that runs again: an error there, as with Keras' Dropout."""
    if BACKEND != "jax":
        return False
    import jax.extend

    return not hasattr(jax.extend.core, "take_current_trace")


@pytest.mark.skipif(BACKEND == "tensorflow", reason="test_rematerialization")
@pytest.mark.skipif(no_jax_that_tells(), reason="a newer JAX tells which blocks run again")
@pytest.mark.parametrize(
    ("kind", "mutable"),
    [("dropout", True), *(pytest.param(kind, False, marks=pytest.mark.slow) for kind in ("straight", "large"))],
)
def test_a_block_that_runs_again_has_the_mask_of_the_forward_pass(kind, mutable):
    pattern, shape = KINDS[kind]

    def trained(around):
        x = keras.Input(shape[1:])
        dense, drop = keras.layers.Dense(shape[-1]), tad.PatternDropout(pattern, seed=3, mutable=mutable)
        block = keras.Model(x, keras.layers.Dense(2)(drop(dense(x))))
        for place, variable in enumerate(block.trainable_variables):
            variable.assign(numbers(variable.shape, place))
        model = keras.Model(x, around(block)(x))
        model.compile(keras.optimizers.SGD(1e-3), "mse")
        model.fit(numbers(shape), np.zeros((*shape[:-1], 2)), batch_size=shape[0], epochs=2, shuffle=False, verbose=0)
        assert [int(one) for one in array(drop.seed_state)] == [3, 2]
        return [array(one) for one in model.trainable_variables]

    for again, plain in zip(trained(Again), trained(lambda block: block), strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-5, atol=1e-6)


@told_elsewhere
def test_monte_carlo_presets_and_pictures():
    model = tad.regularize(convnet(), "convnet-spatial-0.1")
    mean, deviation = tad.monte_carlo(model, numbers((4, 8, 8, 3)), samples=8)
    again, _ = tad.monte_carlo(model, numbers((4, 8, 8, 3)), samples=8)
    assert mean.shape == (4, 3)
    assert (deviation > 0).any()
    assert np.array_equal(mean, again)
    figures = [tad.visualize.plot(TURNED, (8, 8, 3)), tad.show(model), tad.show(model, numbers((2, 8, 8, 3)))]
    assert all(figure.axes for figure in figures)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has all")
def test_what_needs_tensorflow_says_so():
    with pytest.raises(NotImplementedError, match=BACKEND):
        tad.search.run("digits", 1, "run")
    with pytest.raises(NotImplementedError, match=BACKEND):
        tad.models.wide_resnet(10, 1)
    with pytest.raises(NotImplementedError, match=BACKEND):
        tad.AutoDropout(convnet)


@pytest.mark.skipif(BACKEND != "jax" or "force_host" not in os.environ.get("XLA_FLAGS", ""), reason="needs 8 devices")
def test_masks_do_not_depend_on_the_number_of_devices():
    def gradient(pattern, shape, mutable):
        class Shifted(keras.layers.Layer):
            def build(self, _):
                self.shift = self.add_weight(shape=shape, initializer="zeros")

            def call(self, x):
                return x + self.shift

        inputs, shifted = keras.Input(batch_shape=shape), Shifted()
        outputs = tad.PatternDropout(pattern, seed=1, mutable=mutable)(shifted(inputs))
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.SGD(1.0), lambda y, x: keras.ops.sum(x, axis=list(range(1, len(shape)))))
        model.fit(np.ones(shape), np.zeros(shape), batch_size=shape[0], verbose=0)
        return array(shifted.shift)

    assert len(keras.distribution.list_devices()) == 8
    for kind, mutable in (("turned", False), ("dropout", True)):
        pattern, shape = KINDS[kind]
        alone = gradient(pattern, (16, *shape[1:]), mutable)
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        try:
            spread = gradient(pattern, (16, *shape[1:]), mutable)
        finally:
            keras.distribution.set_distribution(None)
        assert (alone == 0).any()
        assert np.array_equal(alone, spread)


@pytest.mark.skipif("MODELS_OF_TENSORFLOW" not in os.environ, reason="models of TensorFlow, from test_other_backends")
def test_models_of_tensorflow_draw_the_same_next_masks():
    folder = os.environ["MODELS_OF_TENSORFLOW"]
    for name, (_, _, shape) in MODELS.items():
        model = tad.load_model(f"{folder}/tensorflow_{name}.keras")
        next_outputs = np.load(f"{folder}/tensorflow_{name}.npy")
        model.save(f"{folder}/{BACKEND}_{name}.keras")
        x = numbers((4, *shape))
        np.testing.assert_allclose(array(model(x, training=True)), next_outputs, atol=1e-5)
