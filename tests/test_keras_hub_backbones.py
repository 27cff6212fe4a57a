"""Every backbone of KerasHub: patterns in every block, nothing else changed, saved, trained and taken out again."""

import json
import subprocess
import sys
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest

import tf_autodropout as tad
from tests.hub_backbones import BACKBONES, UNREACHED, inputs_of
from tests.test_surgery import same

pytestmark = pytest.mark.slow

_LOAD = """
import sys, json
import numpy as np, keras
import tf_autodropout as tad
from tests.hub_backbones import inputs_of
model = tad.load_model(sys.argv[1], compile=False)
outputs = [np.asarray(one) for one in keras.tree.flatten(model(inputs_of(model), training=False))]
np.savez(sys.argv[2], *outputs)
print(json.dumps([[site.kind, str(site.pattern)] for site in tad.sites(model)]))
"""


def patterns_for(table: Any) -> dict[str, Any]:
    """A pattern that fits, for every recommended site."""
    conv, tokens = tad.ConvPattern(size=1, rate=0.5), tad.TransformerPattern(size=1, rate=0.3)
    return {site.name: conv if site.pattern_type is tad.ConvPattern else tokens for site in table}


def test_every_backbone_is_in_the_table():
    names = {name for name in dir(keras_hub.models) if name.endswith("Backbone")}
    bases = {"Backbone", "FeaturePyramidBackbone"}
    aliases = {"ESM2Backbone", "SmolLMBackbone", "Qwen2Backbone"}  # of ESM, SmolLM3 and Qwen
    assert names - bases - aliases <= BACKBONES.keys()
    assert len(BACKBONES.keys() - UNREACHED.keys()) >= 66


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in UNREACHED])
def test_a_backbone(name, tmp_path):
    plain = BACKBONES[name]()
    x = inputs_of(plain)
    table = tad.sites(plain)
    assert len(table)
    model = tad.regularize(plain, patterns_for(table))
    assert isinstance(model, type(plain))
    # Some layers of KerasHub take training for granted where nobody tells them, and Keras hands that on to the next.
    assert same(model(x, training=False), plain(x, training=False))
    assert not same(model(x, training=True), model(x, training=True))

    model.save(tmp_path / "model.keras")
    arguments = [sys.executable, "-c", _LOAD, tmp_path / "model.keras", tmp_path / "outputs.npz"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    outputs = np.load(tmp_path / "outputs.npz")
    assert same([outputs[key] for key in outputs.files], model(x, training=False))
    now = [[site.kind, str(site.pattern)] for site in tad.sites(model)]
    assert json.loads(done.stdout.splitlines()[-1]) == now
    assert all(pattern != "None" for _, pattern in now)

    stripped = tad.strip(model)
    assert type(stripped) is type(plain)
    assert same(stripped(x, training=False), model(x, training=False))
    assert not [site for site in tad.sites(stripped, every=True) if site.pattern]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in UNREACHED])
def test_a_backbone_fits(name, jit_compile):
    plain = BACKBONES[name]()
    model = tad.regularize(plain, patterns_for(tad.sites(plain)))
    x = inputs_of(plain)
    fit_one_step(model, x, jit_compile)


def fit_one_step(model: keras.Model, x: Any, jit_compile: bool) -> None:
    """One step of `fit` towards zero at all outputs that are numbers."""
    outputs = model.output
    targets = keras.tree.map_structure(lambda one: np.zeros(one.shape, "float32"), model(x))
    losses = keras.tree.map_structure(lambda _: "mse", outputs)
    model.compile("sgd", losses, jit_compile=jit_compile)
    history = model.fit(x, targets, batch_size=2, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
