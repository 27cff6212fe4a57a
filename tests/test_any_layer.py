"""A pattern behind any layer: in the graph, inside a layer, inside a subclassed model; and out again."""

from typing import Any

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests import ready_models as ready
from tests import user_models as users
from tests.test_surgery import residual_net, same
from tf_autodropout.layers import assign_patterns, pattern_layers
from tf_autodropout.layers.adoption import adopt, is_adopted, plain_type, release
from tf_autodropout.surgery.structure import spots

L = keras.layers
MAP = tad.ConvPattern(size=3)
WHOLE_MAP = tad.ConvPattern(size=100, rate=0.999999)  # nearly always
TOKENS = tad.TransformerPattern(size=1, rate=0.5)
SECOND = {f"second/{name}" for name in ("to_q", "to_k", "to_v", "mix", "down", "probabilities")}
WHOLE = tad.members.variational_dropout(1.0)


def classes() -> dict[str, type]:
    return {one.__name__: one for one in (users.ConvNet, users.Attention, users.SelfBuilt, users.Handmade)}


def reloaded(model: keras.Model, path: Any) -> keras.Model:
    model.save(path / "model.keras")
    return tad.load_model(path / "model.keras", custom_objects=classes())


def test_a_twin_drops_what_its_layer_returns_and_nothing_else_changes():
    layer, x = L.Dense(8), np.ones((2, 6, 4), "float32")
    layer(x)
    config, kernel, plain = layer.get_config(), layer.kernel, np.asarray(layer(x))
    adopt(layer, {"": tad.members.word_dropout(0.5)}, pattern_seed=1)
    assert is_adopted(layer)
    assert plain_type(layer) is L.Dense
    assert isinstance(layer, L.Dense)
    assert layer.get_config() == config
    assert layer.kernel is kernel
    assert np.array_equal(layer(x), plain)
    dropped = np.asarray(layer(x, training=True))
    alone = tad.PatternDropout(tad.members.word_dropout(0.5), seed=1)
    assert np.array_equal(dropped, alone(plain, training=True))
    assert type(type(layer).from_config(config)) is L.Dense
    release(layer)
    assert type(layer) is L.Dense
    assert len(layer.variables) == 2
    assert np.array_equal(layer(x, training=True), plain)


def test_of_several_outputs_the_first_floating_one_is_dropped():
    layer, x = L.LSTM(4, return_sequences=True, return_state=True), np.ones((2, 6, 3), "float32")
    plain = [np.asarray(one) for one in layer(x)]
    adopt(layer, {"": WHOLE})
    sequence, hidden, cell = layer(x, training=True)
    assert np.all(np.asarray(sequence) == 0)
    assert np.array_equal(hidden, plain[1])
    assert np.array_equal(cell, plain[2])


def test_of_several_outputs_in_a_graph_too():
    x = keras.Input((6, 3))
    sequence, hidden, _ = L.LSTM(4, return_sequences=True, return_state=True, name="lstm")(x)
    plain, ones = keras.Model(x, [sequence, hidden]), np.ones((2, 6, 3), "float32")
    model = tad.regularize(plain, {"lstm": tad.members.variational_dropout(0.999999)})
    assert same(model(ones), plain(ones))
    dropped, kept = model(ones, training=True)
    assert np.all(np.asarray(dropped) == 0)
    assert same(kept, plain(ones)[1])
    assert same(tad.strip(model)(ones, training=True), plain(ones))


def test_a_subclassed_model(tmp_path):
    plain, x = users.subclassed(), users.images(4)
    names = [site.name for site in tad.sites(plain)]
    assert names == ["blocks/0/bn", "blocks/1/bn"]
    model = tad.regularize(plain, {"blocks/1/*": WHOLE_MAP})
    assert isinstance(model, users.ConvNet)
    assert same(model(x), plain(x))
    assert not pattern_layers(plain)
    loaded = reloaded(tad.regularize(plain, MAP), tmp_path)
    assert isinstance(loaded, users.ConvNet)
    assert [site.pattern for site in tad.sites(loaded)] == [MAP, MAP]
    assert same(loaded(x), plain(x))
    assert not same(loaded(x, training=True), loaded(x, training=True))
    stripped = tad.strip(loaded)
    assert type(stripped) is users.ConvNet
    assert same(stripped(x, training=True), plain(x, training=True))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_fit_drops_where_a_models_call_knows_no_training(jit_compile):
    """Keras calls such a model in `fit` as if it predicted: even its own Dropout would do nothing."""
    model, x = tad.regularize(users.subclassed(), MAP), users.images(4)
    steps = [layer for layers in pattern_layers(model).values() for layer in layers]
    before = [[np.asarray(v).copy() for v in layer.variables] for layer in steps]
    model.compile("sgd", "mse", jit_compile=jit_compile)
    model.fit(x, np.zeros((2, 2)), verbose=0)
    for layer, old in zip(steps, before, strict=True):
        assert any(not np.array_equal(v, o) for v, o in zip(layer.variables, old, strict=True)), "no mask was drawn"
    moved = [[np.asarray(v).copy() for v in layer.variables] for layer in steps]
    model.evaluate(x, np.zeros((2, 2)), verbose=0)
    for layer, old in zip(steps, moved, strict=True):
        assert all(np.array_equal(v, o) for v, o in zip(layer.variables, old, strict=True))


def test_a_model_whose_config_does_not_tell_all_is_regularized_in_a_copy_and_in_place():
    model, x = users.Handmade(lambda x: x * 2), users.images()
    before = model(x)
    copy = tad.regularize(model, MAP)
    assert same(copy(x), before)
    assert not same(copy(x, training=True), copy(x, training=True))
    assert [site.pattern for site in tad.sites(model)] == [None]
    assert tad.regularize(model, MAP, in_place=True) is model
    assert same(model(x), before)
    assert not same(model(x, training=True), model(x, training=True))
    assert [site.pattern for site in tad.sites(model)] == [MAP]


def test_in_place_in_a_graph():
    model = residual_net()
    x, layers = ready.inputs_of(model), model.layers
    before = model(x)
    assert tad.regularize(model, {"bn1": MAP}, in_place=True) is model
    assert set(layers) < set(model.layers)
    assert same(model(x), before)
    assert list(pattern_layers(model)) == ["bn1"]


def test_every_layer_is_a_site():
    table = tad.sites(users.attention_net(), every=True)
    names = [site.name for site in table]
    assert names[:10] == [
        "first", "first/to_q", "first/to_k", "first/to_v", "first/mix", "first/up", "first/down", "first/norm",
        "first/probabilities", "first/probabilities/scores",
    ]  # fmt: skip
    assert {site.name: site.recommended for site in table}["first/up"] is False
    assert [site.name for site in table if not site.pattern_types] == []
    convnet = tad.sites(residual_net(), every=True)
    assert [site.name for site in convnet if not site.recommended] == [
        "stem",
        "conv1",
        "relu1",
        "conv2",
        "add",
        "pool",
        "head",
    ]
    assert {site.name: site.pattern_types for site in convnet}["head"] == (tad.TransformerPattern,)


@pytest.mark.parametrize(
    ("build", "patterns", "expected"),
    [
        (users.attention_net, {"first/up": TOKENS}, {"first/up"}),
        (users.attention_net, {"ffn": TOKENS}, {"first/down", "second/down"}),
        (users.attention_net, {"second/*": TOKENS}, SECOND),
        (users.attention_net, {L.LayerNormalization: TOKENS}, {"first/norm", "second/norm"}),
        (users.attention_net, tad.PatternSet({"output": TOKENS}), {"first/mix", "second/mix"}),
        (residual_net, {L.Conv2D: MAP}, {"stem", "conv1", "conv2"}),
        (residual_net, {"relu*": MAP}, {"relu1"}),
        (residual_net, {L.Conv2D: MAP, "conv1": tad.ConvPattern(size=1)}, {"stem", "conv1", "conv2"}),
        (users.subclassed, {L.Conv2D: MAP}, {"blocks/0/conv", "blocks/1/conv"}),
    ],
)  # fmt: skip
def test_keys(build, patterns, expected):
    model = tad.regularize(build(), patterns)
    now = {site.name: site.pattern for site in tad.sites(model, every=True) if site.pattern is not None}
    assert set(now) == expected
    if "conv1" in patterns:
        assert now["conv1"].size == 1
    assert {site.name for site in tad.sites(model) if site.pattern} == expected, "what acts is listed"


def test_wrong_keys():
    with pytest.raises(ValueError, match="match no site of this model: Conv3D"):
        tad.regularize(residual_net(), {L.Conv3D: MAP})
    with pytest.raises(TypeError, match="Site 'head' needs a TransformerPattern"):
        tad.regularize(residual_net(), {"head": MAP})
    with pytest.raises(TypeError, match="texts or classes of layers. Received: 3"):
        tad.regularize(residual_net(), {3: MAP})
    with pytest.raises(ValueError, match="every=True"):
        tad.regularize(keras.Sequential([keras.Input((4,)), L.Dense(2)]), TOKENS)


def test_hidden_patterns_are_saved_beside_those_in_the_graph(tmp_path):
    image = keras.Input((8, 8, 4), name="image")
    x = L.BatchNormalization(name="bn")(image)
    plain = keras.Model(image, users.ConvBlock(4, name="block")(x))
    model, x = tad.regularize(plain, MAP, mutable=True), users.images(4)
    assert set(pattern_layers(model)) == {"bn", "block/bn"}
    other = tad.ConvPattern(size=2)
    assign_patterns(model, tad.PatternSet({"block/bn": other}))
    loaded = reloaded(model, tmp_path)
    assert {site.name: site.pattern for site in tad.sites(loaded)} == {"bn": None, "block/bn": other}
    assert same(loaded(x), plain(x))
    assert not same(loaded(x, training=True), loaded(x, training=True))
    stripped = tad.strip(loaded)
    assert type(stripped) is type(plain)
    assert [layer.get_config() for layer in stripped.layers] == [layer.get_config() for layer in plain.layers]
    assert [type(layer) for layer in stripped._flatten_layers()] == [type(layer) for layer in plain._flatten_layers()]


def test_a_model_that_builds_itself_gets_what_was_planned(tmp_path):
    plain, x = users.SelfBuilt(), users.images()
    model = tad.regularize(plain, MAP)
    assert len(pattern_layers(model)) == 2
    assert not same(model(x, training=True), model(x, training=True))
    loaded = reloaded(model, tmp_path)
    assert len(pattern_layers(loaded)) == 2
    assert same(loaded(x), model(x))


def test_keys_of_layers_are_the_same_in_a_copy_and_with_patterns():
    plain = users.SelfBuilt()
    copy = users.SelfBuilt()
    assert [spot.path for spot in spots(plain)] != [spot.path for spot in spots(copy)]
    assert [spot.key for spot in spots(plain)] == [spot.key for spot in spots(copy)]
    with_patterns = tad.regularize(plain, MAP)
    assert {spot.key for spot in spots(with_patterns)} == {spot.key for spot in spots(plain)}


def test_a_shared_layer_is_one_place():
    plain = users.shared()
    assert [site.name for site in tad.sites(plain)] == ["conv"]
    model, x = tad.regularize(plain, WHOLE_MAP), [users.images(), users.images()[::-1]]
    assert same(model(x), plain(x))
    assert np.all(np.asarray(model(x, training=True)) == 0), "both calls are dropped"
    block = users.ConvBlock(4)
    image = keras.Input((8, 8, 4))
    twice = keras.Model(image, block(block(image)))
    assert len(tad.sites(twice)) == 1


def test_strip_finds_patterns_in_a_wrapper_and_in_own_layers(tmp_path):
    class Own(L.Layer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.drop = tad.PatternDropout(WHOLE_MAP)

        def call(self, x: Any) -> Any:
            return self.drop(x)

    cnn = tad.regularize(keras.Sequential([keras.Input((8, 8, 3)), L.BatchNormalization(name="bn")]), WHOLE_MAP)
    video = keras.Input((2, 8, 8, 3))
    frames = L.TimeDistributed(cnn, name="frames")(video)
    model = keras.Model(video, Own(name="own")(frames[:, 0]))
    x = np.random.default_rng(0).normal(size=(2, 2, 8, 8, 3)).astype("float32")
    assert np.all(np.asarray(model(x, training=True)) == 0)
    table = tad.sites(model)
    assert {site.name for site in table if site.pattern} == {"frames/layer/bn", "own/drop"}
    with pytest.raises(ValueError, match="has pattern layers already"):
        tad.regularize(model, MAP)
    plain = tad.strip(model)
    assert np.all(np.asarray(plain(x, training=True)).any(axis=(1, 2, 3)))
    assert not [site for site in tad.sites(plain, every=True) if site.pattern]
    again = tad.regularize(plain, WHOLE_MAP)
    assert np.all(np.asarray(again(x, training=True)) == 0)


@pytest.mark.parametrize(
    ("pattern", "mutable"), [(MAP, False), (MAP, True), (0.5, False)], ids=["fixed", "mutable", "a number"]
)
def test_a_layer_that_is_switched_off(pattern, mutable):
    drop, x = tad.PatternDropout(pattern, mutable=mutable), users.images()
    assert not np.array_equal(drop(x, training=True), x)
    assert not drop.is_off
    drop.switch_off()
    assert np.array_equal(drop(x, training=True), x)
    assert drop.is_off
    if mutable:
        drop.assign(MAP)
        assert not np.array_equal(drop(x, training=True), x)
        assert not drop.is_off
        drop.assign(tad.ConvPattern())
        assert not drop.is_off, "patterns may come"


@pytest.mark.parametrize("steps", [3, None], ids=["3 steps", "any number of steps"])
def test_time_distributed(steps, tmp_path):
    plain = users.time_distributed(steps)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8, 3)).astype("float32")
    table = tad.sites(plain)
    assert [site.name for site in table] == ["frames/layer/bn"]
    model = tad.regularize(plain, WHOLE_MAP)
    assert same(model(x), plain(x))
    assert np.ptp(np.asarray(model(x, training=True))) == 0, "nothing is left but the bias of the head"
    loaded = reloaded(tad.regularize(plain, MAP), tmp_path)
    assert [site.pattern for site in tad.sites(loaded)] == [MAP]
    assert same(loaded(x), plain(x))
    assert not pattern_layers(tad.strip(loaded))


@pytest.mark.parametrize("frozen", ["all", "forward", "none"])
def test_bidirectional_stays_frozen(frozen):
    x = keras.Input((6, 3))
    plain = keras.Model(x, L.Dense(2)(L.Bidirectional(L.LSTM(4, return_sequences=True), name="both")(x)))
    both = plain.get_layer("both")
    if frozen != "none":
        (both if frozen == "all" else both.forward_layer).trainable = False
    count = len(plain.trainable_variables)
    assert count == {"all": 2, "forward": 5, "none": 8}[frozen]
    model = tad.regularize(plain, TOKENS)
    assert [site.name for site in tad.sites(model) if site.pattern] == ["both"]
    assert len(model.trainable_variables) == count
    assert len(tad.strip(model).trainable_variables) == count


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((3, 8, 10), L.BatchNormalization(axis=1)),
        ((3, 8, 10), L.BatchNormalization(axis=-3)),
        ((3, 8, 10), L.GroupNormalization(3, axis=-3)),
        ((3, 8, 10), L.Conv2D(3, 3, padding="same", data_format="channels_first")),
        ((3, 8, 10), L.MaxPooling2D(1, data_format="channels_first")),
        ((3, 8, 10, 6), L.BatchNormalization(axis=-4)),
    ],
)
def test_maps_with_the_channels_first(shape, layer):
    image = keras.Input(shape)
    model = keras.Model(image, layer(image))
    (site,) = tad.sites(model, every=True)
    assert site.shape == (*shape[1:], 3)
    pattern_layer = tad.regularize(model, {site.name: MAP}).get_layer(f"{layer.name}_pattern_main")
    assert pattern_layer.data_format == "channels_first"
