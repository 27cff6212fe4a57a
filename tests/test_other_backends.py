"""The layers on Keras' other backends, each in a process of its own, and models that go from one to another."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tf_autodropout as tad
from tests.test_each_backend import MODELS, array, numbers

ROOT = Path(__file__).parent.parent
IMPORTS = """
import sys
import keras
import numpy as np
import tf_autodropout as tad

layers = keras.layers
image = keras.Input((8, 8, 3))
x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3)(image))
model = tad.regularize(keras.Model(image, layers.Dense(2)(layers.Flatten()(x))), tad.ConvPattern(2))
tad.PatternDropout(0.1)(np.ones((2, 4, 3), "float32"), training=True)
tad.strip(model), tad.sites(model), tad.presets.names(), tad.keep_mask(tad.ConvPattern(2), (1, 4, 4, 1), 0)
print("tensorflow" in sys.modules)
"""


def environment(backend, **others):
    return os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), **others}


def other(backend):
    reason = f"{backend} is not installed"
    return pytest.param(backend, marks=pytest.mark.skipif(importlib.util.find_spec(backend) is None, reason=reason))


each_other = pytest.mark.parametrize("backend", [other("jax"), other("torch")])


@each_other
def test_no_tensorflow_is_imported(backend):
    done = subprocess.run([sys.executable, "-c", IMPORTS], env=environment(backend), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["False"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of TensorFlow with patterns, trained for a step, and what they compute with their next masks."""
    folder = tmp_path_factory.mktemp("models")
    for name, (build, pattern, shape) in MODELS.items():
        model = tad.regularize(build(), pattern, mutable=name == "text")
        x = numbers((4, *shape))
        model(x, training=True)
        model.save(folder / f"tensorflow_{name}.keras")
        np.save(folder / f"tensorflow_{name}.npy", array(model(x, training=True)))
    return folder


@each_other
def test_masks_layers_and_models_on_another_backend(backend, models):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_each_backend.py"]
    where = environment(backend, OTHER_BACKENDS_MODELS=str(models))
    done = subprocess.run(command, env=where, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    for name, (_, _, shape) in MODELS.items():  # and back again
        model = tad.load_model(models / f"{backend}_{name}.keras")
        outputs = array(model(numbers((4, *shape)), training=True))
        np.testing.assert_allclose(outputs, np.load(models / f"tensorflow_{name}.npy"), atol=1e-5)
