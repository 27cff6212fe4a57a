"""`transformer_xl`: memory across segments, sites, published size, files, errors."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tests.site_lists import transformer_xl_sites
from tf_autodropout.layers import assign_patterns, pattern_layers
from tf_autodropout.models.xl_transformer import PTB, WIKITEXT_2

V, T, M, C, LAYERS = 11, 4, 6, 8, 2
SEVEN = ("query", "key", "value", "softmax", "output", "ffn", "residual")
WORDS = tad.TransformerPattern(size=1, share_c=True, rate=0.5)


def xl(segment_length=None, memory_length=None, **kwargs) -> keras.Model:
    return tad.models.transformer_xl(V, segment_length, memory_length, LAYERS, C, 2, 16, **kwargs)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return xl()


def text(length: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, (3, length)).astype(np.int32)


def start(memory_length: int = M, n: int = 3) -> dict[str, tf.Tensor]:
    return {"memory": tf.zeros((n, LAYERS, memory_length, C)), "remembered": tf.zeros((n,), tf.int32)}


def read(model: keras.Model, tokens: np.ndarray, length: int, memory_length: int, **kwargs) -> np.ndarray:
    """Logits of a text that is read in segments."""
    state, logits = start(memory_length), []
    for segment in np.split(tokens, tokens.shape[1] // length, axis=1):
        outputs = model({"tokens": tf.constant(segment)} | state, **kwargs)
        state = {key: outputs[key] for key in state}
        logits.append(outputs["logits"].numpy())
    return np.concatenate(logits, 1)


# Memory


@pytest.mark.parametrize(("length", "memory_length"), [(4, 8), (4, 20), (2, 10), (12, 5)])
def test_segments_with_a_memory_of_all_the_past_equal_one_long_pass(model, length: int, memory_length: int) -> None:
    wanted = read(model, text(), 12, 0)
    assert read(model, text(), length, memory_length) == pytest.approx(wanted, abs=1e-4)


def test_a_shorter_memory_forgets(model) -> None:
    whole, short, none = (read(model, text(), 4, memory_length) for memory_length in (8, 2, 0))
    assert short[:, :4] == pytest.approx(whole[:, :4], abs=1e-5)  # nothing to forget yet
    for one, other in itertools.combinations((whole, short, none), 2):
        assert (np.abs(one[:, -1] - other[:, -1]) > 1e-3).any()


def test_the_far_past_acts_through_the_memory_only(model) -> None:
    changed = text()
    changed[:, 1] = (changed[:, 1] + 1) % V
    for memory_length, acts in ((12, True), (0, False)):
        difference = np.abs(read(model, text(), 4, memory_length) - read(model, changed, 4, memory_length))
        assert (difference[:, 0] < 1e-5).all()  # causal
        assert (difference[:, 1:4] > 1e-4).any()
        assert (difference[:, -4:] > 1e-4).any() == acts


def test_memory_reaches_as_far_as_layers_times_its_length(model) -> None:
    """Segments and memory of one token: each layer sees one token back, so two layers see two."""
    far, near = text(5), text(5)
    far[:, 1], near[:, 2] = (far[:, 1] + 1) % V, (near[:, 2] + 1) % V
    wanted = read(model, text(5), 1, 1)[:, -1]
    assert read(model, far, 1, 1)[:, -1] == pytest.approx(wanted, abs=1e-6)
    assert (np.abs(read(model, near, 1, 1)[:, -1] - wanted) > 1e-4).any()


def test_no_gradient_flows_through_the_memory(model) -> None:
    first, second = (tf.constant(part) for part in np.split(text(8), 2, axis=1))
    with tf.GradientTape(persistent=True) as tape:
        memory = tf.ones((3, LAYERS, M, C))
        tape.watch(memory)
        before = model({"tokens": first, "memory": memory, "remembered": tf.fill((3,), M)})
        carried = {key: before[key] for key in ("memory", "remembered")}
        after = model({"tokens": second} | carried)["logits"]
    assert tape.gradient(before["logits"], memory) is None
    # As if the memory had been a constant.
    with tf.GradientTape() as alone:
        again = model({"tokens": second} | {key: tf.constant(value.numpy()) for key, value in carried.items()})[
            "logits"
        ]
    weights = model.trainable_variables
    for one, other in zip(tape.gradient(after, weights), alone.gradient(again, weights), strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(one), tf.convert_to_tensor(other), atol=1e-4)


def test_what_was_never_read_is_not_attended_to(model) -> None:
    empty = start() | {"memory": 100 * tf.ones((3, LAYERS, M, C))}
    tokens = {"tokens": tf.constant(text(T))}
    wanted = model(tokens | start())["logits"].numpy()
    assert model(tokens | empty)["logits"].numpy() == pytest.approx(wanted, abs=1e-5)


def test_the_same_weights_serve_other_lengths(model) -> None:
    fixed = xl(T, M)
    assert [variable.shape for variable in fixed.variables] == [variable.shape for variable in model.variables]
    fixed.set_weights(model.get_weights())
    assert read(fixed, text(), T, M) == pytest.approx(read(model, text(), T, M), abs=1e-6)
    shapes = {key: value.shape for key, value in fixed.output.items()}
    assert shapes == {"logits": (None, T, V), "memory": (None, LAYERS, M, C), "remembered": (None,)}


# Sites


def test_one_pattern_per_site_serves_all_layers() -> None:
    model = xl(mutable=True)
    found = pattern_layers(model)
    assert set(found) == set(SEVEN)
    assert {site: len(layers) for site, layers in found.items()} == dict.fromkeys(SEVEN, LAYERS) | {
        "residual": 2 * LAYERS
    }
    seeds = [layer.seed for layers in found.values() for layer in layers]
    assert len(set(seeds)) == len(seeds)
    patterns = {"query": WORDS, "residual": tad.TransformerPattern(size=2, rate=0.1)}
    assign_patterns(model, tad.PatternSet(patterns))
    for site, layers in pattern_layers(model).items():
        assert {layer.pattern for layer in layers} == {patterns.get(site, tad.TransformerPattern())}
    wanted = read(xl(patterns=patterns), text(), T, M, training=True)
    assert read(model, text(), T, M, training=True) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("site", SEVEN)
def test_every_site_acts_while_training_only(model, site: str) -> None:
    dropping = xl(patterns={site: WORDS})
    plain = read(model, text(), T, M)
    assert read(dropping, text(), T, M) == pytest.approx(plain, abs=1e-6)
    assert (np.abs(read(dropping, text(), T, M, training=True) - plain) > 1e-4).any()


def test_sites_know_their_tokens() -> None:
    shapes = {site.name: site.shape for site in transformer_xl_sites(T, M, C)}
    assert shapes == {site: (T + M * (site in ("key", "value")), C) for site in SEVEN} | {"softmax": (T + M, T)}
    assert {site.kind for site in transformer_xl_sites(T, M, C)} == {tad.TransformerPattern}


def test_the_seed_fixes_weights_and_masks() -> None:
    def once(seed: int) -> np.ndarray:
        return read(xl(patterns=dict.fromkeys(SEVEN, WORDS), seed=seed), text(T), T, M, training=True)

    first = once(1)
    keras.utils.set_random_seed(77)
    np.testing.assert_array_equal(once(1), first)
    assert (once(2) != first).any()


# Sizes, files, compilation, errors


@pytest.mark.parametrize(("sizes", "rounded"), [(PTB, 24), (WIKITEXT_2, 34)])
def test_parameters_of_the_two_configurations(sizes: dict[str, int], rounded: int) -> None:
    # Built with one layer and another: the layers are alike, and twelve take long.
    def count(num_layers: int) -> int:
        model = tad.models.transformer_xl(**sizes | {"num_layers": num_layers})
        return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)

    one, two = count(1), count(2)
    assert round((one + (sizes["num_layers"] - 1) * (two - one)) / 1e6) == rounded  # 24 M is published for PTB


@pytest.mark.parametrize("mutable", [False, True])
def test_keras_file_round_trip(mutable: bool, tmp_path) -> None:
    model = xl(patterns=dict.fromkeys(SEVEN, WORDS), mutable=mutable)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert {layer.pattern for layers in pattern_layers(loaded).values() for layer in layers} == {WORDS}
    for training in (False, True):
        wanted = read(model, text(T), T, M, training=training)
        np.testing.assert_array_equal(read(loaded, text(T), T, M, training=training), wanted)


@pytest.mark.slow
def test_a_training_step_compiles_and_learns() -> None:
    model, optimizer = xl(patterns={"ffn": WORDS}), keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=True)
    def step(tokens: tf.Tensor, state: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            outputs = model({"tokens": tokens[:, :-1]} | state, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tokens[:, 1:], outputs["logits"]))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss, {key: outputs[key] for key in state}

    losses, state = [], start()
    for _ in range(30):
        loss, state = step(tf.constant(text(T + 1)), state)
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
    assert state["remembered"].numpy().tolist() == [M] * 3


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        *((name, value, 1) for name in ("vocabulary_size", "num_layers", "hidden_dim") for value in (0, 1.5, None)),
        *((name, 0, 1) for name in ("num_heads", "intermediate_dim", "segment_length")),
        ("memory_length", -1, 0),
    ],
)
def test_sizes_are_checked(name: str, value: object, least: int) -> None:
    message = rf"^Invalid value for '{name}'\. Expected an integer >= {least}\. Received: {name}="
    with pytest.raises(ValueError, match=message):
        tad.models.transformer_xl(**{"vocabulary_size": V} | {name: value})


def test_heads_sites_and_patterns_are_checked() -> None:
    with pytest.raises(ValueError, match=r"hidden_dim to be a multiple of num_heads\. Received: 10 and 4"):
        tad.models.transformer_xl(V, hidden_dim=10)
    with pytest.raises(ValueError, match=r"^Invalid value for 'patterns'\. Expected sites among .+ Received: 'stem'"):
        xl(patterns={"stem": WORDS})
    with pytest.raises(TypeError, match="TransformerPattern"):
        xl(patterns={"ffn": tad.ConvPattern(size=1)})
