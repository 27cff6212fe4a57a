"""Which sites are recommended: roles read from what a step computes, batch norms, convolutions, recurrent layers."""

from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops

import tf_autodropout as tad
from tests import user_models as users
from tests.hub_backbones import BACKBONES
from tests.hub_backbones import inputs_of as hub_inputs
from tests.test_surgery import same
from tf_autodropout.layers import pattern_layers
from tf_autodropout.surgery.fitting import fitting
from tf_autodropout.surgery.graph_trace import GraphTrace as Trace

L = keras.layers
TOKENS = tad.TransformerPattern(size=1, rate=0.5)


def kinds(model: keras.Model) -> dict[str, str]:
    return {site.name: site.kind for site in tad.sites(model)}


def test_attention_in_plain_python():
    table = tad.sites(users.attention_net())
    roles = {
        "to_q": "query",
        "to_k": "key",
        "to_v": "value",
        "probabilities": "softmax",
        "mix": "output",
        "down": "ffn",
    }
    expected = {f"{block}/{name}": kind for block in ("first", "second") for name, kind in roles.items()}
    assert {site.name: site.kind for site in table} == expected
    shapes = {site.name: site.shape for site in table}
    assert shapes["first/to_q"] == (6, 8)
    assert shapes["first/probabilities"] == (6, 6)
    assert {site.block for site in table} == {"first", "second"}
    assert {one.layer: one.reason.partition(":")[0] for one in table.unreachable} == {
        "first": "residual",
        "second": "residual",
    }


def by_einsum(q: Any, k: Any) -> Any:
    return ops.einsum("nkd,nqd->nqk", k, q)


def by_heads(q: Any, k: Any) -> Any:
    """As Keras' own attention writes it: its einsum multiplies keys with queries and transposes that."""
    return ops.einsum("aecd,abcd->acbe", k[:, :, None], q[:, :, None])[:, 0]


def by_transposition(q: Any, k: Any) -> Any:
    return ops.transpose(ops.matmul(k, ops.transpose(q, (0, 2, 1))), (0, 2, 1))


@pytest.mark.parametrize("product", [by_einsum, by_heads, by_transposition])
def test_keys_are_told_from_queries_whatever_the_order_of_the_product(product):
    class Swapped(users.Attention):
        def call(self, x: Any) -> Any:
            q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
            scores = product(q, k)
            return self.mix(ops.einsum("nqk,nkd->nqd", self.probabilities(scores), v))

    x = keras.Input((6, 8))
    found = kinds(keras.Model(x, Swapped(8, name="swapped")(x)))
    assert found["swapped/to_q"] == "query"
    assert found["swapped/to_k"] == "key"
    assert found["swapped/mix"] == "output"
    assert "swapped/down" not in found


def test_attention_in_a_graph_has_its_skip_connections():
    x = keras.Input((6, 8))
    h = L.LayerNormalization(name="norm1")(x)
    h = L.Add(name="add1")([L.MultiHeadAttention(2, 4, name="attention")(h, h), x])
    g = L.Dense(8, name="down")(L.Dense(16, "gelu", name="up")(L.LayerNormalization(name="norm2")(h)))
    plain = keras.Model(x, L.Add(name="add2")([g, h]))
    assert kinds(plain) == {
        **{f"attention/{site}": site for site in ("query", "key", "value", "softmax", "output")},
        "add1/residual": "residual",
        "down": "ffn",
        "add2/residual": "residual",
    }
    assert not tad.sites(plain).unreachable
    whole = tad.members.variational_dropout(0.999999)
    model = tad.regularize(plain, {"residual": whole, "ffn": whole})
    data = np.random.default_rng(0).normal(size=(2, 6, 8)).astype("float32")
    assert same(model(data), plain(data))
    assert np.all(np.asarray(model(data, training=True)) == 0), "nothing is left of both branches"
    assert not pattern_layers(tad.strip(model))


def test_one_projection_for_all_three_is_told():
    class Fused(L.Layer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.qkv, self.out = L.Dense(24), L.Dense(8)

        def call(self, x: Any) -> Any:
            q, k, v = ops.split(self.qkv(x), 3, axis=-1)
            return x + self.out(ops.matmul(ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1)))), v))

    x = keras.Input((6, 8))
    table = tad.sites(keras.Model(x, Fused(name="fused")(x)))
    assert [(site.name, site.kind) for site in table] == [("fused/out", "output")]
    assert [one.reason.partition(":")[0] for one in table.unreachable] == ["query, key, value", "softmax", "residual"]
    assert "one projection, 'dense" in table.unreachable[0].reason


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (users.plain_cnn, {"conv"}),
        (users.u_net, {"conv"}),
        (users.rnn, {"recurrent"}),
        (lambda: users.rnn(L.LSTM), {"recurrent"}),
        (users.subclassed, {"batch_norm"}),
        (users.time_distributed, {"batch_norm"}),
        (lambda: users.convnet(1), {"conv"}),
        (lambda: users.convnet(3), {"conv"}),
    ],
)
def test_what_is_recommended(build, expected):
    assert {site.kind for site in tad.sites(build())} == expected


def test_a_convolution_of_one_cell_is_not_recommended():
    image = keras.Input((8, 8, 4))
    gate = L.Conv2D(4, 1, name="gate")(L.GlobalAveragePooling2D(keepdims=True)(image))
    assert list(kinds(keras.Model(image, L.Conv2D(4, 3, name="conv")(image * gate)))) == ["conv"]


@pytest.mark.parametrize("kind", [L.GRU, L.LSTM])
def test_recurrent_layers_that_return_sequences(kind):
    plain = users.rnn(kind)
    assert list(kinds(plain)) == ["first"]
    model, x = tad.regularize(plain, TOKENS), np.ones((2, 6, 3), "float32")
    assert same(model(x), plain(x))
    assert not same(model(x, training=True), model(x, training=True))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convnets_of_every_rank_have_sites_at_their_convolutions(rank):
    plain = users.convnet(rank)
    table = tad.sites(plain)
    assert [(site.name, site.shape) for site in table] == [("conv1", (8,) * rank + (4,)), ("conv2", (6,) * rank + (4,))]
    assert all(tad.ConvPattern in site.pattern_types for site in table)
    pattern = tad.members.word_dropout(0.5) if rank == 1 else tad.ConvPattern(size=2)
    model, x = tad.regularize(plain, pattern), np.ones((2, *(8,) * rank, 3), "float32")
    assert same(model(x), plain(x))
    assert not same(model(x, training=True), model(x, training=True))


def test_which_patterns_fit():
    conv, blocks, tokens = tad.ConvPattern, tad.DropBlockPattern, tad.TransformerPattern
    assert fitting("layer", 1, False) == ()
    assert fitting("layer", 2, False) == fitting("batch_norm", 2, True) == (tokens,)
    assert fitting("batch_norm", 4, True) == (conv, blocks)
    assert fitting("conv", 3, True) == (conv, blocks, tokens)
    assert fitting("conv", 5, True) == (conv, blocks)
    assert fitting("query", 4, False) == (tokens,)
    assert fitting("ffn", 4, True) == (conv, blocks)
    assert fitting("softmax", 5, False) == (tokens,)
    assert fitting("recurrent", 3, False) == (tokens, conv, blocks)
    assert fitting("own", 3, False) == ()


@pytest.mark.parametrize("name", ["LlamaBackbone", "ViTBackbone"])
def test_a_backbone_of_kerashub(name, tmp_path):
    plain = BACKBONES[name]()
    blocks = 2
    assert [site.kind for site in tad.sites(plain)].count("ffn") == blocks
    model = tad.regularize(plain, tad.PatternSet({"ffn": TOKENS, "softmax": TOKENS}))
    x = hub_inputs(plain)
    assert isinstance(model, type(plain))
    assert same(model(x), plain(x))
    assert not same(model(x, training=True), model(x, training=True))
    model.save(tmp_path / "model.keras")
    loaded = tad.load_model(tmp_path / "model.keras")
    assert [site.pattern for site in tad.sites(loaded)] == [site.pattern for site in tad.sites(model)]
    assert same(loaded(x), plain(x))
    assert same(loaded(x, training=True), model(x, training=True))
    stripped = tad.strip(model)
    assert type(stripped) is type(plain)
    assert same(stripped(x, training=True), plain(x, training=True))


def test_a_pattern_set_of_roles_serves_families_it_was_not_made_for():
    found = tad.presets.load("transformer-variational-0.2")
    for build in (users.attention_net, BACKBONES["LlamaBackbone"], BACKBONES["BertBackbone"]):
        model = tad.regularize(build(), found)
        assert {site.kind for site in tad.sites(model) if site.pattern} == set(found) & set(kinds(build()).values())
    assert_brief(model)


def assert_brief(model: keras.Model) -> None:
    """A size that is meant to be larger than any map is not shown as a number."""
    for text in (str(tad.sites(model)), tad.sites(model)._repr_html_()):
        assert "=all" in text
        assert "1073741824" not in text


@pytest.mark.parametrize("pattern", [tad.members.spatial_dropout(0.2), tad.members.drop_path(0.2)])
def test_sizes_of_whole_maps_are_shown_as_such(pattern):
    assert_brief(tad.regularize(users.plain_cnn(), pattern))


@pytest.mark.slow
def test_a_backbone_around_another_one_is_saved(tmp_path):
    """ "KeyError" it said: the one inside saves its own patterns, and is built anew by the one around it."""
    plain = BACKBONES["DeepLabV3Backbone"]()
    model = tad.regularize(plain, tad.ConvPattern(size=1, rate=0.5))
    model.save(tmp_path / "model.keras")
    loaded = tad.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, type(plain))
    assert [site.pattern for site in tad.sites(loaded)] == [site.pattern for site in tad.sites(model)]
    x = hub_inputs(plain)
    assert same(loaded(x, training=False), plain(x, training=False))
    assert same(loaded(x, training=True), model(x, training=True))


def test_a_trace_leaves_a_model_as_it_was():
    plain = users.subclassed()
    before = [np.asarray(v).copy() for v in plain.variables]
    own = {id(layer): set(vars(layer)) for layer in plain._flatten_layers()}
    nodes = [len(layer._inbound_nodes) for layer in plain._flatten_layers()]
    Trace(plain)
    assert all(np.array_equal(v, old) for v, old in zip(plain.variables, before, strict=True))
    assert {id(layer): set(vars(layer)) for layer in plain._flatten_layers()} == own
    assert [len(layer._inbound_nodes) for layer in plain._flatten_layers()] == nodes
    assert not plain.losses


def test_a_model_that_cannot_be_traced_still_has_the_sites_of_its_graph():
    class Eager(L.Layer):
        def call(self, x: Any) -> Any:
            raise RuntimeError("only real numbers")

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    image = keras.Input((8, 8, 3))
    x = L.BatchNormalization(name="bn")(Eager(name="eager")(image))
    table = tad.sites(keras.Model(image, users.ConvBlock(3, name="block")(x)))
    assert [site.name for site in table] == ["bn"]
    assert "cannot be run on placeholders (RuntimeError" in table.unreachable[0].reason


def test_a_task_of_kerashub_decodes_with_its_patterned_layers():
    backbone = BACKBONES["LlamaBackbone"]()
    plain = keras_hub.models.LlamaCausalLM(backbone=backbone, preprocessor=None)
    model = tad.regularize(plain, {"ffn": TOKENS})
    assert type(model) is type(plain)
    prompt = {"token_ids": np.full((1, 8), 7), "padding_mask": np.array([[1] * 3 + [0] * 5])}

    def generated(one: keras.Model) -> np.ndarray:
        one.compile(sampler="greedy")
        return np.asarray(one.generate(prompt, stop_token_ids=None)["token_ids"])

    assert np.array_equal(generated(model), generated(plain))
