"""The layers on Keras' other backends, each in a process of its own, and models that go from one to another."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests.test_each_backend import MODELS, array, numbers
from tests.test_hub_on_each_backend import PATTERNS, check_those_of, save

ROOT = Path(__file__).parent.parent


def python_of(backend):
    """The Python that has a backend: this one, or that of an environment of its own, such as `TORCH_PYTHON`."""
    own = sys.executable if importlib.util.find_spec(backend) else None
    return os.environ.get(f"{backend.upper()}_PYTHON", own)


def other(backend):
    reason = f"{backend} is not installed, and {backend.upper()}_PYTHON is not set"
    return pytest.param(backend, marks=pytest.mark.skipif(python_of(backend) is None, reason=reason))


each_other = pytest.mark.parametrize("backend", [other("jax"), other("torch")])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of TensorFlow with patterns, trained for a step, and what they compute with their next masks."""
    folder = tmp_path_factory.mktemp("models")
    for name, (build, pattern, shape) in MODELS.items():
        model = tad.regularize(build(), pattern, mutable=name == "text")
        x = numbers((4, *shape))
        model(x, training=True)
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        model.save(folder / f"tensorflow_{name}.keras")
        np.save(folder / f"tensorflow_{name}.npy", array(model(x, training=True)))
    return folder


def run_on(backend, files, models):
    """Runs tests on another backend, where there is no TensorFlow."""
    command = [python_of(backend), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.without_tensorflow"]
    where = os.environ | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "MODELS_OF_TENSORFLOW": str(models),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8",  # for one test
    }
    done = subprocess.run([*command, *files], env=where, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


@each_other
def test_masks_layers_and_models_on_another_backend_without_tensorflow(backend, models):
    own = ["tests/test_checkpointing.py"] if backend == "torch" else []
    run_on(backend, ["tests/test_each_backend.py", *own], models)
    for name, (_, _, shape) in MODELS.items():  # and back again
        model = tad.load_model(models / f"{backend}_{name}.keras")
        assert type(model.optimizer) is keras.optimizers.Adam
        outputs = array(model(numbers((4, *shape)), training=True))
        np.testing.assert_allclose(outputs, np.load(models / f"tensorflow_{name}.npy"), atol=1e-5)


@pytest.mark.slow
@each_other
def test_backbones_of_kerashub_go_to_another_backend_and_back(backend, tmp_path):
    for name in PATTERNS:
        save(tmp_path, name)
    run_on(backend, ["tests/test_hub_on_each_backend.py"], tmp_path)
    check_those_of(backend, tmp_path)
