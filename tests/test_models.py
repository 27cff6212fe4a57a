"""The builders: published sizes, sites, causality, seeds, errors."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tests.site_lists import transformer_sites, wide_resnet_sites
from tf_autodropout.layers import PatternAttention, assign_patterns, pattern_layers
from tf_autodropout.models.transformer_lm import TRANSFORMER_SITES

CONV = tad.ConvPattern(size=1)
WORDS = tad.TransformerPattern(size=1, share_c=True, rate=0.5)
SEVEN = ("query", "key", "value", "softmax", "output", "ffn", "residual")


def count(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def images(n=4, shape=(8, 8, 3), seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def weights(model):
    return [variable.numpy() for variable in model.trainable_variables]


def equal(first, second):
    return all((a == b).all() for a, b in zip(first, second, strict=True))


# Wide ResNet


@pytest.mark.parametrize(("width", "published"), [(10, "36.5M"), (2, "1.5M")])
def test_wide_resnet_28_has_the_published_size(width, published):
    model = tad.models.wide_resnet(28, width)
    assert not pattern_layers(model), "without patterns it is the plain network"
    assert f"{count(model) / 1e6:.1f}M" == published
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 10)
    assert len(tad.sites(model)) == 25


def test_wide_resnet_28_is_made_of_28_convolutions():
    # The published depth counts the convolutions on the longest way, and the classifier not; projections are aside.
    model = tad.models.wide_resnet(28, 1)
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len([layer for layer in kernels if "project" not in layer.name]) == 25
    assert len([layer for layer in kernels if "project" in layer.name]) == 3
    assert len([layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]) == 25


@pytest.mark.parametrize(("depth", "sites"), [(10, 7), (16, 13), (28, 25), (40, 37)])
def test_the_number_of_sites(depth, sites):
    assert len(wide_resnet_sites(depth, 2)) == sites
    assert len({site.name for site in wide_resnet_sites(depth, 2)}) == sites


@pytest.mark.parametrize(("depth", "width", "shape"), [(10, 2, (8, 8, 3)), (16, 1, (32, 32, 3)), (10, 1, (9, 14, 1))])
def test_sites_agree_with_the_layers(depth, width, shape):
    model = tad.models.wide_resnet(depth, width, shape, mutable=True)
    layers = pattern_layers(model)
    sites = wide_resnet_sites(depth, width, shape)
    assert [site.name for site in sites] == list(layers)
    for site in sites:
        assert site.kind is tad.ConvPattern
        (main,) = (layer for layer in layers[site.name] if not layer.on_skip)
        assert main.output.shape == (None, *site.shape), site.name
        assert main.input is model.get_layer(site.name).output  # on the output of the batch normalization
        assert isinstance(model.get_layer(site.name), keras.layers.BatchNormalization)
        skips = [layer for layer in layers[site.name] if layer.on_skip]
        assert len(skips) == (0 if site.name == "final_bn" else 1)


def test_site_blocks_and_stages():
    sites = wide_resnet_sites(16, 1)
    assert [site.stage for site in sites] == ["stage1"] * 4 + ["stage2"] * 4 + ["stage3"] * 5
    assert [site.block for site in sites[:4]] == ["stage1_block1"] * 2 + ["stage1_block2"] * 2
    assert [site.shape for site in sites[::4]] == [(32, 32, 16), (32, 32, 16), (16, 16, 32), (8, 8, 64)]


@pytest.mark.parametrize("shape", [(4, 4, 1), (8, 8, 1), (16, 16, 3), (32, 32, 3), (9, 12, 2)])
def test_wide_resnet_runs_at_many_sizes(shape):
    some = tad.ConvPattern(size=1, rate=0.9)  # at rate 1 maps of one cell would be lost
    patterns = {site.name: some for site in wide_resnet_sites(10, 1, shape)}
    model = tad.models.wide_resnet(10, 1, shape, num_classes=7, patterns=patterns)
    for training in (False, True):
        logits = model(images(shape=shape), training=training)
        assert logits.shape == (4, 7)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("site", ["stage1_block1_bn1", "stage2_block1_bn2", "stage3_block1_bn1"])
def test_the_residual_token_acts_on_the_skip_connection(site):
    for residual in (False, True):
        pattern = tad.ConvPattern(size=2, residual=residual)
        model = tad.models.wide_resnet(10, 1, (8, 8, 3), patterns={site: pattern}, mutable=True)
        main, skip = (model.get_layer(f"{site}_pattern_{where}") for where in ("main", "skip"))
        probe = keras.Model(model.input, [main.input, main.output, skip.input, skip.output])
        main_in, main_out, skip_in, skip_out = (x.numpy() for x in probe(images(), training=True))
        assert ((main_out == 0) & (main_in != 0)).any()
        assert ((skip_out == 0) & (skip_in != 0)).any() == residual
        assert (skip_out == skip_in).all() != residual
        add = model.get_layer(f"{site.rsplit('_', 1)[0]}_add")
        assert any("pattern_skip" in source._keras_history.operation.name for source in add.input)


def test_main_and_skip_draw_their_own_masks():
    pattern = tad.ConvPattern(size=2, residual=True)
    model = tad.models.wide_resnet(10, 1, (8, 8, 3), patterns={"stage1_block1_bn1": pattern})
    seeds = [layer.seed for layer in pattern_layers(model)["stage1_block1_bn1"]]
    assert len(set(seeds)) == 2
    every = [layer.seed for layers in pattern_layers(model).values() for layer in layers]
    assert len(set(every)) == len(every)


def test_the_builder_seed_fixes_weights_and_masks():
    def run(seed):
        patterns = {"stage2_block1_bn1": CONV, "final_bn": CONV}
        model = tad.models.wide_resnet(10, 1, (8, 8, 3), patterns=patterns, seed=seed)
        return weights(model), [model(images(), training=True).numpy() for _ in range(2)]

    first = run(1)
    keras.utils.set_random_seed(77)  # the global state has no part in it
    second, other = run(1), run(2)
    assert equal(first[0], second[0])
    assert equal(first[1], second[1])
    assert not equal(first[0], other[0])
    assert (first[1][0] != first[1][1]).any()


def test_the_masks_alone_follow_the_seed():
    first, other = (tad.models.wide_resnet(10, 1, (8, 8, 3), patterns={"final_bn": CONV}, seed=seed) for seed in (1, 2))
    other.set_weights(first.get_weights())  # the seeds' state is not among them

    def step():
        return [model(images(), training=True).numpy() for model in (first, other)]

    ours, theirs = step()
    assert (ours != theirs).any()
    for seeds, alike in (((5, 5), True), ((5, 6), False)):
        for model, seed in zip((first, other), seeds, strict=True):
            for layer in itertools.chain(*pattern_layers(model).values()):
                layer.reseed(seed)
        ours, theirs = step()
        assert (ours == theirs).all() == alike


def test_without_patterns_nothing_is_dropped():
    plain = tad.models.wide_resnet(10, 1, (8, 8, 3), patterns={})
    none = tad.models.wide_resnet(10, 1, (8, 8, 3))
    zero = tad.models.wide_resnet(10, 1, (8, 8, 3), patterns={"final_bn": tad.ConvPattern(size=2, rate=0)})
    dropping = tad.models.wide_resnet(10, 1, (8, 8, 3), patterns={"final_bn": CONV})
    wanted = plain(images(), training=True).numpy()
    for model in (none, zero):
        assert (model(images(), training=True).numpy() == wanted).all()
    assert (dropping(images(), training=True).numpy() != wanted).any()


def test_patterns_make_no_difference_at_inference():
    plain = tad.models.wide_resnet(10, 1, (8, 8, 3))
    patterns = {site.name: CONV for site in wide_resnet_sites(10, 1, (8, 8, 3))}
    dropping = tad.models.wide_resnet(10, 1, (8, 8, 3), patterns=tad.PatternSet(patterns))
    assert (plain(images()).numpy() == dropping(images()).numpy()).all()


def test_a_mutable_wide_resnet_takes_patterns():
    model = tad.models.wide_resnet(10, 1, (8, 8, 3), mutable=True)
    fixed = tad.models.wide_resnet(10, 1, (8, 8, 3), patterns={"final_bn": CONV})
    assign_patterns(model, tad.PatternSet({"final_bn": CONV}))
    wanted = fixed(images(), training=True).numpy()
    assert model(images(), training=True).numpy() == pytest.approx(wanted, abs=1e-5)


def test_dropout_and_weight_decay():
    model = tad.models.wide_resnet(10, 1, (8, 8, 3), dropout=0.5, weight_decay=0.01)
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    wanted = 0.01 * sum(float(tf.reduce_sum(tf.square(kernel))) for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(wanted, rel=1e-5)
    layer = model.get_layer("stage1_block1_dropout")
    assert layer.pattern == tad.TransformerPattern(size=1, rate=0.5)
    dropped = layer(tf.ones((4, 8, 8, 16)), training=True).numpy() == 0
    assert 0.45 < dropped.mean() < 0.55
    assert tad.models.wide_resnet(10, 1, (8, 8, 3)).losses == []


@pytest.mark.parametrize("depth", [4, 9, 12, 27, 10.0, "28", None])
def test_depth_is_checked(depth):
    with pytest.raises(ValueError, match=r"^Invalid value for 'depth'\. Expected 6 \* n \+ 4 .+ Received: depth="):
        tad.models.wide_resnet(depth, 1)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("width", {"width": 0}),
        ("width", {"width": 1.5}),
        ("input_shape", {"input_shape": (32, 32)}),
        ("input_shape", {"input_shape": (3, 32, 3)}),
        ("input_shape", {"input_shape": (32, 2, 3)}),
        ("num_classes", {"num_classes": 0}),
        ("num_classes", {"num_classes": 2.5}),
        ("patterns", {"patterns": {"stage9_block1_bn1": CONV}}),
        ("patterns", {"patterns": {"stem": CONV}}),
        ("rate", {"dropout": 1.5}),
    ],
)
def test_wide_resnet_arguments_are_checked(name, kwargs):
    with pytest.raises(ValueError, match=rf"^Invalid value for '{name}'\. Expected .+ Received: "):
        tad.models.wide_resnet(**{"depth": 10, "width": 1} | kwargs)


def test_wide_resnet_wants_patterns_of_its_kind():
    with pytest.raises((TypeError, ValueError), match="ConvPattern"):
        tad.models.wide_resnet(10, 1, patterns={"final_bn": WORDS})


# Transformer language model

V, T = 11, 8


def language_model(**kwargs):
    return tad.models.transformer_lm(V, T, hidden_dim=16, num_heads=2, intermediate_dim=32, **kwargs)


def tokens(seed=0):
    return np.random.default_rng(seed).integers(0, V, (3, T)).astype(np.int32)


def test_all_seven_sites_are_in_every_layer():
    assert TRANSFORMER_SITES == SEVEN
    model = language_model(num_layers=3)
    found = pattern_layers(model)
    assert set(found) == set(SEVEN)
    for site in SEVEN:
        places = 2 if site == "residual" else 1
        assert len(found[site]) == 3 * places, site
    attentions = [layer for layer in model.layers if isinstance(layer, PatternAttention)]
    assert len(attentions) == 3
    for attention in attentions:
        inside = [layer.site for layer in attention._flatten_layers() if isinstance(layer, tad.PatternDropout)]
        assert sorted(inside) == sorted(SEVEN[:5])
    seeds = [layer.seed for layers in found.values() for layer in layers]
    assert len(set(seeds)) == len(seeds)


def test_transformer_sites():
    sites = transformer_sites(T, 16)
    assert tuple(site.name for site in sites) == SEVEN
    assert {site.kind for site in sites} == {tad.TransformerPattern}
    assert [site.block for site in sites] == ["attention"] * 5 + ["ffn", "residual"]


@pytest.mark.parametrize("site", SEVEN)
def test_every_site_acts(site):
    model = language_model(patterns={site: WORDS})
    for name, layers in pattern_layers(model).items():
        assert {layer.pattern for layer in layers} == {WORDS if name == site else tad.TransformerPattern()}
    assert (model(tokens(), training=True).numpy() != model(tokens()).numpy()).any()


@pytest.mark.parametrize("training", [False, True])
def test_causality(training):
    # Patterns whose masks do not depend on the tokens change nothing about it; reseeded, they are the same masks.
    model = language_model(patterns=dict.fromkeys(SEVEN, tad.TransformerPattern(size=2, stride=1, rate=0.1)))

    def run(x):
        for layer in itertools.chain(*pattern_layers(model).values()):
            layer.reseed(layer.seed)
        return model(x, training=training).numpy()

    first = run(tokens())
    for position in (0, 3, T - 1):
        changed = tokens()
        changed[:, position] = (changed[:, position] + 1) % V
        second = run(changed)
        assert second[:, :position] == pytest.approx(first[:, :position], abs=1e-5)
        assert (np.abs(second[:, position] - first[:, position]) > 1e-4).any()


def test_embeddings_are_tied():
    model = language_model()
    tables = [variable for variable in model.trainable_variables if V in variable.shape]
    assert [tuple(table.shape) for table in tables] == [(V, 16)]
    hidden = keras.Model(model.input, model.get_layer("final_norm").output)
    wanted = hidden(tokens()).numpy() @ tables[0].numpy().T
    assert model(tokens()).numpy() == pytest.approx(wanted, abs=1e-5)


def test_language_model_shapes():
    model = language_model(num_layers=1)
    assert model.input_shape == (None, T)
    assert model.output_shape == (None, T, V)
    assert model(tokens()).dtype == tf.float32


@pytest.mark.parametrize("mutable", [False, True])
def test_a_language_model_without_patterns_drops_nothing(mutable):
    for patterns in ({}, None, tad.PatternSet({})):
        model = language_model(patterns=patterns, mutable=mutable)
        wanted = model(tokens()).numpy()
        assert model(tokens(), training=True).numpy() == pytest.approx(wanted, abs=1e-6)


def test_one_pattern_per_site_serves_all_layers():
    model = language_model(mutable=True, num_layers=3)
    patterns = {"query": WORDS, "ffn": tad.TransformerPattern(size=2, rate=0.1), "residual": WORDS}
    assign_patterns(model, tad.PatternSet(patterns))
    for site, layers in pattern_layers(model).items():
        assert {layer.pattern for layer in layers} == {patterns.get(site, tad.TransformerPattern())}
    fixed = language_model(patterns=patterns, num_layers=3)
    wanted = fixed(tokens(), training=True).numpy()
    assert model(tokens(), training=True).numpy() == pytest.approx(wanted, abs=1e-5)
    with pytest.raises(ValueError, match="not mutable sites of this model: stem"):
        assign_patterns(model, tad.PatternSet({"stem": WORDS}))


def test_the_language_model_seed_fixes_weights_and_masks():
    def run(seed):
        model = language_model(patterns=dict.fromkeys(SEVEN, WORDS), seed=seed)
        return weights(model), [model(tokens(), training=True).numpy() for _ in range(2)]

    first = run(1)
    keras.utils.set_random_seed(77)
    second, other = run(1), run(2)
    assert equal(first[0], second[0])
    assert equal(first[1], second[1])
    assert not equal(first[0], other[0])
    assert (first[1][0] != first[1][1]).any()


def test_a_language_model_trains_in_graph_mode():
    model = language_model(patterns=dict.fromkeys(SEVEN, WORDS), num_layers=1)
    x = np.tile(np.arange(T, dtype=np.int32), (32, 1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    losses = model.fit(x, (x + 1) % V, batch_size=8, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    "name",
    ["vocabulary_size", "sequence_length", "num_layers", "hidden_dim", "num_heads", "intermediate_dim"],
)
@pytest.mark.parametrize("value", [0, -1, 1.0, "8", None])
def test_language_model_sizes_are_checked(name, value):
    sizes = {"vocabulary_size": V, "sequence_length": T} | {name: value}
    with pytest.raises(
        ValueError, match=rf"^Invalid value for '{name}'\. Expected an integer >= 1\. Received: {name}="
    ):
        tad.models.transformer_lm(**sizes)


def test_heads_must_divide():
    with pytest.raises(ValueError, match=r"hidden_dim to be a multiple of num_heads\. Received: 10 and 4"):
        tad.models.transformer_lm(V, T, hidden_dim=10, num_heads=4)


def test_language_model_sites_are_checked():
    with pytest.raises(ValueError, match=r"^Invalid value for 'patterns'\. Expected sites among .+ Received: 'stem'"):
        language_model(patterns={"stem": WORDS})


@pytest.mark.parametrize("site", SEVEN)
def test_a_language_model_wants_patterns_of_its_kind(site):
    with pytest.raises((TypeError, ValueError), match="TransformerPattern"):
        language_model(patterns={site: CONV})


def test_query_key_and_value_begin_differently_and_as_the_seed_says():
    def kernels(seed: int) -> list[np.ndarray]:
        model = tad.models.transformer_lm(V, T, num_layers=1, seed=seed)
        return [v.numpy() for v in model.trainable_variables if v.path.endswith("kernel")]

    first = kernels(3)
    assert len({kernel.tobytes() for kernel in first}) == len(first) == 6
    assert all(np.array_equal(a, b) for a, b in zip(first, kernels(3), strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, kernels(4), strict=True))
