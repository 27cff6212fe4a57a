"""Every backbone of KerasHub: patterns in every block, nothing else changed, saved, trained and taken out again."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest

import tf_autodropout as tad
from tests.blocks import blocks_without_site
from tests.hub_backbones import BACKBONES, BARE, NOT_UNDER_XLA, inputs_of
from tests.hub_fit import patterns_for
from tests.test_surgery import same

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*does not support masking"),  # of KerasHub about itself
    pytest.mark.filterwarnings("ignore:.*does not have a `build:UserWarning"),
]

GROUPS = [list(BACKBONES)[start : start + 6] for start in range(0, len(BACKBONES), 6)]

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


@pytest.mark.parametrize("names", GROUPS, ids=[f"{names[0]}-{names[-1]}" for names in GROUPS])
def test_backbones_fit_in_graph_mode_and_under_xla(names):
    """In processes of their own: XLA keeps what it has compiled, 20 GB for all of them."""
    done = subprocess.run([sys.executable, "-m", "tests.hub_fit", *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert found == {name: ["fits", "not under XLA" if name in NOT_UNDER_XLA else "fits"] for name in names}
