"""regularize inside Transformers: KerasHub's encoders and decoders, and attention in users' models."""

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tests import ready_models as ready
from tests.test_surgery import same, train
from tf_autodropout.layers import ATTENTION_SITES, TRANSFORMER_SITES, PatternDropout
from tf_autodropout.layers.adoption import is_adopted
from tf_autodropout.layers.pattern_transformer import PatternTransformerDecoder, PatternTransformerEncoder

PATTERN = tad.TransformerPattern(size=1, rate=0.3)
WHOLE = tad.members.variational_dropout(1.0)  # drops everything


@pytest.mark.parametrize(
    "build",
    [pytest.param(ready.bert, id="BERT"), pytest.param(ready.gpt2, id="GPT-2", marks=pytest.mark.slow)],
)
def test_a_backbone_gets_seven_sites_a_layer_and_keeps_everything_else(build, tmp_path):
    plain = build()
    model = tad.regularize(plain, PATTERN)
    assert isinstance(model, type(plain))
    assert [(s.kind, s.pattern) for s in tad.sites(model)] == [(kind, PATTERN) for kind in TRANSFORMER_SITES] * 2
    x = ready.inputs_of(plain)
    assert same(model(x), plain(x))
    assert not same(model(x, training=True), plain(x, training=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert str(tad.sites(loaded)) == str(tad.sites(model))
    assert same(loaded(x), plain(x))
    # A reload that had gone back to plain layers would draw no pattern.
    assert same(loaded(x, training=True), model(x, training=True))
    stripped = tad.strip(model)
    assert type(stripped) is type(plain)
    assert same(stripped(x), plain(x))
    assert [v.path for v in stripped.variables] == [v.path for v in plain.variables]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "sizes"), [(ready.bert, (2, 128, 2)), (ready.gpt2, (12, 768, 12))], ids=["BERT-tiny", "GPT-2 small"]
)
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_backbones_of_real_size_train(build, sizes, jit_compile):
    plain = build(*sizes)
    model = tad.regularize(plain, PATTERN)
    x = ready.inputs_of(plain)
    assert same(model(x), plain(x))
    assert max(train(model, jit_compile)) > 0


@pytest.mark.parametrize(
    "jit_compile", [pytest.param(False, id="graph"), pytest.param(True, id="XLA", marks=pytest.mark.slow)]
)
def test_every_weight_trains(jit_compile):
    model = tad.regularize(ready.encoder_and_decoder(), PATTERN)
    moved = train(model, jit_compile)
    # The bias of keys has no gradient: softmax does not see what is added to all keys alike.
    still = [v.path for v, by in zip(model.trainable_variables, moved, strict=True) if by == 0]
    assert all("key/bias" in path for path in still)


@pytest.mark.slow
def test_generation_goes_through_the_copys_layers():
    plain = keras_nlp.models.GPT2CausalLM(backbone=ready.gpt2(), preprocessor=None)
    model = tad.regularize(plain, {"ffn": PATTERN})
    assert type(model) is type(plain)
    prompt = {"token_ids": np.full((1, 12), 7), "padding_mask": np.array([[1] * 4 + [0] * 8])}

    def generated(one: keras.Model) -> np.ndarray:
        one.compile(sampler="greedy")
        return np.asarray(one.generate(prompt, stop_token_ids=None)["token_ids"])

    before = generated(plain)
    assert np.array_equal(generated(model), before)
    for variable in model.backbone.trainable_variables:
        variable.assign(tf.random.stateless_normal(variable.shape, (1, 2)))
    assert not np.array_equal(generated(model), before), "what was trained is what decodes"
    assert np.array_equal(generated(plain), before)


def test_a_text_classifier_keeps_its_class():
    plain = keras_nlp.models.BertTextClassifier(backbone=ready.bert(), num_classes=3)
    model = tad.regularize(plain, {"softmax": PATTERN, "transformer_layer_1/ffn": PATTERN})
    assert type(model) is type(plain)
    assert [s.name for s in tad.sites(model) if s.pattern and not s.pattern.is_identity] == [
        "transformer_layer_0/softmax",
        "transformer_layer_1/softmax",
        "transformer_layer_1/ffn",
    ]
    x = ready.inputs_of(plain)
    assert same(model(x), plain(x))


@pytest.mark.parametrize(
    "build", [pytest.param(ready.encoder_and_decoder, marks=pytest.mark.slow), ready.attention_model]
)
def test_layers_in_a_users_model(build, tmp_path):
    plain = build()
    model = tad.regularize(plain, PATTERN)
    kinds = ATTENTION_SITES if build is ready.attention_model else TRANSFORMER_SITES * 2
    assert [s.kind for s in tad.sites(model)] == list(kinds)
    x = ready.inputs_of(plain)
    assert same(model(x), plain(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert same(loaded(x, training=True), model(x, training=True))
    stripped = tad.strip(model)
    assert not any(is_adopted(layer) for layer in stripped.layers)
    assert stripped.get_config() == plain.get_config()
    assert same(stripped(x), plain(x))


@pytest.mark.parametrize("normalize_first", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_training_pass_against_the_inference_pass(normalize_first, masked):
    """At rate 0 a step must compute what inference computes, masks and norms before or after included."""
    nothing = tad.TransformerPattern(size=1, rate=0.0)
    x, source = (np.random.default_rng(i).normal(size=(3, 5, 8)).astype("float32") for i in (0, 1))
    padding = np.array([[1] * 5, [1] * 3 + [0] * 2, [1] * 4 + [0]], bool) if masked else None
    patterns = dict.fromkeys(TRANSFORMER_SITES, nothing)
    encoder = PatternTransformerEncoder(16, 2, normalize_first=normalize_first, patterns=patterns, mutable=True)
    arguments = {"padding_mask": padding}
    assert np.allclose(encoder(x, **arguments, training=True), encoder(x, **arguments), atol=1e-5)
    decoder = PatternTransformerDecoder(16, 2, normalize_first=normalize_first, patterns=patterns, mutable=True)
    arguments = {"decoder_padding_mask": padding, "encoder_padding_mask": padding}
    assert np.allclose(decoder(x, source, **arguments, training=True), decoder(x, source, **arguments), atol=1e-5)


def test_each_site_acts_where_its_name_says():
    """With everything dropped at one site, what must vanish vanishes."""
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")

    def step(**patterns: tad.TransformerPattern) -> np.ndarray:
        keras.utils.set_random_seed(0)
        layer = PatternTransformerEncoder(16, 2, normalize_first=True, bias_initializer="ones", patterns=patterns)
        return np.asarray(layer(x, training=True))

    no_attention = step(output=WHOLE)
    assert not np.allclose(no_attention, step())
    # Without values or probabilities attention gives the bias of its output projection, a 1 for each feature.
    assert np.allclose(step(value=WHOLE), step(softmax=WHOLE), atol=1e-6)
    # Without queries, or without keys, all tokens are attended to alike.
    assert np.allclose(step(query=WHOLE), step(key=WHOLE), atol=1e-6)
    assert not np.allclose(step(query=WHOLE), step(value=WHOLE))
    # Without both skip connections and the feed-forward output nothing is left.
    assert np.all(step(ffn=WHOLE, residual=WHOLE) == 0)
    assert not np.allclose(step(ffn=WHOLE), step())


def test_a_subclass_of_attention_has_the_sites_that_layers_of_it_return():
    class Own(keras.layers.MultiHeadAttention):
        pass

    x = keras.Input((6, 8))
    table = tad.sites(keras.Model(x, Own(2, 4, name="own")(x, x)))
    assert [(site.name, site.kind) for site in table] == [
        ("own/query", "query"),
        ("own/key", "key"),
        ("own/value", "value"),
        ("own/attention_output", "output"),
    ]
    assert [(one.layer, one.reason) for one in table.unreachable] == [
        ("own", "softmax: an operation in the code of Own, not a layer")
    ]
    # With a dropout of its own Keras calls the layer of it, behind that of the softmax.
    plain = keras.Model(x, Own(2, 4, dropout=0.1, name="own")(x, x))
    every = {site.name: site.kind for site in tad.sites(plain, every=True)}
    assert every["own/dropout_layer"] == "softmax"
    assert "own/dropout_layer/scores" not in every, "what it takes are probabilities"
    assert {every["own/query"], every["own/key"]} == {"query", "key"}
    assert every["own/query"] == "query"
    model = tad.regularize(plain, {"softmax": tad.members.variational_dropout(0.999999)})
    ones = np.ones((2, 6, 8), "float32")
    assert same(model(ones), plain(ones))
    assert np.all(np.asarray(model(ones, training=True)) == plain.get_layer("own").output_dense.bias.numpy())


def test_sites_for_a_search():
    table = tad.sites(ready.encoder_and_decoder())
    assert [site.name for site in table.as_sites()] == list(TRANSFORMER_SITES)
    with pytest.raises(ValueError, match="Build the model with fixed sizes"):
        tad.sites(ready.bert()).as_sites()


def test_a_conv_pattern_is_refused_inside_a_transformer():
    with pytest.raises(TypeError, match="'attention/query' needs a TransformerPattern"):
        tad.regularize(ready.attention_model(), tad.ConvPattern(size=1))
    assert not any(isinstance(layer, PatternDropout) for layer in ready.attention_model()._flatten_layers())
