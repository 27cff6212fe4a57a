"""Backbones of KerasHub on the backend that Keras runs on; `test_other_backends` runs this file on the others."""

import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests.test_each_backend import BACKEND, array, told_elsewhere
from tf_autodropout.layers import pattern_layers
from tf_autodropout.layers.recording import recording

pytest.importorskip("keras_hub")

from tests.hub_backbones import BACKBONES, inputs_of
from tests.hub_fit import fit_one_step

TOKENS = tad.TransformerPattern(size=2, stride=1, rate=0.4, share_c=True)
ENTRIES = tad.TransformerPattern(size=1, rate=0.3)
# Llama has no softmax that all backends call as a layer, see docs/how_to/backends.md.
EVERYWHERE = {"ffn": TOKENS, "output": TOKENS, "query": ENTRIES, "key": ENTRIES, "value": TOKENS}
PATTERNS = {
    "LlamaBackbone": EVERYWHERE,
    "ViTBackbone": EVERYWHERE | {"softmax": ENTRIES},
    "BertBackbone": EVERYWHERE | {"softmax": ENTRIES, "residual": ENTRIES},
}


@contextmanager
def without_warnings_of_kerashub():
    """Without those about itself: masks, `build`, and Llama's head, which is not in use."""
    with warnings.catch_warnings():
        for message in ("does not support masking", "does not have a `build", "Gradients .*reverse_embeddings"):
            warnings.filterwarnings("ignore", f"(?s).*{message}", UserWarning)
        yield


def trained(name):
    """A backbone with patterns and without Keras' own Dropout, after a step of `fit`; and its inputs."""
    plain = BACKBONES[name]()
    plain = type(plain).from_config(plain.get_config() | ({"dropout": 0.0} if name == "BertBackbone" else {}))
    model, x = tad.regularize(plain, PATTERNS[name], seed=3), inputs_of(plain)
    layers = [one for here in pattern_layers(model).values() for one in here]
    assert {site.kind for site in tad.sites(model) if site.pattern} == PATTERNS[name].keys()
    for one, wanted in zip(outputs_of(model, x), outputs_of(plain, x), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-6)
    before = [array(one) for one in model.trainable_variables]
    fit_one_step(model, x, jit_compile=BACKEND == "jax")
    moved = [not np.array_equal(array(one), old) for one, old in zip(model.trainable_variables, before, strict=True)]
    assert np.mean(moved) > 0.5
    assert {int(array(one.seed_state)[1]) for one in layers} == {1}
    return model, x


def outputs_of(model, x, training=False):
    return [array(one) for one in keras.tree.flatten(model(x, training=training))]


def what_comes_next(model, x):
    """The outputs of the next training call, and the masks of the one after that."""
    inputs = []
    with recording(lambda layer, x: inputs.append((layer, tuple(x.shape)))):
        outputs = outputs_of(model, x, training=True)
    masks = [array(layer(np.ones(shape, "float32"), training=True)) != 0 for layer, shape in inputs]
    assert np.mean([0 < mask.mean() < 1 for mask in masks]) > 0.5  # of a few tokens, some drop all or none
    return {f"output_{place}": one for place, one in enumerate(outputs)} | {
        f"mask_{place}_{layer.site}": one for place, ((layer, _), one) in enumerate(zip(inputs, masks, strict=True))
    }


@without_warnings_of_kerashub()
def save(folder, name):
    """Saves a trained backbone, and what comes next."""
    model, x = trained(name)
    model.save(folder / f"{BACKEND}_{name}.keras")
    np.savez(folder / f"{BACKEND}_{name}.npz", **what_comes_next(model, x))
    np.savez(folder / f"{BACKEND}_{name}_inputs.npz", **(x if isinstance(x, dict) else {"": x}))


@without_warnings_of_kerashub()
def check_those_of(backend, folder):
    """Loads the backbones that another backend has trained: what comes next is the same."""
    for name in PATTERNS:
        wanted = np.load(folder / f"{backend}_{name}.npz")
        inputs = dict(np.load(folder / f"{backend}_{name}_inputs.npz"))
        model = tad.load_model(folder / f"{backend}_{name}.keras")
        found = what_comes_next(model, inputs.get("", inputs))
        assert list(found) == wanted.files
        for key, one in found.items():
            if key.startswith("mask"):
                assert np.array_equal(one, wanted[key]), (name, key)
            else:
                np.testing.assert_allclose(one, wanted[key], rtol=1e-4, atol=1e-5, err_msg=f"{name} {key}")


@told_elsewhere
@pytest.mark.parametrize("name", PATTERNS)
def test_a_backbone_is_trained_saved_and_loaded(name, tmp_path):
    folder = Path(os.environ.get("MODELS_OF_TENSORFLOW", tmp_path))
    save(folder, name)


@pytest.mark.skipif("MODELS_OF_TENSORFLOW" not in os.environ, reason="models of TensorFlow, from test_other_backends")
def test_backbones_of_tensorflow_draw_the_same_next_masks():
    check_those_of("tensorflow", Path(os.environ["MODELS_OF_TENSORFLOW"]))
