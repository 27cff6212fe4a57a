"""The layer `PatternDropout`: Keras' own harness, and what the masks' tests cannot see."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src import testing

import tf_autodropout as tad
from tests import reference
from tests.drawing import draw_mask
from tf_autodropout.layers import assign_patterns, pattern_layers
from tf_autodropout.masks import apply_mask, encode

CONV = tad.ConvPattern(size=2, stride=1, repeat=2, rotate=30)
TRANSFORMER = tad.TransformerPattern(size=2, stride=1, rate=0.5)
MAPS = (4, 7, 7, 3)  # odd sides
TOKENS = (4, 12, 5)
KINDS = [(CONV, MAPS), (TRANSFORMER, TOKENS)]


def ones(shape, dtype="float32"):
    return tf.ones(shape, dtype)


def step(layer, shape=MAPS):
    """Output of a training step on ones: 0 where dropped, one scale elsewhere."""
    return layer(ones(shape), training=True).numpy()


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")  # the harness fits on a generator
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")  # ... this layer alone
class HarnessTest(testing.TestCase):
    """Keras' harness for layers: serialization, shapes, dtypes, building, a step of `fit`, mixed precision."""

    def run_both(self, **kwargs):
        for pattern, shape in KINDS:
            for training in (True, False):
                self.run_layer_test(
                    tad.PatternDropout,
                    init_kwargs={"pattern": pattern, "seed": 1} | kwargs,
                    call_kwargs={"training": training},
                    input_shape=shape,
                    expected_output_shape=shape,
                    expected_num_trainable_weights=0,
                    expected_num_non_trainable_weights=1 if kwargs.get("mutable") else 0,
                    expected_num_seed_generators=1,
                    expected_num_non_trainable_variables=2 if kwargs.get("mutable") else 1,
                    expected_num_losses=0,
                    supports_masking=True,
                )

    def test_fixed(self):
        self.run_both()

    @pytest.mark.slow
    def test_mutable(self):
        self.run_both(mutable=True)

    def test_other_arguments(self):
        self.run_layer_test(
            tad.PatternDropout,
            init_kwargs={"pattern": CONV, "data_format": "channels_first", "site": "bn", "on_skip": True},
            call_kwargs={"training": True},
            input_shape=(2, 3, 7, 7),
            expected_output_shape=(2, 3, 7, 7),
        )
        self.run_layer_test(
            tad.PatternDropout,
            init_kwargs={"pattern": TRANSFORMER, "token_axis": 3, "seed": 3},
            call_kwargs={"training": True},
            input_shape=(2, 3, 4, 5),
            expected_output_shape=(2, 3, 4, 5),
        )


# What it computes


@pytest.mark.parametrize(("pattern", "shape"), KINDS)
@pytest.mark.parametrize("mutable", [False, True])
def test_inference_returns_the_very_tensor(pattern, shape, mutable):
    layer, x = tad.PatternDropout(pattern, mutable=mutable), ones(shape)
    assert layer(x, training=False) is x
    assert layer(x, training=None) is x
    assert layer(x) is x
    state = layer.seed_state.numpy().tolist()
    assert layer(x) is x
    assert layer.seed_state.numpy().tolist() == state  # and moves nothing


@pytest.mark.parametrize("pattern", [tad.ConvPattern(), tad.ConvPattern(size=3, rate=0)])
def test_the_identity_pattern_returns_the_very_tensor(pattern):
    x = ones(MAPS)
    assert tad.PatternDropout(pattern)(x, training=True) is x


@pytest.mark.parametrize(("pattern", "shape"), KINDS)
@pytest.mark.parametrize("mutable", [False, True])
def test_a_step_is_a_mask_and_equation_1(pattern, shape, mutable):
    layer = tad.PatternDropout(pattern, seed=11, mutable=mutable)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for count in range(3):
        mask = draw_mask(encode(pattern), shape, tf.constant([11, count]), "channels_last", 1, replica=0)
        assert layer(x, training=True).numpy() == pytest.approx(apply_mask(x, mask).numpy(), rel=1e-6)


def test_masks_are_those_of_the_definition_and_the_mean_is_preserved():
    layer = tad.PatternDropout(CONV, seed=0)
    legal = {mask.tobytes() for mask in reference.all_conv_masks(CONV, 7, 7).values()}
    for _ in range(5):
        result = step(layer)
        assert result.mean() == pytest.approx(1, rel=1e-5)
        maps = (result != 0).astype(np.int64).transpose(0, 3, 1, 2).reshape(-1, 7, 7)
        assert {one.tobytes() for one in maps} <= legal
        assert len({one.tobytes() for one in maps}) > 1


def test_everything_dropped_is_zeros_and_says_so_once():
    layer = tad.PatternDropout(tad.ConvPattern(size=9), name="silent")
    with pytest.warns(UserWarning, match=r"Layer 'silent' drops the whole map \(7, 7\) at every step.+rate below 1"):
        assert (step(layer) == 0).all()
    step(layer)  # a second warning would be an error
    assert (step(tad.PatternDropout(tad.TransformerPattern(size=9, rate=1)), (2, 9, 3)) == 0).all()


def test_data_format():
    last, first = (tad.PatternDropout(CONV, seed=3, data_format=name) for name in ("channels_last", "channels_first"))
    assert (step(first, (4, 3, 7, 7)) == step(last).transpose(0, 3, 1, 2)).all()
    assert last.data_format == keras.config.image_data_format() == tad.PatternDropout(CONV).data_format


def test_token_axis():
    pattern = tad.TransformerPattern(size=1, share_c=True, rate=0.5)
    result = step(tad.PatternDropout(pattern, token_axis=3), (4, 2, 3, 12))
    assert (result == result[:, :1, :1]).all()
    assert (result != result[..., :1]).any()


def test_the_gradient_goes_through_kept_cells_only():
    layer, x = tad.PatternDropout(CONV, seed=1), tf.Variable(ones(MAPS))
    with tf.GradientTape() as tape:
        y = layer(x, training=True)
        loss = tf.reduce_sum(y)
    assert (tape.gradient(loss, x).numpy() == y.numpy()).all()


# Seeds


@pytest.mark.parametrize(("pattern", "shape"), KINDS)
def test_steps_differ_and_a_seed_fixes_the_sequence(pattern, shape):
    def sequence(seed):
        layer = tad.PatternDropout(pattern, seed=seed)
        return [step(layer, shape).tobytes() for _ in range(4)]

    first = sequence(1)
    assert len(set(first)) == 4
    assert sequence(1) == first
    assert not set(sequence(2)) & set(first)


@pytest.mark.parametrize("seed", [0, -1, 2**31, 2**32 - 1, np.int64(5)])
def test_any_integer_is_a_seed(seed):
    layer = tad.PatternDropout(CONV, seed=seed)
    assert layer.seed == seed
    assert type(layer.get_config()["seed"]) is int
    assert (step(layer) != step(tad.PatternDropout(CONV, seed=seed + 1))).any()


def test_seeds_beyond_32_bits_are_seeds_of_their_own():
    masks = {}
    for seed in (0, 1, 2**32, 2**32 + 1, -1, 2**32 - 1, 2**64):
        layer = tad.PatternDropout(tad.members.dropout(0.5), seed=seed)
        masks[layer(tf.ones((1, 8, 16)), training=True).numpy().tobytes()] = seed
    assert len(masks) == 7


def test_keras_random_state_fixes_layers_without_a_seed():
    def pair():
        return [step(tad.PatternDropout(CONV)).tobytes() for _ in range(2)]

    keras.utils.set_random_seed(5)
    first = pair()
    assert first[0] != first[1]
    keras.utils.set_random_seed(5)
    assert pair() == first
    keras.utils.set_random_seed(6)
    assert pair() != first


def test_reseed_starts_anew():
    layer = tad.PatternDropout(CONV, seed=1)
    first = [step(layer).tobytes() for _ in range(2)]
    layer.reseed(2)
    other = [step(layer).tobytes() for _ in range(2)]
    layer.reseed(1)
    assert [step(layer).tobytes() for _ in range(2)] == first
    assert other[0] != first[0]
    assert layer.get_config()["seed"] == 1


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("pattern", "shape"), KINDS)
def test_graph_and_xla_equal_eager(pattern, shape, jit_compile):
    eager, compiled = (tad.PatternDropout(pattern, seed=4) for _ in range(2))
    function = tf.function(lambda x: compiled(x, training=True), jit_compile=jit_compile)
    for _ in range(3):
        assert function(ones(shape)).numpy() == pytest.approx(step(eager, shape), rel=1e-6)


def test_unknown_sizes_in_a_graph():
    eager, compiled = (tad.PatternDropout(CONV, seed=4) for _ in range(2))
    function = tf.function(lambda x: compiled(x, training=True), input_signature=[tf.TensorSpec([None, None, None, 3])])
    assert (function(ones(MAPS)).numpy() == step(eager)).all()


# Mutable layers

CHANGES = [
    tad.ConvPattern(size=3),
    tad.ConvPattern(size=(1, 4), rotate=20, repeat=2),
    tad.ConvPattern(),
    tad.ConvPattern(size=9, rate=0.5),
    tad.ConvPattern(size=2, share_c=True),
    CONV,
]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_assign_equals_a_fixed_layer_without_a_new_trace(jit_compile):
    layer, traces = tad.PatternDropout(CONV, seed=7, mutable=True), []

    @tf.function(jit_compile=jit_compile)
    def compiled(x):
        traces.append(1)
        return layer(x, training=True)

    compiled(ones(MAPS))
    wrong = []
    for pattern in CHANGES:
        layer.assign(pattern)
        layer.reseed(8)
        assert layer.pattern == pattern
        fixed = tad.PatternDropout(pattern, seed=8)
        if any(compiled(ones(MAPS)).numpy() != pytest.approx(step(fixed), rel=1e-6) for _ in range(2)):
            wrong.append(pattern)
    assert len(traces) == 1
    assert not wrong


def test_assign_to_a_transformer_site():
    layer = tad.PatternDropout(tad.TransformerPattern(), seed=7, mutable=True)
    for pattern in (TRANSFORMER, tad.TransformerPattern(size=1, share_c=True, rate=0.3)):
        layer.assign(pattern)
        layer.reseed(3)
        assert (step(layer, TOKENS) == step(tad.PatternDropout(pattern, seed=3), TOKENS)).all()


def test_assign_is_checked():
    with pytest.raises(ValueError, match="has a fixed pattern"):
        tad.PatternDropout(CONV).assign(CONV)
    layer = tad.PatternDropout(CONV, mutable=True, site="bn")
    with pytest.raises(TypeError, match="Site 'bn' needs a ConvPattern. Received: TransformerPattern"):
        layer.assign(TRANSFORMER)
    for value in (None, {"size": 2}, encode(CONV)):
        with pytest.raises(TypeError, match="Expected 'pattern' to be a ConvPattern, a TransformerPattern"):
            layer.assign(value)
    assert layer.pattern == CONV


def test_assign_patterns_to_a_model():
    x = inputs = keras.Input((7, 7, 3))
    for name in ("a", "a", "b"):
        x = tad.PatternDropout(tad.ConvPattern(), site=name, mutable=True)(x)
    x = tad.PatternDropout(CONV, site="fixed")(x)
    model = keras.Model(inputs, x)
    found = pattern_layers(model)
    assert {site: len(layers) for site, layers in found.items()} == {"a": 2, "b": 1, "fixed": 1}
    assign_patterns(model, tad.PatternSet({"a": CONV}))
    assert [layer.pattern for layer in found["a"]] == [CONV, CONV]
    assign_patterns(model, tad.PatternSet({"b": CONV}))  # what a set does not name gets no pattern
    assert [layer.pattern for layer in (*found["a"], *found["b"])] == [tad.ConvPattern(), tad.ConvPattern(), CONV]
    assert found["fixed"][0].pattern == CONV
    for site in ("nowhere", "fixed"):
        with pytest.raises(ValueError, match=f"not mutable sites of this model: {site}"):
            assign_patterns(model, tad.PatternSet({site: CONV}))
    with pytest.raises(TypeError, match="Site 'b' needs a ConvPattern"):
        assign_patterns(model, tad.PatternSet({"b": TRANSFORMER}))


# Skip connections


@pytest.mark.parametrize("mutable", [False, True])
def test_on_skip_only_the_residual_token_acts(mutable):
    plain, residual = tad.ConvPattern(size=3), tad.ConvPattern(size=3, residual=True)

    def layer(pattern, on_skip):
        return tad.PatternDropout(pattern, seed=1, on_skip=on_skip, mutable=mutable)

    assert (step(layer(plain, on_skip=True)) == 1).all()
    for pattern, on_skip in ((plain, False), (residual, False), (residual, True)):
        assert (step(layer(pattern, on_skip)) == step(tad.PatternDropout(plain, seed=1))).all()


def test_on_skip_follows_assign():
    layer = tad.PatternDropout(tad.ConvPattern(size=3), seed=1, on_skip=True, mutable=True)
    assert (step(layer) == 1).all()
    layer.assign(tad.ConvPattern(size=3, residual=True))
    assert (step(layer) == 0).any()
    layer.assign(tad.ConvPattern(size=4))
    assert (step(layer) == 1).all()


def test_on_skip_a_transformer_pattern_always_acts():
    assert (step(tad.PatternDropout(TRANSFORMER, on_skip=True), TOKENS) == 0).any()


# Errors


@pytest.mark.parametrize("pattern", [None, "0.5", {"size": 2}, tad.ConvPattern, tad.PatternSet({})])
def test_the_pattern_is_checked(pattern):
    with pytest.raises(TypeError, match=r"Expected 'pattern' to be a ConvPattern, a Transf.+\. Received: "):
        tad.PatternDropout(pattern)


@pytest.mark.parametrize("data_format", ["NCHW", "last", ""])
def test_data_format_is_checked(data_format):
    with pytest.raises(ValueError, match=r"^Invalid value for 'data_format'\. Expected .+\. Received: data_format="):
        tad.PatternDropout(CONV, data_format=data_format)


WRONG_RANKS = [(CONV, (2,)), (CONV, (2, 7)), (CONV, (2, 7, 7, 7, 3, 1)), (TRANSFORMER, (2,))]


@pytest.mark.parametrize(("pattern", "shape"), WRONG_RANKS)
def test_the_rank_is_checked_while_building_a_model(pattern, shape):
    with pytest.raises(ValueError, match=f"{pattern.TYPE} needs a tensor .+rank {len(shape)}"):
        tad.PatternDropout(pattern)(keras.Input(shape[1:]))


@pytest.mark.parametrize(("pattern", "shape"), WRONG_RANKS)
@pytest.mark.parametrize("training", [False, True])
def test_the_rank_is_checked_on_a_tensor(pattern, shape, training):
    with pytest.raises(ValueError, match=f"{pattern.TYPE} needs a tensor .+rank {len(shape)}"):
        tad.PatternDropout(pattern)(ones(shape), training=training)


@pytest.mark.parametrize("token_axis", [0, 3, -1])
def test_the_token_axis_is_checked(token_axis):
    with pytest.raises(ValueError, match=f"Invalid value for 'token_axis'.+token_axis={token_axis}"):
        tad.PatternDropout(TRANSFORMER, token_axis=token_axis)(keras.Input((12, 5)))


# Models


def small_model(pattern, **kwargs):
    inputs = keras.Input(MAPS[1:] if isinstance(pattern, tad.ConvPattern) else TOKENS[1:])
    x = keras.layers.Dense(4)(inputs)
    x = tad.PatternDropout(pattern, seed=5, **kwargs)(x)
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))


@pytest.mark.parametrize(("pattern", "shape"), KINDS)
@pytest.mark.parametrize("mutable", [False, True])
def test_keras_file_round_trip(pattern, shape, mutable, tmp_path):
    model = small_model(pattern, mutable=mutable, site="here")
    model(ones(shape), training=True)  # a step, so that the state is not the initial one
    if mutable:
        pattern = type(pattern)(size=3, rate=0.5)
        pattern_layers(model)["here"][0].assign(pattern)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    layer = pattern_layers(loaded)["here"][0]
    assert layer.pattern == pattern
    assert layer.mutable is mutable
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for training in (False, True, True):  # the sequence of masks goes on where it was
        assert loaded(x, training=training).numpy() == pytest.approx(model(x, training=training).numpy(), rel=1e-5)


def test_config_round_trip_keeps_everything():
    layer = tad.PatternDropout(
        tad.ConvPattern(size=(2, 3), shear_x=0.1, residual=True),
        seed=9,
        data_format="channels_first",
        site="bn",
        on_skip=True,
        mutable=True,
        name="here",
    )
    config = json.loads(json.dumps(layer.get_config()))
    again = tad.PatternDropout.from_config(config)
    assert again.get_config() == layer.get_config()
    assert again.pattern == layer.pattern
    assert (again.seed, again.site, again.on_skip, again.mutable) == (9, "bn", True, True)
    assert again.data_format == "channels_first"
    keys = tad.PatternDropout(TRANSFORMER, token_axis=3)
    assert tad.PatternDropout.from_config(keys.get_config()).token_axis == 3


@pytest.mark.parametrize("jit_compile", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize(("pattern", "shape"), KINDS)
def test_fit(pattern, shape, jit_compile):
    model = small_model(pattern, mutable=jit_compile)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, *shape[1:])).astype(np.float32)
    y = x.mean(tuple(range(1, x.ndim)))[:, None]
    model.compile("adam", "mse", jit_compile=jit_compile)
    losses = model.fit(x, y, batch_size=16, epochs=8, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    layer = next(iter(pattern_layers(model).values()))[0]
    assert layer.seed_state.numpy().tolist() == [5, 8 * 4]  # one mask a step
    assert model.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16", "float64"])
@pytest.mark.parametrize(("pattern", "shape"), KINDS)
def test_dtype_policies(pattern, shape, policy):
    layer = tad.PatternDropout(pattern, seed=2, dtype=policy, mutable=True)
    y = layer(ones(shape), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    assert layer.compute_dtype == policy.removeprefix("mixed_")
    kept = (y != 0).numpy()
    assert (kept == (step(tad.PatternDropout(pattern, seed=2), shape) != 0)).all()  # the mask knows no dtype
    assert tf.reduce_max(tf.cast(y, tf.float32)).numpy() == pytest.approx(kept.size / kept.sum(), rel=0.01)
    assert layer.seed_state.dtype == "int64"


def test_a_keras_mask_passes_through():
    x = keras.layers.Embedding(5, 4, mask_zero=True)(tf.constant([[1, 2, 0]]))
    y = tad.PatternDropout(TRANSFORMER)(x, training=True)
    assert y._keras_mask.numpy().tolist() == [[True, True, False]]


@pytest.mark.parametrize("seed", [1.5, "3", True])
def test_a_seed_that_is_no_integer_is_refused(seed):
    with pytest.raises(ValueError, match="Invalid value for 'seed'"):
        tad.PatternDropout(tad.ConvPattern(size=1), seed=seed)


def test_integers_and_wrong_flags_are_refused():
    layer = tad.PatternDropout(TRANSFORMER)
    for dtype in ("int32", "bool"):
        with pytest.raises(TypeError, match=f"needs a floating-point tensor. Received: dtype=.*{dtype}"):
            layer(tf.cast(tf.ones((2, 4, 3)), dtype), training=True)
    for flag, value in (("on_skip", "False"), ("mutable", "False"), ("token_axis", 1.5), ("token_axis", 0)):
        with pytest.raises(ValueError, match=f"Invalid value for '{flag}'"):
            tad.PatternDropout(TRANSFORMER, **{flag: value})
