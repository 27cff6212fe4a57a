"""A pattern behind an output leaves it its name: losses and metrics by name compile, before and after saving."""

import json
from typing import Any

import keras
import keras_nlp
import numpy as np
import pytest

import tf_autodropout as tad
from tests.test_surgery import same

L = keras.layers
PATTERN = tad.ConvPattern(size=2)
X = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")


def one_output() -> keras.Model:
    image = keras.Input((6, 6, 3), name="image")
    return keras.Model(image, L.BatchNormalization(name="heat")(L.Conv2D(2, 1)(image)))


def outputs(make: Any) -> keras.Model:
    image = keras.Input((6, 6, 3), name="image")
    x = L.BatchNormalization(name="inner")(L.Conv2D(2, 1, name="conv")(image))
    heat = L.BatchNormalization(name="heat")(x)
    size = L.Dense(1, name="size")(L.GlobalAveragePooling2D()(x))
    return keras.Model(image, make(heat, size))


def targets(model: keras.Model) -> Any:
    named = {"heat": np.zeros((2, 6, 6, 2)), "size": np.zeros((2, 1))}
    return named if isinstance(model.output, dict) else [named[name] for name in model.output_names]


CASES = {
    "one": one_output,
    "list": lambda: outputs(lambda heat, size: [heat, size]),
    "dict": lambda: outputs(lambda heat, size: {"heat": heat, "size": size}),
    "one in a list": lambda: outputs(lambda heat, size: [heat]),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_and_metrics_by_output_name(name, tmp_path):
    plain = CASES[name]()
    model = tad.regularize(plain, PATTERN)
    assert isinstance(model.layers[-1], tad.PatternDropout) or model.get_layer("heat_pattern_main")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded, tad.strip(model), tad.strip(loaded)):
        assert one.output_names == plain.output_names
        names = plain.output_names
        one.compile("sgd", dict.fromkeys(names, "mse"), metrics={"heat": ["mae"]}, run_eagerly=True)
        one.fit(X, targets(plain), verbose=0)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert keras.models.clone_model(loaded).get_config()["insertions"] == {}, "its graph has the patterns"
    assert same(loaded(X), plain(X))
    assert not same(loaded(X, training=True), plain(X, training=True)), "its patterns are there"
    assert str(tad.sites(loaded)) == str(tad.sites(model))
    assert type(tad.strip(loaded)) is type(plain)
    assert json.dumps(tad.strip(loaded).get_config()) == json.dumps(plain.get_config())


def test_a_compiled_model_with_losses_by_name_is_copied_with_them():
    plain = CASES["list"]()
    plain.compile("sgd", {"heat": "mse", "size": "mae"}, loss_weights={"heat": 2.0, "size": 1.0}, run_eagerly=True)
    y = [np.zeros((2, 6, 6, 2)), np.zeros((2, 1))]
    wanted = plain.evaluate(X, y, verbose=0, return_dict=True)
    model = tad.regularize(plain, PATTERN)
    assert model.evaluate(X, y, verbose=0, return_dict=True) == pytest.approx(wanted)
    assert model.fit(X, y, verbose=0).history.keys() == wanted.keys()


def test_names_of_outputs_inside_and_around_other_models(tmp_path):
    inner = CASES["list"]()
    image = keras.Input((6, 6, 3))
    heat, size = inner(image)
    around = keras.Model(image, [L.BatchNormalization(name="last")(heat), L.Identity(name="same")(size)])
    model = tad.regularize(around, PATTERN)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.output_names == model.output_names == around.output_names == ["last", "same"]
    assert same(loaded(X), around(X))
    assert len(tad.sites(loaded)) == len([site for site in tad.sites(loaded) if site.pattern]) == 3


def test_the_output_of_a_backbone_of_keras_hub(tmp_path):
    backbone = keras_nlp.models.BertBackbone(9, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8)
    model = tad.regularize(backbone, tad.members.word_dropout(0.1))
    assert model.output_names == backbone.output_names
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").output_names == backbone.output_names
