"""Models of all sorts, each from `sites` to `strip`: nothing else changes, it trains, it comes back from a file."""

from typing import Any

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests import user_models as users
from tests.test_surgery import same
from tf_autodropout.layers import pattern_layers

L = keras.layers

# name -> builder, number of recommended sites, shapes of the inputs
MODELS: dict[str, tuple[Any, int, list[tuple[int, ...]]]] = {
    "plain CNN": (users.plain_cnn, 2, [(12, 12, 3)]),
    "1-D ConvNet": (lambda: users.convnet(1), 2, [(8, 3)]),
    "3-D ConvNet": (lambda: users.convnet(3), 2, [(8, 8, 8, 3)]),
    "U-Net": (users.u_net, 4, [(16, 16, 3)]),
    "GRU": (users.rnn, 1, [(6, 3)]),
    "LSTM": (lambda: users.rnn(L.LSTM), 1, [(6, 3)]),
    "Bidirectional": (users.bidirectional, 1, [(6, 3)]),
    "TimeDistributed": (users.time_distributed, 1, [(3, 8, 8, 3)]),
    "shared layer": (users.shared, 1, [(8, 8, 3), (8, 8, 3)]),
    "nested": (users.nested, 3, [(8, 8, 3)]),
    "builds itself": (users.SelfBuilt, 2, [(8, 8, 3)]),
    "builds itself, Sequential": (users.SelfBuiltStack, 2, [(8, 8, 3)]),
    "subclassed": (users.subclassed, 2, [(8, 8, 4)]),
    "attention in Python": (users.attention_net, 12, [(6, 8)]),
}
CLASSES = (users.ConvNet, users.Attention, users.SelfBuilt, users.SelfBuiltStack)


SLOW = ("LSTM", "Bidirectional", "builds itself, Sequential")  # each has a kin that is in every run


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in MODELS])
def test_a_model(name, tmp_path):
    build, count, shapes = MODELS[name]
    plain = build()
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(2, *shape)).astype("float32") for shape in shapes]
    x = inputs if len(inputs) > 1 else inputs[0]
    before, wanted = [v.numpy() for v in plain.variables], plain(x, training=False)
    table = tad.sites(plain)
    assert len(table) == count
    assert not table.unreachable or name == "attention in Python"

    model = tad.regularize(plain, strength=0.3)
    assert isinstance(model, type(plain))
    assert same(model(x, training=False), wanted)
    assert not pattern_layers(plain)
    patterns = [(site.name, site.pattern) for site in tad.sites(model)]
    assert len(patterns) == count
    assert all(pattern for _, pattern in patterns)

    model.save(tmp_path / "model.keras")
    loaded = tad.load_model(tmp_path / "model.keras", custom_objects={kind.__name__: kind for kind in CLASSES})
    assert same(loaded(x, training=False), wanted)
    assert [pattern for _, pattern in patterns] == [site.pattern for site in tad.sites(loaded)]

    for one in (model, loaded):
        stripped = tad.strip(one)
        assert type(stripped) is type(plain)
        assert not pattern_layers(stripped)
        assert same(stripped(x, training=False), wanted)

    assert not same(model(x, training=True), model(x, training=True))
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((2, *wanted.shape[1:])), verbose=0)
    assert same(plain.variables, before), "the original has not trained along"
