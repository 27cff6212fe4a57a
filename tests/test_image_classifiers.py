"""ResNet-50 and EfficientNet: published sizes, sites as the tables say, skip connections, seeds, errors."""

import functools
import re

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests.site_lists import efficientnet_sites, resnet50_sites
from tf_autodropout.layers import assign_patterns, pattern_layers
from tf_autodropout.surgery.choice import choose

CONV = tad.ConvPattern(size=1)
SHAPE = (48, 33, 3)  # odd sides and sides of two parities through all strides
SMALL = {"input_shape": SHAPE, "num_classes": 5, "width": 0.125}
BUILDERS = ("resnet50", pytest.param("efficientnet", marks=pytest.mark.slow))
NORM = keras.layers.BatchNormalization


def build(builder, **kwargs):
    return getattr(tad.models, builder)(**SMALL | kwargs)


@functools.cache
def full(builder, *variant):
    return getattr(tad.models, builder)(*variant)


@functools.cache
def plain(builder):
    return build(builder)


@functools.cache
def everywhere(builder):
    """A model with a mutable pattern at every site, shared by tests that do not train it."""
    keras.utils.set_random_seed(77)  # the global state has no part in it
    model = build(builder, mutable=True, patterns=some(builder))
    assert {site: layers[0].pattern for site, layers in pattern_layers(model).items()} == {
        site.name: some(builder).get(site.name, tad.ConvPattern()) for site in sites_of(builder)
    }
    return model


def some(builder):
    return tad.PatternSet({site.name: CONV for site in sites_of(builder)[::7]})


def sites_of(builder):
    if builder == "resnet50":
        return resnet50_sites(SHAPE, SMALL["width"])
    return efficientnet_sites("b0", SHAPE, SMALL["width"])


def images(n=2, shape=SHAPE):
    return np.random.default_rng(0).standard_normal((n, *shape)).astype(np.float32)


def count(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


# Sizes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("builder", "variant", "published", "number"),
    [
        ("resnet50", None, 25.6e6, 53),
        ("efficientnet", "b0", 5.3e6, 49),
        ("efficientnet", "b3", 12e6, 78),
        ("efficientnet", "b5", 30e6, 116),
        ("efficientnet", "b7", 66e6, 163),
    ],
)
def test_published_sizes(builder, variant, published, number):
    model = full(builder, *([variant] if variant else []))
    digits = 3 if published == 25.6e6 else 2
    assert float(f"{count(model):.{digits - 1}e}") == published
    sites = tad.sites(model).as_sites()
    assert all(model.get_layer(site.name).output.shape == (None, *site.shape) for site in sites)
    assert {site.stage for site in sites} == {f"stage{number}" for number in range(1, 8 if variant else 5)} | (
        set() if variant else {"stem"}
    )
    assert len(sites) == number
    assert model.output_shape == (None, 1000)


@pytest.mark.slow
def test_a_half_width_proxy_has_half_the_filters():
    full, half = resnet50_sites(), resnet50_sites(width=0.5)
    assert [site.shape for site in half] == [(*site.shape[:2], site.shape[2] // 2) for site in full]
    full, half = efficientnet_sites(), efficientnet_sites(width=0.5)
    assert [site.name for site in half] == [site.name for site in full]
    for one, other in zip(full, half, strict=True):
        assert one.shape[:2] == other.shape[:2]
        assert abs(other.shape[2] / one.shape[2] - 0.5) <= 1 / 6  # 24 filters become 16: the multiples of 8
    assert half[-1].shape == (7, 7, 640)


# Sites


@pytest.mark.slow
@pytest.mark.parametrize("builder", BUILDERS)
def test_sites_agree_with_the_layers(builder):
    found = tad.sites(everywhere(builder)).as_sites()
    assert [(site.name, site.kind, site.shape) for site in found] == [
        (site.name, site.kind, site.shape) for site in sites_of(builder)
    ]


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_mutable_model_has_a_layer_at_every_site(builder):
    model = everywhere(builder)
    layers = pattern_layers(model)
    assert set(layers) == {layer.name for layer in model.layers if isinstance(layer, NORM)}
    for site, twins in layers.items():
        (main,) = (layer for layer in twins if not layer.on_skip)
        assert main.input is model.get_layer(site).output
        skips = [layer for layer in twins if layer.on_skip]
        block, part = re.fullmatch(r"(stem|top|stage\d_block\d+)_(\w+)", site).groups()
        closed = any(layer.name == f"{block}_add" for layer in model.layers)
        assert len(skips) == (closed and part != "project_bn" if builder == "resnet50" else closed), site


@pytest.mark.parametrize(
    ("builder", "site"),
    [
        ("resnet50", "stage2_block2_bn2"),
        pytest.param("efficientnet", "stage3_block2_depthwise_bn", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("residual", [False, True])
def test_the_residual_token_acts_on_the_skip_connection(builder, site, residual):
    model = everywhere(builder)
    assign_patterns(model, tad.PatternSet({site: tad.ConvPattern(size=2, residual=residual)}))
    main, skip = sorted(pattern_layers(model)[site], key=lambda layer: layer.on_skip)
    probe = keras.Model(model.input, [main.input, main.output, skip.input, skip.output])
    main_in, main_out, skip_in, skip_out = (x.numpy() for x in probe(images(), training=True))
    assert ((main_out == 0) & (main_in != 0)).any()
    assert (skip_out != skip_in).any() == residual
    add = model.get_layer(re.sub(r"(block\d+)_.*", r"\1_add", site))
    before = [tensor._keras_history.operation for tensor in add.input]
    for layer in before:  # the patterns of a block stand one behind the other on its skip connection
        if isinstance(layer, tad.PatternDropout):
            before.append(layer.input._keras_history.operation)
    assert skip in before


@pytest.mark.parametrize("builder", BUILDERS)
def test_patterns_change_training_and_nothing_else(builder):
    model = everywhere(builder)
    assert model.name == plain(builder).name
    assign_patterns(model, some(builder))
    moved = {variable.path: variable for variable in model.non_trainable_variables}
    for variable in plain(builder).non_trainable_variables:  # statistics that other tests have moved
        moved[variable.path].assign(variable)
    assert (model(images()).numpy() == plain(builder)(images()).numpy()).all()
    assert (model(images(), training=True).numpy() != plain(builder)(images(), training=True).numpy()).any()


@pytest.mark.parametrize(
    ("builder", "preset", "number"),
    [
        ("resnet50", "resnet-drop-path-0.1", 16),
        pytest.param("efficientnet", "convnet-spatial-0.1", 49, marks=pytest.mark.slow),
    ],
)
def test_presets_fit(builder, preset, number):
    chosen = choose(tad.sites(plain(builder)), preset)
    assert len(chosen) == number
    assert set(chosen.values()) == set(tad.presets.load(preset).values())


# The networks


@pytest.mark.slow
def test_efficientnet_is_that_of_keras_applications():
    ours = full("efficientnet", "b0")
    theirs = keras.applications.EfficientNetB0(weights=None, classifier_activation=None)
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, NORM, keras.layers.Dense)
    pairs = [[layer for layer in model.layers if isinstance(layer, kinds)] for model in (ours, theirs)]
    rng = np.random.default_rng(1)
    for one, other in zip(*pairs, strict=True):
        weights = [rng.uniform(0.5, 1.5, w.shape) if isinstance(one, NORM) else w for w in one.get_weights()]
        one.set_weights(weights)
        other.set_weights(weights)
    x = images(shape=(224, 224, 3))
    wanted = theirs(255 * x).numpy()  # it divides by 255 itself
    assert wanted.std() > 0.01
    assert ours(x).numpy() == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_resnet50_is_made_of_50_layers():
    kernels = [layer for layer in plain("resnet50").layers if isinstance(layer, keras.layers.Conv2D)]
    assert len([layer for layer in kernels if "project" not in layer.name]) == 49  # and the classifier
    assert len([layer for layer in kernels if "project" in layer.name]) == 4
    assert plain("resnet50").get_layer("stem").filters == 8  # an eighth of 64, as all else


@pytest.mark.slow
@pytest.mark.parametrize("builder", BUILDERS)
def test_seed_and_weight_decay(builder):
    def weights(model):  # without the statistics, which other tests move
        return {variable.path: variable.numpy() for variable in model.trainable_variables}

    first, again = weights(plain(builder)), weights(everywhere(builder))
    assert first.keys() == again.keys()
    assert all((first[path] == again[path]).all() for path in first)
    other = build(builder, seed=1, weight_decay=0.01)
    differ = {path: (value != first[path]).any() for path, value in weights(other).items()}
    assert differ == {path: value.ndim > 1 for path, value in first.items()}  # the rest begins with zeros and ones
    seen = [value.ravel()[:4].tobytes() for value in first.values() if value.ndim > 1]
    assert len(set(seen)) == len(seen)  # each has a seed of its own
    layers = [layer for layer in other.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)]
    wanted = 0.01 * sum(float((layer.kernel.numpy() ** 2).sum()) for layer in layers)
    assert float(sum(other.losses)) == pytest.approx(wanted, rel=1e-4)
    assert plain(builder).losses == []


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("builder", BUILDERS)
def test_it_trains(builder, jit, tmp_path):
    patterns = {site.name: tad.ConvPattern(size=1, residual=True) for site in sites_of(builder)[::9]}
    model = build(builder, patterns=patterns)
    before = model.get_weights()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=jit)
    losses = model.fit(images(8), np.arange(8) % 5, batch_size=4, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    changed = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert sum(changed) > 0.9 * len(changed)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded(images()).numpy() == model(images()).numpy()).all()
    assert set(pattern_layers(loaded)) == set(patterns)


# Errors


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_shape", (32, 32)),
        ("input_shape", (31, 32, 3)),
        ("input_shape", (32, 32, 0)),
        ("input_shape", (None, None, 3)),
        ("input_shape", 32),
        ("num_classes", 0),
        ("num_classes", 2.5),
        ("width", 0),
        ("width", -1.0),
        ("width", "half"),
        ("patterns", {"stem": CONV}),
        pytest.param("patterns", {"stage9_block1_bn1": CONV}, marks=pytest.mark.slow),
    ],
)
def test_arguments_are_checked(builder, name, value):
    with pytest.raises(ValueError, match=rf"^Invalid value for '{name}'\. Expected .+ Received: "):
        build(builder, **{name: value})


@pytest.mark.slow
@pytest.mark.parametrize("builder", BUILDERS)
def test_patterns_of_the_other_kind(builder):
    with pytest.raises(TypeError, match="Site 'stem_bn' needs a ConvPattern"):
        build(builder, patterns={"stem_bn": tad.TransformerPattern(1)})


@pytest.mark.parametrize("variant", ["b8", "B0", None, 0])
def test_variants_are_checked(variant):
    with pytest.raises(ValueError, match=r"^Invalid value for 'variant'\. Expected one of b0, .+ Received: variant="):
        tad.models.efficientnet(variant)
