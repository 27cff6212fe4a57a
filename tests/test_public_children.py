"""Models of others as children of a search: whatever a trial changes in them is put back, to the bit. Slow."""

from typing import Any

import keras
import numpy as np
import pytest

from tests import hub_backbones as hub
from tests import user_models as users
from tests.own_models import compiled
from tf_autodropout.layers import PatternDropout
from tf_autodropout.patterns import ConvPattern, PatternSet, TransformerPattern
from tf_autodropout.search.tasks.model_task import ModelTask

L = keras.layers
COUNT, OUTPUTS = 16, 2
HUB = (
    *("BertBackbone", "GPT2Backbone", "LlamaBackbone", "DebertaV3Backbone"),
    *("ResNetBackbone", "ViTBackbone", "MobileNetBackbone", "SwinTransformerBackbone"),
)


def head(body: keras.Model) -> keras.Model:
    """Two numbers from the first features that a backbone gives."""
    features = next(one for one in keras.tree.flatten(body.output) if len(one.shape) > 2)
    pooled = L.Reshape((-1, features.shape[-1]))(features)
    return keras.Model(body.input, L.Dense(OUTPUTS)(L.Dropout(0.1)(L.GlobalAveragePooling1D()(pooled))))


def segmentation() -> keras.Model:
    body = users.u_net()
    return keras.Model(body.input, L.Dense(OUTPUTS)(L.Flatten()(body.output)))


MODELS = {
    **{name: lambda name=name: head(hub.BACKBONES[name]()) for name in HUB},
    "subclassed": users.subclassed,
    "U-Net": segmentation,
    "LSTM": lambda: users.rnn(L.LSTM),
    "MobileNetV2": lambda: keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=OUTPUTS),
}


def data(model: keras.Model) -> Any:
    """The inputs that a model takes, eight times two random ones."""
    if not hasattr(model, "_inputs_struct"):
        return np.random.default_rng(0).normal(size=(COUNT, 8, 8, 4)).astype(np.float32)
    batches = [hub.inputs_of(model, seed) for seed in range(COUNT // 2)]
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*does not support masking")  # KerasHub's Swin, without patterns too
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")  # a Llama's head is not called
@pytest.mark.parametrize("name", MODELS)
def test_a_trial_puts_everything_back_to_the_bit(name: str) -> None:
    x = data(MODELS[name]())
    y = np.random.default_rng(1).normal(size=(COUNT, OUTPUTS)).astype(np.float32)

    def build() -> keras.Model:
        return compiled(MODELS[name](), loss="mse", metrics=[])

    task = ModelTask(build, x, y, validation_data=(x, y), epochs=1, batch_size=4)
    kinds = {ConvPattern: ConvPattern(size="1/2", rate=0.5), TransformerPattern: TransformerPattern(1, rate=0.4)}
    patterns = PatternSet({site.name: kinds[site.kind].resolve(site.shape[:-1]) for site in task.space.sites})

    def train(patterns: PatternSet, seed: int) -> tuple[float, dict[str, np.ndarray]]:
        reward = task.train(patterns, seed).reward
        return reward, task.child._state.numpy()

    first, state = train(patterns, 7)
    assert any(isinstance(layer, PatternDropout) for layer in task.child.model._flatten_layers())
    _, other = train(PatternSet({}), 8)
    assert any((state[key] != other[key]).any() for key in state if "seed" not in key), "the trials are alike"
    again, repeated = train(patterns, 7)
    assert again == first
    for key, value in state.items():
        np.testing.assert_array_equal(value, repeated[key], err_msg=key)
