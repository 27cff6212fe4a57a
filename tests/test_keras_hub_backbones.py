"""Every backbone of KerasHub: patterns in every block, nothing else changed, saved, trained and taken out again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest

import tf_autodropout as tad
from tests.blocks import blocks_without_site
from tests.hub_backbones import BACKBONES, BARE, NOT_UNDER_XLA, inputs_of
from tests.test_surgery import same

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*does not support masking"),  # of KerasHub about itself
    pytest.mark.filterwarnings("ignore:.*does not have a `build:UserWarning"),
    pytest.mark.filterwarnings("ignore:Gradients do not exist"),  # for levels of a pyramid that are no outputs
]

_LOAD = """
import gc, json, sys
from pathlib import Path
import keras, numpy as np
import tf_autodropout as tad
from tests.hub_backbones import inputs_of
for path in map(Path, sys.argv[1:]):
    try:
        model = tad.load_model(path, compile=False)
        outputs = [np.asarray(one) for one in keras.tree.flatten(model(inputs_of(model), training=False))]
        saved = np.load(path.with_suffix(".npz"))
        equal = all(np.array_equal(saved[key], one) for key, one in zip(saved.files, outputs, strict=True))
        found = [equal, [[site.kind, str(site.pattern)] for site in tad.sites(model)]]
    except Exception as error:
        found = repr(error)
    print(json.dumps([path.stem, found]), flush=True)
    model = None
    keras.backend.clear_session()
    gc.collect()
"""


def patterns_for(model: keras.Model) -> dict[str, Any]:
    """A pattern that fits, for every recommended site."""
    conv, tokens = tad.ConvPattern(size=1, rate=0.5), tad.TransformerPattern(size=1, rate=0.3)
    return {site.name: conv if site.pattern_type is tad.ConvPattern else tokens for site in tad.sites(model)}


def where(model: keras.Model) -> list[list[str]]:
    return [[site.kind, str(site.pattern)] for site in tad.sites(model)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backbones")


def test_every_backbone_is_in_the_table():
    public = {getattr(keras_hub.models, name) for name in dir(keras_hub.models) if name.endswith("Backbone")}
    bases = {"Backbone", "FeaturePyramidBackbone"}
    assert {kind.__name__ for kind in public} - bases <= BACKBONES.keys()
    assert len(BACKBONES.keys() - BARE.keys()) >= 66


@pytest.mark.parametrize("name", BACKBONES)
def test_every_block_has_a_site(name):
    model = BACKBONES[name]()
    bare = blocks_without_site(model)
    assert len(bare) == (BARE[name][0] if name in BARE else 0), bare
    parts = {"query", "key", "value"}
    for site in tad.sites(model):  # what its author calls a query is one
        called = parts & set(site.layer.rpartition("/")[2].split("_"))
        assert site.kind not in parts or not called or site.kind in called, site


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone(name, folder):
    plain = BACKBONES[name]()
    x = inputs_of(plain)
    patterns = patterns_for(plain)
    model = tad.regularize(plain, patterns)
    assert isinstance(model, type(plain))
    # Keras' layer Resizing takes training for granted where nobody tells it, and Keras hands that on to the next.
    wanted = model(x, training=False)
    assert same(wanted, plain(x, training=False))
    stripped = tad.strip(model)
    assert type(stripped) is type(plain)
    assert same(stripped(x, training=False), wanted)
    assert not [site for site in tad.sites(stripped, every=True) if site.pattern]

    assert len(where(model)) == len(patterns)
    assert all(pattern != "None" for _, pattern in where(model))
    model.save(folder / f"{name}.keras")
    np.savez(folder / f"{name}.npz", *map(np.asarray, keras.tree.flatten(wanted)))
    (folder / f"{name}.json").write_text(json.dumps(where(model)))
    assert not same(model(x, training=True), model(x, training=True))


def test_all_are_loaded_in_a_new_process(folder):
    """What the test before has saved."""
    files = sorted(folder.glob("*.keras"))
    if not files:
        pytest.skip("nothing has been saved")
    done = subprocess.run([sys.executable, "-c", _LOAD, *files], capture_output=True, text=True, check=True)
    loaded = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    wanted = {file.stem: [True, json.loads(file.with_suffix(".json").read_text())] for file in files}
    assert {name: found for name, found in loaded.items() if found != wanted[name]} == {}
    assert loaded.keys() == wanted.keys()


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_fits(name, jit_compile):
    if jit_compile and name in NOT_UNDER_XLA:
        pytest.skip("XLA cannot compile the plain model either")
    plain = BACKBONES[name]()
    fit_one_step(tad.regularize(plain, patterns_for(plain)), inputs_of(plain), jit_compile)
    keras.backend.clear_session()


def fit_one_step(model: keras.Model, x: Any, jit_compile: bool) -> None:
    """One step of `fit` towards zero at all outputs; RQ-VAE has a loss of its own, of what it reconstructs."""
    count = len(keras.tree.flatten(x)[0])
    outputs = model(x, training=False)
    if isinstance(outputs, dict):  # SAM returns places in an image too, which have no batch
        outputs = {name: one for name, one in outputs.items() if len(keras.tree.flatten(one)[0]) == count}
    targets = keras.tree.map_structure(lambda one: np.zeros(one.shape, "float32"), outputs)
    losses = keras.tree.map_structure(lambda _: "mse", outputs)
    if type(model).compute_loss is not keras.Model.compute_loss:
        targets, losses = x, "mse"
    model.compile("sgd", losses, jit_compile=jit_compile)
    history = model.fit(x, targets, batch_size=2, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
