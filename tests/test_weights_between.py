"""Weights go from a plain model to the regularized one and back, in all ways of Keras; so do presets and pickles."""

import copy
import pickle
import subprocess
import sys
from typing import Any

import keras
import keras_nlp
import numpy as np
import pytest

import tf_autodropout as tad
from tests import ready_models as ready
from tests.test_surgery import same

L = keras.layers


def convnet() -> keras.Model:
    image = keras.Input((6, 6, 2))
    x = L.BatchNormalization(name="bn")(L.Conv2D(3, 1, name="conv")(image))
    return keras.Model(image, L.Dense(2, name="head")(L.GlobalAveragePooling2D(name="pool")(x)), name="net")


def sequential() -> keras.Model:
    layers = [keras.Input((6, 6, 2)), L.Conv2D(3, 1), L.BatchNormalization(), L.BatchNormalization(), L.Flatten()]
    return keras.Sequential([*layers, L.Dense(2)])


def attention() -> keras.Model:
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, L.Dense(2)(L.MultiHeadAttention(2, 4, name="attention")(x, x)))


def bert() -> keras.Model:
    return ready.bert(layers=2, hidden=8)


def gpt2() -> keras.Model:
    return ready.gpt2(layers=1, hidden=8)


def resnet() -> keras.Model:
    return ready.hub_resnet((1, 1), "basic_block")


MODELS = {one.__name__: one for one in (convnet, sequential, attention, bert, gpt2, resnet)}
both_ways = pytest.mark.parametrize("way", ["to the regularized", "to the plain"])


def pair(name: str, way: str = "to the regularized") -> tuple[keras.Model, keras.Model]:
    """Two models of other weights, one of them regularized."""
    one, other = MODELS[name](), MODELS[name]()
    for number, model in enumerate((one, other)):
        rng = np.random.default_rng(number)
        model.set_weights([rng.uniform(0.1, 0.2, v.shape) for v in model.weights])
    pattern = tad.members.word_dropout(0.2) if name in ("attention", "bert", "gpt2") else tad.ConvPattern(size=1)
    other = tad.regularize(other, pattern)
    return (one, other) if way == "to the regularized" else (other, one)


@both_ways
@pytest.mark.parametrize("name", ["convnet", "attention", "bert"])
def test_lists_of_weights(name, way):
    source, target = pair(name, way)
    x = ready.inputs_of(source)
    assert not same(target(x), source(x))
    target.set_weights(source.get_weights())
    assert same(target(x), source(x))


@both_ways
@pytest.mark.parametrize("name", MODELS)
def test_weights_files(name, way, tmp_path):
    source, target = pair(name, way)
    x = ready.inputs_of(source)
    source.save_weights(tmp_path / "one.weights.h5")
    target.load_weights(tmp_path / "one.weights.h5")
    assert same(target(x), source(x))


@both_ways
@pytest.mark.parametrize("name", ["convnet", "bert"])
def test_weights_of_saved_models(name, way, tmp_path):
    source, target = pair(name, way)
    x = ready.inputs_of(source)
    source.save(tmp_path / "one.keras")
    target.load_weights(tmp_path / "one.keras")
    assert same(target(x), source(x))


@both_ways
@pytest.mark.parametrize("name", ["convnet", "sequential", "bert"])
def test_legacy_files(name, way, tmp_path, recwarn):
    source, target = pair(name, way)
    x = ready.inputs_of(source)
    source.save(tmp_path / "one.h5")
    target.load_weights(tmp_path / "one.h5")
    assert same(target(x), source(x))


def backbone(name: str) -> tuple[keras.Model, type]:
    if name == "bert":
        return tad.regularize(bert(), tad.members.word_dropout(0.1)), keras_nlp.models.BertBackbone
    return tad.regularize(resnet(), tad.ConvPattern(size=1)), keras_nlp.models.ResNetBackbone


@pytest.mark.parametrize("name", [pytest.param("bert", marks=pytest.mark.slow), "resnet"])
def test_presets(name, tmp_path):
    model, kind = backbone(name)
    assert model.get_config()["dtype"] == tad.strip(model).get_config()["dtype"], "others look for it"
    model.save_to_preset(tmp_path / "preset")
    preset = str(tmp_path / "preset")
    x = ready.inputs_of(model)
    for made in (kind.from_preset(preset), keras_nlp.models.Backbone.from_preset(preset)):
        assert type(made) is type(model)
        assert same(made(x), model(x))
        assert str(tad.sites(made)) == str(tad.sites(model))
    assert kind.from_preset(preset, dtype="bfloat16").dtype_policy.name == "bfloat16"
    task, own_task = {
        "bert": (keras_nlp.models.TextClassifier, keras_nlp.models.BertTextClassifier),
        "resnet": (keras_nlp.models.ImageClassifier, keras_nlp.models.ResNetImageClassifier),
    }[name]
    for one in (task, own_task):
        made = one.from_preset(preset, num_classes=2, preprocessor=None)
        assert type(made) is own_task
        assert str(tad.sites(made.backbone)) == str(tad.sites(model))


def test_other_presets_are_loaded_as_ever(tmp_path):
    backbone("bert")
    plain = bert()
    plain.save_to_preset(tmp_path / "preset")
    assert type(keras_nlp.models.Backbone.from_preset(str(tmp_path / "preset"))) is type(plain)
    made = keras_nlp.models.TextClassifier.from_preset(str(tmp_path / "preset"), num_classes=2, preprocessor=None)
    assert type(made) is keras_nlp.models.BertTextClassifier
    assert type(made.backbone) is type(plain)


@pytest.mark.parametrize("name", ["convnet", "bert", "resnet"])
def test_pickles(name):
    _, model = pair(name)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert type(again) is type(model)
        assert same(again(ready.inputs_of(model)), model(ready.inputs_of(model)))
        assert str(tad.sites(again)) == str(tad.sites(model))


LOADS = """
import pickle, sys, keras_nlp, tf_autodropout as tad
with open(sys.argv[1], "rb") as file:
    print(len([site for site in tad.sites(pickle.load(file)) if site.pattern]))
model = keras_nlp.models.BertBackbone.from_preset(sys.argv[2])
print(len([site for site in tad.sites(model) if site.pattern]))
"""


@pytest.mark.slow
def test_a_pickle_and_a_preset_in_another_process(tmp_path):
    model, _ = backbone("bert")
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    model.save_to_preset(tmp_path / "preset")
    arguments = [sys.executable, "-c", LOADS, str(tmp_path / "model.pickle"), str(tmp_path / "preset")]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.split()[-2:] == ["14", "14"]


def test_the_equality_of_classes_is_only_that_with_the_plain_class():
    model, kind = backbone("bert")
    assert type(model) == kind  # noqa: E721 (this is what KerasHub asks)
    assert type(model) is not kind
    assert type(model) != keras_nlp.models.ResNetBackbone  # noqa: E721
    assert len({type(model), kind}) == 2


class OwnBackbone(keras_nlp.models.Backbone):
    """Not of KerasHub: no other process knows a class that was made for it."""

    def __init__(self, filters: int, **kwargs: Any) -> None:
        image = keras.Input((6, 6, 2))
        super().__init__(image, L.BatchNormalization()(L.Conv2D(filters, 1)(image)), **kwargs)
        self.filters = filters

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


def test_a_backbone_of_ones_own_is_saved_under_the_name_that_all_processes_know(tmp_path):
    model = tad.regularize(OwnBackbone(3), tad.ConvPattern(size=1, rate=0.5))
    assert keras.saving.serialize_keras_object(model)["registered_name"].endswith(">RegularizedModel")
    model.save(tmp_path / "own.keras")
    loaded = tad.load_model(tmp_path / "own.keras", custom_objects={"OwnBackbone": OwnBackbone})
    assert isinstance(loaded, OwnBackbone)
    x = np.ones((2, 6, 6, 2), "float32")
    assert same(loaded(x), model(x))
    assert not same(loaded(x, training=True), loaded(x, training=True))


def test_an_error_of_keras_ends_with_what_to_do():
    """In a process that does not know the class, whose config ends the message."""
    model, _ = backbone("bert")
    config = keras.saving.serialize_keras_object(model)
    unknown = config | {"registered_name": config["registered_name"] + "?"}
    with pytest.raises(
        TypeError, match=r"Could not locate class 'RegularizedBertBackbone'.*tf_autodropout\.load_model>"
    ):
        keras.saving.deserialize_keras_object(unknown)
