"""sites, regularize and strip on ConvNets: what is found, what is put in, and that nothing else changes."""

import json
from typing import Any

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tests import ready_models as ready
from tf_autodropout.layers import assign_patterns, pattern_layers
from tf_autodropout.surgery.fitting import BATCH_NORM

L = keras.layers
PATTERN = tad.ConvPattern(size=3, residual=True)
BIG = {
    "applications ResNet50": (ready.applications_resnet50, 53),
    "applications EfficientNetB0": (ready.applications_efficientnet_b0, 49),
    "KerasHub ResNet-50": (ready.hub_resnet, 53),
    "KerasHub EfficientNet-B0": (ready.hub_efficientnet_b0, 49),
    "keras-cv ResNet50V2": (ready.cv_resnet_v2, 49),
    "keras-cv EfficientNetV1-B0": (ready.cv_efficientnet_v1_b0, 49),
}


def residual_net(order: str = "skip first", layer: bool = True, shortcut: bool = False) -> keras.Model:
    """conv, then a block conv-bn-relu-conv-bn around a skip connection."""
    image = keras.Input((8, 8, 3), name="image")
    h = L.Conv2D(4, 3, padding="same", name="stem")(image)
    x = L.Conv2D(4, 3, padding="same", name="conv1")(h)
    x = L.ReLU(name="relu1")(L.BatchNormalization(name="bn1")(x))
    x = L.Conv2D(4, 3, padding="same", name="conv2")(x)
    x = L.BatchNormalization(name="bn2")(x)
    skip = L.BatchNormalization(name="bn0")(L.Conv2D(4, 1, name="project")(h)) if shortcut else h
    pair = (skip, x) if order == "skip first" else (x, skip)
    y = L.Add(name="add")(pair) if layer else pair[0] + pair[1]
    return keras.Model(image, L.Dense(2, name="head")(L.GlobalAveragePooling2D(name="pool")(y)), name="net")


def values(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(x) for x in keras.tree.flatten(outputs)]


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(values(one), values(other), strict=True))


def train(model: keras.Model, jit_compile: bool, steps: int = 3) -> list[np.ndarray]:
    """Three steps of SGD in our own loop; returns by how much each trainable weight has moved."""
    x = ready.inputs_of(model)
    before = [v.numpy() for v in model.trainable_variables]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=jit_compile)
    def step() -> None:
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(model(x, training=True))
            loss = tf.add_n([tf.reduce_mean(tf.cast(y, tf.float32) ** 2) for y in outputs])
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    for _ in range(steps):
        step()
    return [np.abs(v.numpy() - old).max() for v, old in zip(model.trainable_variables, before, strict=True)]


def test_the_table_says_what_is_where():
    table = tad.sites(residual_net(shortcut=True))
    assert [(s.name, s.kind, s.shape, s.block, s.at_add) for s in table] == [
        ("bn1", BATCH_NORM, (8, 8, 4), "block1", True),
        ("bn0", BATCH_NORM, (8, 8, 4), "block1", False),
        ("bn2", BATCH_NORM, (8, 8, 4), "block1", True),
    ]
    lines = str(table).splitlines()
    assert lines[0].split() == ["site", "kind", "layer", "shape", "block", "stage", "at", "add", "pattern"]
    assert lines[2].split() == ["bn1", "batch_norm", "bn1", "8×8×4", "block1", "stage1", "yes"]
    assert table._repr_html_().count("<tr>") == 4
    assert [site.kind for site in table.as_sites()] == [tad.ConvPattern] * 3


@pytest.mark.parametrize("order", ["skip first", "skip last"])
@pytest.mark.parametrize("layer", [True, False], ids=["Add", "x + y"])
@pytest.mark.parametrize("shortcut", [False, True])
def test_a_residual_pattern_reaches_the_skip_input_whichever_it_is(order, layer, shortcut):
    model = tad.regularize(residual_net(order, layer, shortcut), {"bn1": PATTERN})
    add = next(op for op in model.operations if type(op).__name__ == "Add")
    sources = [tensor._keras_history.operation for tensor in add._inbound_nodes[0].input_tensors]
    on_skip = [isinstance(one, tad.PatternDropout) and one.on_skip for one in sources]
    assert on_skip == ([True, False] if order == "skip first" else [False, True])
    assert sources[on_skip.index(False)].name == "bn2"
    below = sources[on_skip.index(True)]._inbound_nodes[0].input_tensors[0]._keras_history.operation.name
    assert below == ("bn0" if shortcut else "stem")


def test_without_the_residual_token_the_skip_connection_is_left_alone():
    model = tad.regularize(residual_net(), tad.ConvPattern(size=3))
    assert [layer.name for layer in model.layers if isinstance(layer, tad.PatternDropout)] == [
        "bn1_pattern_main",
        "bn2_pattern_main",
    ]


def test_masks_fall_on_the_skip_connection():
    """Where both branches are dropped nothing is left to add."""
    everything = tad.ConvPattern(size=8, share_c=True, residual=True, rate=0.5)
    plain = residual_net()
    sum_of_branches = keras.Model(plain.input, plain.get_layer("add").output)
    model = tad.regularize(sum_of_branches, {"bn2": everything})
    x = ready.inputs_of(model)
    empty = [np.all(model(x, training=True).numpy() == 0, (1, 2, 3)) for _ in range(50)]
    assert 0.1 < np.mean(empty) < 0.4  # a quarter
    one_branch = tad.regularize(sum_of_branches, {"bn2": tad.ConvPattern(size=8, share_c=True, rate=0.5)})
    assert not any(np.all(one_branch(x, training=True).numpy() == 0, (1, 2, 3)).any() for _ in range(50))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_the_copy_trains_and_the_original_does_not_change(jit_compile):
    plain = residual_net(shortcut=True)
    x, before = ready.inputs_of(plain), [v.numpy() for v in plain.variables]
    config, nodes = plain.get_config(), [len(layer._inbound_nodes) for layer in plain.layers]
    model = tad.regularize(plain, PATTERN)
    assert same(model(x), plain(x))
    assert min(train(model, jit_compile)) > 0
    assert all(np.array_equal(v.numpy(), old) for v, old in zip(plain.variables, before, strict=True))
    assert plain.get_config() == config
    assert [len(layer._inbound_nodes) for layer in plain.layers] == nodes


def test_regularized_training_differs_from_plain_training():
    plain = residual_net()
    x = ready.inputs_of(plain)
    assert same(plain(x, training=True), tad.strip(plain)(x, training=True))
    assert not same(tad.regularize(plain, PATTERN)(x, training=True), plain(x, training=True))


def test_one_seed_gives_one_training():
    plain = residual_net()
    x = ready.inputs_of(plain)
    one, again, other = (tad.regularize(plain, PATTERN, seed=seed)(x, training=True) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)


def test_fit_and_saving(tmp_path):
    model = tad.regularize(residual_net(), PATTERN)
    model.compile("sgd", "mse")
    x = ready.inputs_of(model)
    model.fit(x, np.zeros((2, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert same(loaded(x), model(x))
    assert str(tad.sites(loaded)) == str(tad.sites(model))
    assert [v.path for v in loaded.variables] == [v.path for v in model.variables]
    assert same(loaded(x, training=True), model(x, training=True))  # it draws what the saved one would have drawn
    model.export(tmp_path / "saved_model", verbose=False)
    assert np.allclose(tf.saved_model.load(tmp_path / "saved_model").serve(x), model(x), atol=1e-6)


def test_replicas_draw_different_masks():
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(len(tf.config.list_logical_devices("CPU")))])
    with strategy.scope():
        model = tad.regularize(residual_net(), PATTERN)
    x = tf.ones((2, 8, 8, 3))
    results = strategy.run(lambda: model(x, training=True))
    assert all(np.isfinite(one.numpy()).all() for one in strategy.experimental_local_results(results))


def test_strip_gives_the_plain_model_back():
    plain = residual_net(shortcut=True)
    model = tad.regularize(plain, PATTERN)
    stripped = tad.strip(model)
    x = ready.inputs_of(plain)
    assert stripped.get_config() == plain.get_config()
    assert same(stripped(x), plain(x))
    assert [v.path for v in stripped.variables] == [v.path for v in plain.variables]
    assert len(pattern_layers(model)) == 3, "strip works on a copy"


def test_a_builders_model_and_its_sites():
    pattern = tad.ConvPattern(size=2, residual=True)
    built = tad.models.wide_resnet(16, 1, (8, 8, 3), patterns={"stage2_block2_bn1": pattern})
    assert {s.name: s.pattern for s in tad.sites(built)}["stage2_block2_bn1"] == pattern
    again = tad.regularize(tad.strip(built), {"stage2_block2_bn1": pattern})
    x = ready.inputs_of(built)
    assert same(again(x), built(x))
    on_skip = [layer.name for layer in again.layers if isinstance(layer, tad.PatternDropout) and layer.on_skip]
    assert on_skip == ["stage2_block2_bn1_pattern_skip"], "bn1 of a pre-activation block belongs to its block"


def test_mutable_puts_a_layer_everywhere_that_assign_changes():
    model = tad.regularize(residual_net(), {"bn1": PATTERN}, mutable=True)
    layers = pattern_layers(model)
    assert {site: len(twins) for site, twins in layers.items()} == {"bn1": 2, "bn2": 2}
    assert layers["bn2"][0].pattern == tad.ConvPattern()
    assign_patterns(model, tad.PatternSet({"bn2": PATTERN}))
    assert {s.name: s.pattern for s in tad.sites(model)}["bn2"] == PATTERN


def test_channels_first():
    image = keras.Input((3, 8, 8))
    x = L.BatchNormalization(axis=1, name="bn")(L.Conv2D(4, 3, data_format="channels_first")(image))
    model = tad.regularize(keras.Model(image, x), PATTERN)
    assert tad.sites(model)[0].shape == (6, 6, 4)
    assert model.get_layer("bn_pattern_main").data_format == "channels_first"


def test_sequential_stays_sequential(tmp_path):
    plain = keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.BatchNormalization(name="bn"), L.ReLU(), L.Flatten(), L.Dense(2)]
    )
    model = tad.regularize(plain, PATTERN)
    assert isinstance(model, keras.Sequential)
    assert [layer.name for layer in model.layers[1:3]] == ["bn", "bn_pattern_main"]
    x = ready.inputs_of(plain)
    assert same(model(x), plain(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert same(loaded(x, training=True), model(x, training=True))
    assert len(tad.strip(model).layers) == len(plain.layers)


def nested(inner: keras.Model) -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = inner(L.Conv2D(3, 1)(image))
    return keras.Model(image, L.BatchNormalization(name="bn1")(L.Reshape((1, 1, 2))(x)))


@pytest.mark.parametrize(
    "inner",
    [
        residual_net,
        lambda: keras.Sequential(
            [keras.Input((8, 8, 3)), L.BatchNormalization(name="bn1"), L.Flatten(), L.Dense(2)], name="net"
        ),
    ],
    ids=["Functional", "Sequential"],
)
def test_nested_models(inner, tmp_path):
    plain = nested(inner())
    names = [s.name for s in tad.sites(plain)]
    assert names[0] == "net/bn1", "two layers of one name are told apart by the models around them"
    assert names[-1] == "bn1"
    model = tad.regularize(plain, {"net/bn1": PATTERN})
    x = ready.inputs_of(plain)
    assert same(model(x), plain(x))
    assert not same(model(x, training=True), plain(x, training=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert same(loaded(x, training=True), model(x, training=True))
    assert not pattern_layers(tad.strip(model))


def test_lambda_and_unregistered_layers_are_copied():
    class Plus(L.Layer):
        def call(self, x: Any) -> Any:
            return x + 1

    image = keras.Input((8, 8, 3))
    plain = keras.Model(image, L.Lambda(lambda x: 2 * x)(Plus()(L.BatchNormalization()(image))))
    x = ready.inputs_of(plain)
    assert same(tad.regularize(plain, PATTERN)(x), plain(x))


def test_frozen_layers_stay_frozen():
    plain = residual_net()
    plain.get_layer("conv1").trainable = False
    model = tad.regularize(plain, PATTERN)
    assert [layer.name for layer in model.layers if not layer.trainable] == ["conv1"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (PATTERN, {"bn1", "bn2"}),
        ({"*1": PATTERN}, {"bn1"}),
        ({"batch_norm": PATTERN}, {"bn1", "bn2"}),
        (tad.PatternSet({"bn2": PATTERN}), {"bn2"}),
        ("convnet-spatial-0.1", {"bn1", "bn2"}),
    ],
)
def test_what_patterns_may_be(patterns, expected):
    assert set(pattern_layers(tad.regularize(residual_net(), patterns))) == expected


def test_an_exact_name_comes_before_a_glob():
    other = tad.ConvPattern(size=1)
    model = tad.regularize(residual_net(), {"*": other, "bn2": PATTERN})
    assert {s.name: s.pattern for s in tad.sites(model)} == {"bn1": other, "bn2": PATTERN}


def unbuilt() -> keras.Model:
    return keras.Sequential([L.Conv2D(4, 3), L.BatchNormalization()])


class Subclassed(keras.Model):
    def call(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    ("model", "patterns", "error", "words"),
    [
        ("net", PATTERN, TypeError, "Keras model. Received: 'net'"),
        (unbuilt(), PATTERN, ValueError, "not built. Give it an Input"),
        (Subclassed(), PATTERN, ValueError, "not built. Give it an Input"),
        (residual_net(), [3], TypeError, "Expected 'patterns'"),
        (residual_net(), {"bn1": "3"}, TypeError, "at 'bn1'. Received: '3'"),
        (residual_net(), {"bn1": 3}, ValueError, "0 <= strength <= 1. Received: strength=3"),
        (
            residual_net(),
            {"bn7": PATTERN},
            ValueError,
            "1 of 1 keys .* match no site of this model: bn7. Its sites: bn1",
        ),
        (residual_net(), {"bn1": tad.members.dropout(0.1)}, TypeError, "'bn1' needs a ConvPattern"),
        (residual_net(), tad.members.dropout(0.1), TypeError, "needs a ConvPattern"),
        (residual_net(), "no-such-preset", ValueError, "no-such-preset"),
        (
            tad.regularize(residual_net(), PATTERN),
            PATTERN,
            ValueError,
            r"tad.regularize\(tad.strip\(model\), patterns\)",
        ),
        (keras.Sequential([keras.Input((4,)), L.Dense(2)]), PATTERN, ValueError, "no site"),
    ],
)
def test_bad_input(model, patterns, error, words):
    with pytest.raises(error, match=words):
        tad.regularize(model, patterns)


def test_what_cannot_be_reached_is_listed_with_the_reason():
    class Fused(L.Layer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.norm = L.BatchNormalization(name="norm")
            self.unused = L.BatchNormalization(name="unused")

        def build(self, shape: Any) -> None:
            self.norm.build(shape)
            self.unused.build(shape)

        def call(self, x: Any) -> Any:
            return self.norm(x)

    image = keras.Input((8, 8, 3))
    x = L.GlobalAveragePooling2D()(Fused(name="fused")(L.BatchNormalization(name="bn")(image)))
    table = tad.sites(keras.Model(image, L.BatchNormalization(name="flat")(x)))
    assert [site.name for site in table] == ["bn", "fused/norm"]
    assert {one.layer: one.reason for one in table.unreachable} == {
        "fused/unused": "is not called when the model is, or its step is no layer's",
    }
    assert [site.shape for site in tad.sites(keras.Model(image, L.BatchNormalization(name="flat")(x)), every=True)][
        -1
    ] == (3,)
    assert "Cannot be reached:\n  fused/unused: is not called" in str(table)


def test_a_backbone_keeps_its_class_and_its_pyramid(tmp_path):
    plain = ready.hub_resnet((1, 1), "basic_block")
    model = tad.regularize(plain, {"stack1_*": PATTERN})
    assert isinstance(model, type(plain))
    pyramid = keras.Model(model.input, model.pyramid_outputs)
    x = ready.inputs_of(plain)
    assert same(pyramid(x), keras.Model(plain.input, plain.pyramid_outputs)(x))
    assert set(pattern_layers(pyramid)) == {s.name for s in tad.sites(plain) if s.name.startswith("stack1_")}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert same(loaded(x, training=True), model(x, training=True))
    stripped = tad.strip(loaded)
    assert type(stripped) is type(plain)
    assert json.dumps(stripped.get_config()) == json.dumps(plain.get_config())
    assert not pattern_layers(stripped)


@pytest.mark.parametrize("first", ["regularize the backbone", "regularize the task"])
def test_a_task_keeps_its_class(first, tmp_path):
    from keras_nlp.models import ImageClassifier

    backbone = ready.hub_resnet((1, 1), "basic_block")
    if first == "regularize the backbone":
        model = ImageClassifier(backbone=tad.regularize(backbone, PATTERN), num_classes=3)
    else:
        model = tad.regularize(ImageClassifier(backbone=backbone, num_classes=3), PATTERN)
    assert type(model) is ImageClassifier
    assert isinstance(model.backbone, type(backbone))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)  # KerasHub's compile is its own
    x = ready.inputs_of(model)
    assert same(loaded(x, training=True), model(x, training=True))
    assert len(pattern_layers(loaded)) == len(pattern_layers(model)) == len(tad.sites(backbone)) == 6


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
def test_every_batch_norm_of_a_ready_model(name, tmp_path):
    build, batch_norms = BIG[name]
    plain = build()
    norms = [layer for layer in plain._flatten_layers() if isinstance(layer, L.BatchNormalization)]
    assert len(tad.sites(plain)) == len(norms) == batch_norms
    model = tad.regularize(plain, tad.ConvPattern(size=1, residual=True, rate=0.5))  # the last maps are 2x2 or 1x1
    assert len(pattern_layers(model)) == batch_norms
    x = ready.inputs_of(plain)
    assert same(model(x), plain(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert same(loaded(x), plain(x))
    assert len(pattern_layers(loaded)) == batch_norms
    assert max(train(model, jit_compile=False)) > 0
    assert max(train(loaded, jit_compile=True)) > 0


@pytest.mark.parametrize("name", ["applications ResNet50", "applications EfficientNetB0"])
def test_every_batch_norm_is_found(name):
    build, batch_norms = BIG[name]
    table = tad.sites(build())
    assert len(table) == batch_norms
    assert not table.unreachable


def test_a_site_without_a_pattern_says_so_and_a_rate_is_told():
    bert = keras_nlp.models.BertBackbone(9, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8)
    table = tad.sites(tad.regularize(bert, {"ffn": tad.members.dropout(0.1)}))
    assert [site.kind for site in table if site.pattern] == ["ffn"]
    assert str(table).count("TransformerPattern(") == 1
    assert "TransformerPattern(size=1, rate=0.1)" in str(table)
    with pytest.raises(TypeError, match="keys of 'patterns' to be texts"):
        tad.regularize(bert, {1: tad.members.dropout(0.1)})


def test_the_sites_of_a_model_serve_transfer_to_a_deeper_one():
    small, large = (tad.sites(tad.models.wide_resnet(depth, 1)).as_sites() for depth in (10, 16))
    assert {site.stage for site in small if site.name.startswith("stage2")} == {"stage2"}
    carried = tad.transfer(tad.PatternSet({"final_bn": tad.ConvPattern(size=4)}), small, large)
    assert carried == tad.PatternSet({"final_bn": tad.ConvPattern(size=4)})
