"""`PatternAttention`: Keras' attention without patterns, and what a pattern does at each site."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src import testing

import tf_autodropout as tad
from tf_autodropout.layers import ATTENTION_SITES, PatternAttention, assign_patterns, pattern_layers

N, T, C, HEADS, DIM = 3, 6, 8, 2, 5
EVERYTHING = tad.TransformerPattern(size=T, rate=1)
ALTERNATE = tad.TransformerPattern(size=1, stride=1, share_c=True, rate=1)  # every second token, from 0 or from 1
WORDS = tad.TransformerPattern(size=1, share_c=True, rate=0.5)


def inputs(seed=0):
    return tf.constant(np.random.default_rng(seed).standard_normal((N, T, C)), tf.float32)


def attention(patterns=None, **kwargs):
    """A built layer, its biases not zero."""
    layer = PatternAttention(HEADS, DIM, patterns=patterns, pattern_seed=3, bias_initializer="ones", **kwargs)
    layer.build((N, T, C), (N, T, C))
    return layer


def bias_only(layer):
    return np.broadcast_to(layer.output_dense.bias.numpy(), (N, T, C))


def train(layer, **kwargs):
    return layer(inputs(), inputs(1), training=True, **kwargs)


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")  # the harness fits on a generator
class HarnessTest(testing.TestCase):
    def test_harness(self):
        for patterns in (None, dict.fromkeys(ATTENTION_SITES, WORDS)):
            for training in (True, False):
                self.run_layer_test(
                    PatternAttention,
                    init_kwargs={"num_heads": HEADS, "key_dim": DIM, "patterns": patterns},
                    call_kwargs={"training": training},
                    input_shape={"query_shape": (N, T, C), "value_shape": (N, T, C)},
                    expected_output_shape=(N, T, C),
                    expected_num_trainable_weights=8,
                    expected_num_non_trainable_weights=0,
                    run_training_check=False,
                )


# Without patterns


def keras_twin(layer, **kwargs):
    twin = keras.layers.MultiHeadAttention(HEADS, DIM, **kwargs)
    twin.build((N, T, C), (N, T, C))
    assert len(twin.trainable_variables) == len(layer.trainable_variables)
    for ours, theirs in zip(layer.trainable_variables, twin.trainable_variables, strict=True):
        assert ours.path.split("/")[-2:] == theirs.path.split("/")[-2:]
        theirs.assign(ours)
    return twin


PADDING = tf.sequence_mask([6, 4, 2], T)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"use_causal_mask": True},
        {"attention_mask": tf.reshape(tf.range(N * T * T) % 3 > 0, (N, T, T))},
        {"value_mask": PADDING},
        {"use_causal_mask": True, "query_mask": PADDING, "value_mask": PADDING},
        {"key": inputs(2)},
    ],
    ids=["plain", "causal", "mask", "padding", "causal-padding", "key"],
)
def test_without_patterns_it_is_keras_attention(kwargs, training):
    layer = attention()
    wanted = keras_twin(layer)(inputs(), inputs(1), training=training, **kwargs)
    assert layer(inputs(), inputs(1), training=training, **kwargs).numpy() == pytest.approx(wanted.numpy(), abs=1e-6)


def test_attention_scores_are_those_of_keras():
    layer = attention()
    wanted = keras_twin(layer)(inputs(), inputs(1), return_attention_scores=True, use_causal_mask=True)
    result = layer(inputs(), inputs(1), return_attention_scores=True, use_causal_mask=True)
    for ours, theirs in zip(result, wanted, strict=True):
        assert ours.numpy() == pytest.approx(theirs.numpy(), abs=1e-6)


@pytest.mark.parametrize("kwargs", [{"value_dim": 3}, {"use_bias": False}, {"output_shape": 4}])
def test_keras_arguments_are_kept(kwargs):
    layer = attention(**kwargs)
    twin = keras_twin(layer, **kwargs)
    wanted = twin(inputs(), inputs(1)).numpy()
    assert layer(inputs(), inputs(1)).numpy() == pytest.approx(wanted, abs=1e-6)


def test_keras_dropout_argument_is_not_lost():
    layer = attention(dropout=0.5)
    assert (train(layer).numpy() != layer(inputs(), inputs(1)).numpy()).any()


def test_attention_axes_are_followed_or_refused():
    x = tf.random.normal((2, 3, T, C))
    layer = None
    with contextlib.suppress(ValueError):
        layer = PatternAttention(HEADS, DIM, attention_axes=(2,))
    if layer is not None:
        layer.build(x.shape, x.shape)
        twin = keras.layers.MultiHeadAttention(HEADS, DIM, attention_axes=(2,))
        twin.build(x.shape, x.shape)
        for ours, theirs in zip(layer.trainable_variables, twin.trainable_variables, strict=True):
            theirs.assign(ours)
        assert layer(x, x).numpy() == pytest.approx(twin(x, x).numpy(), abs=1e-6)


def test_at_inference_patterns_do_nothing():
    layer = attention(dict.fromkeys(ATTENTION_SITES, EVERYTHING))
    wanted = keras_twin(layer)(inputs(), inputs(1), use_causal_mask=True).numpy()
    for kwargs in ({}, {"training": False}):
        assert layer(inputs(), inputs(1), use_causal_mask=True, **kwargs).numpy() == pytest.approx(wanted, abs=1e-6)


# Each site


def test_everything_dropped_at_value_leaves_the_bias():
    layer = attention({"value": EVERYTHING})
    assert train(layer).numpy() == pytest.approx(bias_only(layer), abs=1e-6)


def test_everything_dropped_at_softmax_leaves_the_bias():
    layer = attention({"softmax": EVERYTHING})
    assert train(layer).numpy() == pytest.approx(bias_only(layer), abs=1e-6)


def test_everything_dropped_at_output_leaves_nothing():
    assert (train(attention({"output": EVERYTHING})).numpy() == 0).all()


@pytest.mark.parametrize("site", ["query", "key"])
@pytest.mark.parametrize("causal", [False, True])
def test_everything_dropped_at_query_or_key_leaves_uniform_attention(site, causal):
    result, scores = train(attention({site: EVERYTHING}), return_attention_scores=True, use_causal_mask=causal)
    uniform = np.tril(np.ones((T, T))) if causal else np.ones((T, T))
    uniform /= uniform.sum(1, keepdims=True)
    assert scores.numpy() == pytest.approx(np.broadcast_to(uniform, (N, HEADS, T, T)), abs=1e-6)
    assert np.isfinite(result).all()


def alternate_tokens(flags):
    """True where `flags` (..., T) picks every second token, and no other."""
    return np.array_equal(flags, np.arange(T) % 2 == 0) or np.array_equal(flags, np.arange(T) % 2 == 1)


def test_the_tokens_at_query_are_queries():
    _, scores = train(attention({"query": ALTERNATE}), return_attention_scores=True)
    uniform = np.isclose(scores.numpy(), 1 / T, atol=1e-6).all((1, 3))  # (N, queries): all heads, all keys
    assert all(alternate_tokens(one) for one in uniform)


def test_the_tokens_at_key_are_keys():
    _, scores = train(attention({"key": ALTERNATE}), return_attention_scores=True)
    for one in scores.numpy():  # (heads, queries, keys); dropped keys have logit 0, so the same probability
        equal = [np.isclose(one[..., start::2], one[..., start : start + 1], rtol=1e-5).all() for start in (0, 1)]
        assert sorted(equal) == [False, True]


def test_the_tokens_at_value_are_values():
    layer = attention({"value": ALTERNATE}, use_bias=False)
    scores = layer(inputs(), inputs(1), return_attention_scores=True)[1].numpy()
    values = layer.value_dense(inputs(1)).numpy()  # (N, T, heads, dim)
    result = train(layer).numpy()
    for n in range(N):
        wanted = []
        for start in (0, 1):
            kept = values[n] * 2  # Eq. 1: half of the tokens are kept
            kept[start::2] = 0
            heads = np.einsum("hqk,khd->qhd", scores[n], kept)
            wanted.append(layer.output_dense(heads[None]).numpy()[0])
        assert any(result[n] == pytest.approx(one, abs=1e-5) for one in wanted)


def test_the_tokens_at_softmax_are_keys():
    layer = attention({"softmax": ALTERNATE})
    plain = layer(inputs(), inputs(1), return_attention_scores=True)[1].numpy()
    scores = train(layer, return_attention_scores=True)[1].numpy()
    assert all(alternate_tokens((one == 0).all((0, 1))) for one in scores)
    assert scores[scores > 0] == pytest.approx(2 * plain[scores > 0], rel=1e-5)


def test_the_tokens_at_output_are_those_of_the_result():
    layer = attention({"output": ALTERNATE})
    plain = layer(inputs(), inputs(1)).numpy()
    result = train(layer).numpy()
    assert all(alternate_tokens((one == 0).all(1)) for one in result)
    assert result[result != 0] == pytest.approx(2 * plain[result != 0], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("site", ["query", "key", "value"])
@pytest.mark.parametrize("share_c", [False, True])
def test_features_at_a_projection_are_heads_and_dimensions(site, share_c):
    pattern = tad.TransformerPattern(size=1, share_c=share_c, rate=0.5)
    kept = attention({site: pattern}).pattern_layers[site](tf.ones((N, T, HEADS, DIM)), training=True).numpy()
    assert (kept == kept[:, :, :1, :1]).all() == share_c
    assert (kept != kept[:, :1]).any()
    assert (kept != kept[:1]).any()
    if not share_c:
        assert (kept != kept[:, :, :1]).any()
        assert (kept != kept[..., :1]).any()


@pytest.mark.parametrize("share_c", [False, True])
def test_features_at_softmax_are_heads_and_queries(share_c):
    pattern = tad.TransformerPattern(size=1, share_c=share_c, rate=0.5)
    kept = train(attention({"softmax": pattern}), return_attention_scores=True)[1].numpy() > 0
    assert (kept == kept[:, :1, :1]).all() == share_c
    assert (kept != kept[..., :1]).any()


def test_features_at_output():
    for share_c in (False, True):
        pattern = tad.TransformerPattern(size=1, share_c=share_c, rate=0.5)
        kept = train(attention({"output": pattern})).numpy() != 0
        assert (kept == kept[..., :1]).all() == share_c


def test_sites_draw_their_own_masks():
    layer = attention(dict.fromkeys(ATTENTION_SITES, WORDS))
    found = {}
    for site in ("query", "key", "value"):
        found[site] = layer.pattern_layers[site](tf.ones((20, T, HEADS, DIM)), training=True).numpy().tobytes()
    assert len(set(found.values())) == 3


def test_pattern_seed():
    def run(seed):
        layer = PatternAttention(HEADS, DIM, {"value": WORDS}, seed, kernel_initializer="ones")
        return [layer(inputs(), inputs(1), training=True).numpy().tobytes() for _ in range(3)]

    assert run(1) == run(1)
    assert len(set(run(1))) == 3
    assert run(1) != run(2)


# Errors, files, graphs


@pytest.mark.parametrize("site", ["ffn", "residual", "Query", "score"])
def test_unknown_sites_are_refused(site):
    with pytest.raises(
        ValueError, match=rf"^Invalid value for 'patterns'\. Expected sites among .+ Received: '{site}'"
    ):
        PatternAttention(HEADS, DIM, patterns={"query": WORDS, site: WORDS})


def test_a_pattern_of_maps_is_refused():
    with pytest.raises((TypeError, ValueError), match="TransformerPattern"):
        PatternAttention(HEADS, DIM, patterns={"query": tad.ConvPattern(size=2)})


def model_of(layer):
    x = keras.Input((T, C))
    return keras.Model(x, layer(x, x, use_causal_mask=True))


@pytest.mark.parametrize("mutable", [False, True])
def test_keras_file_round_trip(mutable, tmp_path):
    patterns = {"query": WORDS, "softmax": ALTERNATE, "output": tad.TransformerPattern(size=2, share_t=True, rate=0.3)}
    model = model_of(PatternAttention(HEADS, DIM, patterns, 5, mutable, name="attention"))
    if mutable:  # patterns exchanged later are kept as well
        patterns = {"key": WORDS, "softmax": WORDS}
        assign_patterns(model, tad.PatternSet(patterns))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    found = {site: layers[0].pattern for site, layers in pattern_layers(loaded).items()}
    assert found == {site: patterns.get(site, tad.TransformerPattern()) for site in ATTENTION_SITES}
    if not mutable:
        assert loaded.get_layer("attention").patterns == tad.PatternSet(patterns)
    for training in (False, True, True):
        wanted = model(inputs(), training=training).numpy()
        assert loaded(inputs(), training=training).numpy() == pytest.approx(wanted, abs=1e-6)


def test_assign_patterns_reaches_inside():
    model = model_of(PatternAttention(HEADS, DIM, mutable=True))
    assign_patterns(model, tad.PatternSet({"output": EVERYTHING}))
    assert (model(inputs(), training=True).numpy() == 0).all()
    assign_patterns(model, tad.PatternSet({}))
    assert model(inputs(), training=True).numpy() == pytest.approx(model(inputs()).numpy(), abs=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graph_and_xla_equal_eager(jit_compile):
    patterns = dict.fromkeys(ATTENTION_SITES, WORDS)
    eager, compiled = attention(patterns), attention(patterns)
    for ours, theirs in zip(eager.trainable_variables, compiled.trainable_variables, strict=True):
        theirs.assign(ours)
    function = tf.function(lambda x, y: compiled(x, y, training=True, use_causal_mask=True), jit_compile=jit_compile)
    for _ in range(2):
        wanted = train(eager, use_causal_mask=True).numpy()
        assert function(inputs(), inputs(1)).numpy() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    layer = PatternAttention(HEADS, DIM, dict.fromkeys(ATTENTION_SITES, WORDS), dtype=policy)
    result = layer(inputs(), inputs(1), training=True)
    assert result.dtype == layer.compute_dtype == policy.removeprefix("mixed_")
    assert np.isfinite(tf.cast(result, tf.float32).numpy()).all()
