"""A reloaded layer draws what the saved one would have drawn next, whatever it was saved as."""

import json
import subprocess
import sys
import zipfile

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tf_autodropout import layers
from tf_autodropout.layers import pattern_layers, pattern_transformer, relative_attention, segment_memory

PATTERNS = {
    "maps": (tad.ConvPattern(size=2, stride=1, repeat=2, rotate=30), (4, 7, 6, 3)),
    "text": (tad.TransformerPattern(size=2, stride=1, rate=0.5), (4, 12, 5)),
}
OTHER = {"maps": tad.ConvPattern(size=(1, 3), shear_x=0.4), "text": tad.members.word_dropout(0.4)}
each_kind = pytest.mark.parametrize("kind", list(PATTERNS))
fixed_or_mutable = pytest.mark.parametrize("mutable", [False, True])


def make(kind, mutable=False, seed=5):
    pattern, shape = PATTERNS[kind]
    inputs = keras.Input(shape[1:])
    x = keras.layers.Dense(4, name="first")(inputs)
    x = tad.PatternDropout(pattern, seed=seed, mutable=mutable, site="here", name="here")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="last")(x), name="small")


def trained(kind, mutable):
    """A model after two steps, whose mutable pattern has been exchanged."""
    model = make(kind, mutable)
    for _ in range(2):
        model(examples(kind), training=True)
    if mutable:
        the_layer(model).assign(OTHER[kind])
    return model


def examples(kind):
    return np.random.default_rng(0).standard_normal(PATTERNS[kind][1]).astype(np.float32)


def the_layer(model):
    return pattern_layers(model)["here"][0]


def assert_goes_on_alike(model, again, kind):
    assert the_layer(again).pattern == the_layer(model).pattern
    for _ in range(3):
        wanted = model(examples(kind), training=True).numpy()
        assert again(examples(kind), training=True).numpy() == pytest.approx(wanted, rel=1e-5)


@each_kind
@fixed_or_mutable
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_files_of_keras(kind, mutable, suffix, tmp_path):
    model, path = trained(kind, mutable), tmp_path / f"model{suffix}"
    if suffix == ".keras":
        model.save(path)
        again = keras.models.load_model(path)
    else:
        model.save_weights(path)
        again = make(kind, mutable, seed=99)
        again.load_weights(path)
    assert_goes_on_alike(model, again, kind)


@each_kind
@fixed_or_mutable
def test_a_clone_starts_anew_and_takes_the_state_with_the_variables(kind, mutable):
    model = trained(kind, mutable)
    clone = keras.models.clone_model(model)
    assert the_layer(clone) is not the_layer(model)
    assert the_layer(clone).get_config() == the_layer(model).get_config()
    assert the_layer(clone).seed_state.numpy().tolist() == [5, 0]
    for new, old in zip(clone.variables, model.variables, strict=True):
        new.assign(old)
    assert_goes_on_alike(model, clone, kind)


@each_kind
@fixed_or_mutable
def test_an_exported_model_is_the_model_at_inference(kind, mutable, tmp_path):
    model = trained(kind, mutable)
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    assert exported.serve(examples(kind)).numpy() == pytest.approx(model(examples(kind)).numpy(), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "mutable"),
    [
        ("maps", False),
        ("text", True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("maps", True), ("text", False))),
    ],
)
def test_a_saved_model_with_a_training_signature_goes_on(kind, mutable, tmp_path):
    model = trained(kind, mutable)
    module = tf.Module()
    module.model = model
    shape = (None, *PATTERNS[kind][1][1:])
    module.step = tf.function(lambda x: model(x, training=True), input_signature=[tf.TensorSpec(shape)])
    tf.saved_model.save(module, tmp_path / "saved")
    again = tf.saved_model.load(tmp_path / "saved")
    for _ in range(3):
        wanted = module.step(examples(kind)).numpy()
        assert again.step(examples(kind)).numpy() == pytest.approx(wanted, rel=1e-5)


def test_weights_of_a_mutable_layer_do_not_load_into_a_fixed_one():
    store = {}
    the_layer(make("maps", mutable=True)).save_own_variables(store)
    with pytest.raises(ValueError, match="variables"):
        the_layer(make("maps")).load_own_variables(store)


LOADS = """
import json, sys
import tf_autodropout as tad
models = [tad.load_model(path) for path in sys.argv[1:]]
print(json.dumps([[model.count_params(), [str(site.pattern) for site in tad.sites(model)]] for model in models]))
"""


@pytest.mark.slow
def test_a_process_that_made_no_model_loads_them_with_their_patterns(tmp_path):
    plain = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.BatchNormalization()])
    bert = keras_nlp.models.BertBackbone(9, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8)
    word = tad.members.word_dropout(0.2)
    models = {
        "maps": tad.regularize(plain, tad.ConvPattern(size=2)),
        "bert": tad.regularize(bert, word),
        "lm": tad.models.transformer_lm(9, 4, 1, 8, 2, patterns=tad.PatternSet({"ffn": word})),
        "xl": tad.models.transformer_xl(9, 4, num_layers=1, hidden_dim=8, num_heads=2),
    }
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    paths = [tmp_path / f"{name}.keras" for name in models]
    run = subprocess.run([sys.executable, "-c", LOADS, *paths], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    wanted = [[model.count_params(), [str(site.pattern) for site in tad.sites(model)]] for model in models.values()]
    assert json.loads(run.stdout.splitlines()[-1]) == wanted


@pytest.mark.parametrize(
    "kind",
    [
        tad.PatternDropout,
        layers.PatternAttention,
        pattern_transformer.PatternTransformerEncoder,
        pattern_transformer.PatternTransformerDecoder,
        relative_attention.RelativeAttention,
        segment_memory.SegmentMemory,
    ],
)
def test_a_saved_layer_names_what_loads_it_where_keras_does_not_know_it(kind):
    assert keras.saving.get_registered_name(kind).startswith("tf_autodropout.load_model>")


@pytest.mark.parametrize("kind", PATTERNS)
def test_files_with_the_names_of_version_0_1(kind, tmp_path):
    model = make(kind)
    model.save(tmp_path / "now.keras")
    with zipfile.ZipFile(tmp_path / "now.keras") as now, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in now.namelist():
            content = now.read(name)
            if name == "config.json":
                assert b"tf_autodropout.load_model>" in content
                content = content.replace(b"tf_autodropout.load_model>", b"tf_autodropout>")
            old.writestr(name, content)
    loaded = keras.saving.load_model(tmp_path / "old.keras")
    assert the_layer(loaded).pattern == the_layer(model).pattern
    assert keras.saving.get_registered_name(type(the_layer(loaded))).startswith("tf_autodropout.load_model>")
