"""`regularize` by one number, over training time and over depth; what it refuses; DropKey; Monte Carlo."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tests.user_models as users
import tf_autodropout as tad
from tests import ready_models as ready
from tf_autodropout.layers import PatternAttention, pattern_layers
from tf_autodropout.layers.recording import recording
from tf_autodropout.masks import drop_probability

L = keras.layers
LEVEL = 1e-6


def same(first, second):
    return all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(first, second, strict=True))


def inputs_of(model):
    return users.images(4) if isinstance(model, users.ConvNet) else ready.inputs_of(model)


def convnet(size=16, classes=3):
    image = keras.Input((size, size, 3))
    x = image
    for filters in (8, 16):
        y = L.BatchNormalization()(L.Conv2D(filters, 3, padding="same")(x))
        y = L.BatchNormalization()(L.Conv2D(filters, 3, padding="same")(L.ReLU()(y)))
        x = L.MaxPooling2D()(L.Add()([y, L.Conv2D(filters, 1)(x)]))
    return keras.Model(image, L.Dense(classes)(L.GlobalAveragePooling2D()(x)))


def mlp():
    x = keras.Input((5,))
    return keras.Model(x, L.Dense(2, name="out")(L.Dense(40, "relu", name="second")(L.Dense(40, name="first")(x))))


def dropped_shares(model, inputs):
    """The exact share that each pattern layer drops of what arrives at it."""
    shares = {}

    def watch(layer, h):
        sizes = h.shape[1:-1] if isinstance(layer.pattern, tad.ConvPattern) else (h.shape[layer.token_axis],)
        sizes = sizes if len(h.shape) > 2 else (1,)
        shares[id(layer)] = float(drop_probability(layer.pattern, tuple(sizes)).mean())

    with recording(watch):
        model(inputs, training=False)
    acting = [one for layers in pattern_layers(model).values() for one in layers if not one.pattern.is_identity]
    return [shares[id(layer)] for layer in acting if id(layer) in shares]  # a GPT-2 does not use its cross-attention


# One dial


@pytest.mark.parametrize("build", [convnet, mlp, users.attention_net, users.rnn, users.u_net, users.subclassed])
def test_strength_is_the_share_that_is_dropped_at_every_recommended_site(build):
    plain = build()
    model = tad.regularize(plain, strength=0.2)
    sites = tad.sites(model)
    assert len(sites) == len(tad.sites(plain)) > 0
    assert all(site.pattern is not None for site in sites)
    assert dropped_shares(model, inputs_of(plain)) == pytest.approx([0.2] * len(sites), rel=0.2)


def test_a_number_means_the_same_everywhere():
    plain = convnet()
    wanted = [site.pattern for site in tad.sites(tad.regularize(plain, strength=0.1))]
    assert [site.pattern for site in tad.sites(tad.regularize(plain, 0.1))] == wanted
    assert [site.pattern for site in tad.sites(tad.regularize(plain, {"batch_norm": 0.1}))] == wanted
    layer = tad.PatternDropout(0.1)
    layer(tf.ones((1, 16, 16, 8)))
    assert layer.pattern == wanted[0]


PUBLIC = ["ResNet50", "MobileNetV2", "EfficientNetB0", "VGG16", "DenseNet121", "ConvNeXtTiny", "InceptionV3"]


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("name", PUBLIC)
def test_strength_in_public_models(name, strength):
    plain = getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=10)
    shares = dropped_shares(tad.regularize(plain, strength=strength), np.zeros((1, 96, 96, 3), "float32"))
    assert len(shares) == len(tad.sites(plain)) > 10
    assert shares == pytest.approx([strength] * len(shares), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("build", [ready.bert, ready.gpt2, ready.hub_resnet])
def test_strength_in_models_of_kerashub(build):
    plain = build()
    model = tad.regularize(plain, strength=0.1)
    shares = dropped_shares(model, inputs_of(plain))
    assert shares == pytest.approx([0.1] * len(shares), rel=0.2)
    assert len(shares) >= len(tad.sites(plain)) > 10


def test_strength_is_what_is_counted_in_a_training_pass():
    model = tad.regularize(mlp(), strength=0.3)
    model = keras.Model(model.input, [layer.output for layer in model.layers if isinstance(layer, tad.PatternDropout)])
    for h in model(np.random.default_rng(0).uniform(0.1, 1, (300, 5)), training=True)[:1]:
        assert scipy.stats.binomtest(int((h.numpy() == 0).sum()), 300 * 40, 0.3).pvalue > LEVEL


@pytest.mark.parametrize("wrong", [{}, {"patterns": 0.1, "strength": 0.1}, {"strength": 1.5}, {"strength": "much"}])
def test_wrong_strength(wrong):
    with pytest.raises(ValueError, match="strength"):
        tad.regularize(mlp(), **wrong)


# Over training time


@pytest.mark.parametrize(
    "build",
    [
        convnet,
        users.subclassed,
        *(pytest.param(build, marks=pytest.mark.slow) for build in (users.attention_net, ready.encoder_and_decoder)),
    ],
)
def test_a_schedule_goes_to_every_pattern_and_is_saved(build, tmp_path):
    plain = build()
    schedule = tad.Schedule.late(2)
    model = tad.regularize(plain, strength=0.3, schedule=schedule)
    assert {site.schedule for site in tad.sites(model)} == {schedule}
    assert str(schedule) in str(tad.sites(model))
    x = inputs_of(plain)
    quiet = [model(x, training=True) for _ in range(2)]
    assert same(*quiet), "off at first"
    if not isinstance(plain, users.ConvNet):  # it has no config
        model.save(tmp_path / "model.keras")
        model = tad.load_model(tmp_path / "model.keras", custom_objects={"Attention": users.Attention})
        assert {site.schedule for site in tad.sites(model)} == {schedule}
    loud = [model(x, training=True) for _ in range(2)]
    assert not same(*loud), "on from the third step, counted on after loading"


def test_what_is_no_schedule_is_refused():
    with pytest.raises(TypeError, match="Expected 'schedule' to be a Schedule or None. Received: schedule=3"):
        tad.regularize(mlp(), 0.1, schedule=3)


# Over depth


def test_the_rate_goes_in_a_straight_line_from_block_to_block():
    rule = tad.by_depth(tad.ConvPattern(size=2), 0.1, 0.3)
    patterns = rule.resolve(tad.sites(convnet()))
    assert [pattern.rate for pattern in patterns.values()] == pytest.approx([0.1, 0.1, 0.3, 0.3])
    model = tad.regularize(convnet(), rule)
    assert [site.pattern.rate for site in tad.sites(model)] == pytest.approx([0.1, 0.1, 0.3, 0.3])


def test_drop_path_goes_to_the_ends_of_the_branches():
    rule = tad.by_depth(tad.members.drop_path(0), 0.0, 0.4)
    plain = convnet()
    batch_norms = [site.name for site in tad.sites(plain)]
    assert {name: one.rate for name, one in rule.resolve(tad.sites(plain)).items()} == {
        batch_norms[1]: 0.0,
        batch_norms[3]: 0.4,
    }
    words = tad.by_depth(tad.members.drop_path(0, tad.TransformerPattern), 0.1, 0.2)
    found = words.resolve(tad.sites(ready.bert()))
    assert [(name.rpartition("/")[2], one.rate) for name, one in found.items()] == [
        ("output", 0.1),
        ("ffn", 0.1),
        ("output", 0.2),
        ("ffn", 0.2),
    ]
    with pytest.raises(ValueError, match="no site at the end of a residual branch"):
        rule.resolve(tad.sites(users.plain_cnn()))


def test_depth_checks_its_arguments():
    with pytest.raises(TypeError, match="Expected 'pattern' to be a pattern"):
        tad.by_depth(0.1, 0, 1)
    with pytest.raises(ValueError, match="Invalid value for 'last'"):
        tad.by_depth(tad.ConvPattern(size=2), 0, 2)


# What would silence a network


@pytest.mark.parametrize(
    ("pattern", "schedule"),
    [
        (tad.ConvPattern(size=8), None),
        (tad.ConvPattern(size=8, share_c=True), tad.Schedule.ramp_up(10)),
        (tad.members.drop_block(16, 1.0), None),
    ],
)
def test_a_pattern_that_would_drop_everything_is_refused_by_the_name_of_its_site(pattern, schedule):
    plain = convnet()
    small = [site.name for site in tad.sites(plain) if site.shape[0] <= 8]
    with pytest.raises(ValueError, match=f"at every step, at .* of 4 sites.*'{small[0]}' .8, 8.*strength=0.1"):
        tad.regularize(plain, pattern, schedule=schedule)


def test_less_than_everything_is_not_refused():
    plain = convnet()
    for pattern in (tad.ConvPattern(size=8, rate=0.99), tad.ConvPattern(size=7), tad.ConvPattern(size="1/2")):
        tad.regularize(plain, pattern)
    tad.regularize(plain, tad.ConvPattern(size=8), schedule=tad.Schedule(0.0, 0.5, 0, 9))


# DropKey


@pytest.mark.parametrize("build", [users.attention_net, ready.encoder_and_decoder, ready.attention_model])
def test_scores_are_a_site_that_is_taken_when_it_is_named(build, tmp_path):
    plain = build()
    every = [site for site in tad.sites(plain, every=True) if site.kind == "scores"]
    assert [site.recommended for site in every] in ([False], [False] * 2)
    assert not any(site.kind == "scores" for site in tad.sites(plain))
    model = tad.regularize(plain, {"scores": tad.members.drop_key(0.5)})
    assert [site.kind for site in tad.sites(model) if site.pattern] == ["scores"] * len(every)
    x = inputs_of(plain)
    assert same(model(x), plain(x))
    assert not same(model(x, training=True), model(x, training=True))
    model.save(tmp_path / "model.keras")
    again = tad.load_model(tmp_path / "model.keras", custom_objects={"Attention": users.Attention})
    assert same(again(x, training=True), model(x, training=True))
    assert same(tad.strip(model)(x), plain(x))


def test_dropped_keys_get_nothing_and_the_others_their_share():
    layer = PatternAttention(2, 4, patterns={"scores": tad.members.drop_key(0.4)})
    x = tf.random.normal((3, 6, 8), seed=1)
    _, plain = layer(x, x, return_attention_scores=True)
    _, dropped = layer(x, x, return_attention_scores=True, training=True)
    kept = dropped.numpy() > 0
    assert 0.4 < kept.mean() < 0.8
    wanted = plain.numpy() * kept
    assert dropped.numpy() == pytest.approx(wanted / wanted.sum(-1, keepdims=True), abs=1e-5)


# Monte Carlo


@pytest.mark.slow
def test_moments_are_those_of_the_samples():
    model = tad.regularize(convnet(), strength=0.3)
    x = np.random.default_rng(0).normal(size=(6, 16, 16, 3)).astype("float32")
    state = [layer.seed_state.numpy().tolist() for layers in pattern_layers(model).values() for layer in layers]
    mean, deviation = tad.monte_carlo(model, x, samples=60, batch_size=4)
    assert mean.shape == deviation.shape == (6, 3)
    assert state == [layer.seed_state.numpy().tolist() for layers in pattern_layers(model).values() for layer in layers]
    again = tad.monte_carlo(model, x, samples=60, batch_size=4)
    assert (again.mean == mean).all()
    assert (again.deviation == deviation).all()
    other = tad.monte_carlo(model, x, samples=60, batch_size=4, seed=1)
    assert (other.mean != mean).any()
    error = np.sqrt(2) * deviation / np.sqrt(60)
    assert (np.abs(other.mean - mean) < 6 * error).all(), "two estimates of one mean"
    assert other.deviation == pytest.approx(deviation, rel=0.8)
    assert np.abs(mean - model(x).numpy()).max() < deviation.max() * 3


def test_a_linear_model_has_the_moments_of_its_masks():
    """Dropout(p) on ones, summed: mean n, deviation sqrt(n p / (1 - p)); Eq. 1 holds the mean over a batch."""
    x = keras.Input((1000,))
    plain = keras.Model(x, L.Dense(1, kernel_initializer="ones", name="sum")(L.Identity(name="in")(x)))
    model = tad.regularize(plain, {"in": tad.members.dropout(0.2)})
    mean, deviation = tad.monte_carlo(model, np.ones((50, 1000), "float32"), samples=100, batch_size=50)
    assert mean.mean() == pytest.approx(1000, rel=1e-4)
    assert deviation.mean() == pytest.approx(np.sqrt(1000 * 0.2 / 0.8), rel=0.05)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_outputs_keep_their_structure_and_other_dropout_stays_off(jit_compile):
    x = keras.Input((4,), name="x")
    h = L.Dropout(0.5)(L.Dense(8, "relu", name="hidden")(x))
    plain = keras.Model({"x": x}, {"a": L.Dense(1)(h), "b": [L.Dense(2)(x)]})
    plain.compile(loss="mse", jit_compile=jit_compile)
    model = tad.regularize(plain, {"hidden": 0.5})
    mean, deviation = tad.monte_carlo(model, {"x": np.ones((3, 4))}, samples=5)
    assert mean["a"].shape == deviation["a"].shape == (3, 1)
    assert (deviation["a"] > 0).all()
    assert deviation["b"][0] == pytest.approx(0, abs=1e-6), "no pattern on this way"
    assert mean["b"][0] == pytest.approx(plain.predict({"x": np.ones((3, 4))}, verbose=0)["b"][0], abs=1e-5)


@pytest.mark.parametrize(
    "build", [users.attention_net, pytest.param(ready.encoder_and_decoder, marks=pytest.mark.slow), users.subclassed]
)
def test_patterns_inside_layers_are_sampled_too(build):
    plain = build()
    _, deviation = tad.monte_carlo(tad.regularize(plain, 0.3), inputs_of(plain), samples=3)
    assert max(float(one.max()) for one in keras.tree.flatten(deviation)) > 0


def test_wrong_use_of_monte_carlo():
    model, x = tad.regularize(mlp(), 0.1), np.ones((2, 5))
    with pytest.raises(ValueError, match="no pattern acts in it"):
        tad.monte_carlo(mlp(), x)
    with pytest.raises(ValueError, match="Invalid value for 'samples'"):
        tad.monte_carlo(model, x, samples=1)
    with pytest.raises(ValueError, match="equally many examples"):
        tad.monte_carlo(model, [x, np.ones((3, 5))])
    with pytest.raises(TypeError, match="Expected 'model'"):
        tad.monte_carlo(3, x)
