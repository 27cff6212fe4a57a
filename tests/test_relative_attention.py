"""`RelativeAttention` and `SegmentMemory`: the definition in slow NumPy, memory, and a pattern at each site."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tf_autodropout.layers import ATTENTION_SITES, assign_patterns, pattern_layers
from tf_autodropout.layers.relative_attention import RelativeAttention
from tf_autodropout.layers.segment_memory import SegmentMemory

N, T, M, C, HEADS, DIM = 2, 4, 5, 8, 2, 3
EVERYTHING = tad.TransformerPattern(size=M + T, rate=1)
WORDS = tad.TransformerPattern(size=1, share_c=True, rate=0.5)


def draw(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng([seed, *shape]).standard_normal(shape), tf.float32)


def attention(patterns=None, **kwargs) -> RelativeAttention:
    """A built layer with biases u and v that are not zero."""
    layer = RelativeAttention(HEADS, DIM, patterns, 3, kernel_initializer=keras.initializers.RandomNormal(), **kwargs)
    layer.build((N, T, C), (N, M, C), (N,))
    for number, variable in enumerate(layer.trainable_variables):
        variable.assign(draw(*variable.shape, seed=number))
    return layer


def run(layer: RelativeAttention, remembered=(M, 2), training: bool = False, memory_length: int = M) -> np.ndarray:
    memory = draw(N, memory_length, C, seed=9)
    return layer(draw(N, T, C), memory, tf.constant(remembered), training=training).numpy()


def by_hand(layer: RelativeAttention, remembered, memory_length: int = M) -> np.ndarray:
    """The definition, one query, key and head at a time."""
    weights = {variable.path.rsplit("/", 2)[-2]: variable.numpy() for variable in layer.trainable_variables}
    u, v = layer.content_bias.numpy(), layer.position_bias.numpy()
    x, memory = draw(N, T, C).numpy(), draw(N, memory_length, C, seed=9).numpy()
    result = np.zeros((N, T, C))
    for n, t, h in itertools.product(range(N), range(T), range(HEADS)):
        query = x[n, t] @ weights["query_dense"][:, h]
        scores, values = [], []
        for place in range(-remembered[n], t + 1):  # 0: the first token of the segment
            token = x[n, place] if place >= 0 else memory[n, place]
            key = token @ weights["key_dense"][:, h]
            distance = [
                (math.sin if feature % 2 == 0 else math.cos)((t - place) / 10000 ** (feature // 2 * 2 / C))
                for feature in range(C)
            ]
            r = np.array(distance) @ weights["position_dense"][:, h]
            scores.append((query @ key + query @ r + u[h] @ key + v[h] @ r) / math.sqrt(DIM))
            values.append(token @ weights["value_dense"][:, h])
        p = np.exp(np.array(scores) - max(scores))
        result[n, t] += (p / p.sum()) @ np.array(values) @ weights["output_dense"][h]
    return result


@pytest.mark.parametrize(
    ("remembered", "memory_length"), [((M, 2), M), ((0, M), M), ((1, 2), 2), ((11, 7), 11), ((0, 0), 0)]
)
def test_it_is_the_definition(remembered, memory_length: int) -> None:
    layer = attention()
    wanted = by_hand(layer, remembered, memory_length)
    for training in (False, True):  # without patterns there is no difference
        result = run(layer, remembered, training, memory_length)
        assert result == pytest.approx(wanted, abs=2e-4)


def test_no_gradient_flows_into_the_memory() -> None:
    layer, x, memory = attention(), draw(N, T, C), draw(N, M, C)
    with tf.GradientTape() as tape:
        tape.watch([x, memory])
        y = layer(x, memory, tf.constant([M, M]))
    assert tape.gradient(y, [x, memory])[1] is None
    changed = layer(x, memory + 1, tf.constant([M, M])).numpy()
    assert (np.abs(changed - y.numpy()) > 1e-3).any()  # it is read, though


# Each site


@pytest.mark.parametrize("site", ["value", "softmax", "output"])
def test_everything_dropped_leaves_nothing(site: str) -> None:
    assert (run(attention({site: EVERYTHING}), training=True) == 0).all()


def test_everything_dropped_at_query_or_key_leaves_the_other_terms() -> None:
    for site, left in (("query", "query_dense"), ("key", "key_dense")):
        layer = attention()
        getattr(layer, left).kernel.assign(np.zeros_like(getattr(layer, left).kernel))
        wanted = run(layer)  # u . k + v . r without queries, q . r + v . r without keys
        assert run(attention({site: EVERYTHING}), training=True) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("site", ATTENTION_SITES)
def test_every_site_acts_while_training_only(site: str) -> None:
    plain, layer = run(attention()), attention({site: WORDS})
    assert run(layer) == pytest.approx(plain, abs=1e-6)
    assert (np.abs(run(layer, training=True) - plain) > 1e-3).any()


def test_the_memory_is_among_the_tokens_of_key_value_and_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def look(self, inputs, training=None):
        seen[self.site] = tuple(inputs.shape)
        return inputs

    monkeypatch.setattr(tad.PatternDropout, "call", look)
    run(attention(dict.fromkeys(ATTENTION_SITES, WORDS)), training=True)
    heads = (HEADS, DIM)
    assert seen == {
        "query": (N, T, *heads),
        "key": (N, M + T, *heads),
        "value": (N, M + T, *heads),
        "softmax": (N, HEADS, T, M + T),
        "output": (N, T, C),
    }


def test_the_tokens_at_softmax_are_keys() -> None:
    assert attention({"softmax": WORDS}).softmax_pattern.token_axis == 3


def test_a_seeded_initializer_gives_each_projection_weights_of_its_own() -> None:
    def kernels() -> list[np.ndarray]:
        layer = RelativeAttention(HEADS, DIM, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
        layer.build((N, T, C), (N, M, C), (N,))
        return [variable.numpy() for variable in layer.trainable_variables if variable.path.endswith("kernel")]

    first, again = kernels(), kernels()
    assert len({kernel.tobytes() for kernel in first}) == len(first) == 5
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


# Errors, files, graphs


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_heads": 0}, "'num_heads'"),
        ({"key_dim": 1.5}, "'key_dim'"),
        ({"patterns": {"ffn": WORDS}}, "'patterns'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=rf"^Invalid value for {match}\. Expected .+ Received: "):
        RelativeAttention(**{"num_heads": HEADS, "key_dim": DIM} | arguments)


@pytest.mark.parametrize("mutable", [False, True])
def test_keras_file_round_trip(mutable: bool, tmp_path) -> None:
    inputs = keras.Input((T, C)), keras.Input((None, C)), keras.Input((), dtype="int32")
    patterns = {"query": WORDS, "softmax": tad.TransformerPattern(size=2, share_t=True, rate=0.3)}
    model = keras.Model(inputs, RelativeAttention(HEADS, DIM, patterns, 5, mutable)(*inputs))
    if mutable:  # patterns exchanged later are kept as well
        patterns = {"key": WORDS}
        assign_patterns(model, tad.PatternSet(patterns))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    found = {site: layers[0].pattern for site, layers in pattern_layers(loaded).items()}
    assert found == {site: patterns.get(site, tad.TransformerPattern()) for site in ATTENTION_SITES}
    given = [draw(N, T, C), draw(N, M, C), tf.constant([M, 2])]
    for training in (False, True):
        wanted = model(given, training=training).numpy()
        assert loaded(given, training=training).numpy() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graph_and_xla_equal_eager(jit_compile: bool) -> None:
    patterns = dict.fromkeys(ATTENTION_SITES, WORDS)
    wanted, compiled = run(attention(patterns), training=True), attention(patterns)
    call = tf.function(lambda *given: compiled(*given, training=True), jit_compile=jit_compile)
    result = call(draw(N, T, C), draw(N, M, C, seed=9), tf.constant([M, 2])).numpy()
    assert result == pytest.approx(wanted, abs=1e-4)


def test_mixed_precision() -> None:
    layer = RelativeAttention(HEADS, DIM, dict.fromkeys(ATTENTION_SITES, WORDS), dtype="mixed_bfloat16")
    result = layer(draw(N, T, C), draw(N, M, C), tf.constant([M, 2]), training=True)
    assert result.dtype == layer.compute_dtype == "bfloat16"
    assert np.isfinite(tf.cast(result, tf.float32).numpy()).all()


# The memory from segment to segment


@pytest.mark.parametrize(("length", "reach"), [(2, 5), (5, 5), (7, 5), (3, 0), (1, 2)])
def test_the_memory_holds_the_last_tokens(length: int, reach: int) -> None:
    states = [draw(N, 3 * length, C, seed=layer) for layer in range(2)]
    memory, remembered = tf.zeros((N, 2, reach, C)), tf.zeros((N,), tf.int32)
    for segment in range(3):
        part = slice(segment * length, (segment + 1) * length)
        memory, remembered = SegmentMemory()(memory, remembered, [state[:, part] for state in states])
        there = min(reach, (segment + 1) * length)
        assert remembered.numpy().tolist() == [there] * N
        for layer, state in enumerate(states):
            wanted = state.numpy()[:, : part.stop][:, part.stop - there :]
            np.testing.assert_array_equal(memory.numpy()[:, layer, reach - there :], wanted)
