"""The encoder-decoder Transformer: published sizes, sites, masks, seeds, cached decoding, errors."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tf_autodropout.layers import assign_patterns, pattern_layers
from tf_autodropout.models.cached_decoding import CachedDecoder
from tf_autodropout.models.encoder_decoder import TRANSFORMER_SIZES

SEVEN = ("query", "key", "value", "softmax", "output", "ffn", "residual")
WORDS = tad.TransformerPattern(size=1, share_c=True, rate=0.5)
V, W = 11, 13  # ids of source and target
SMALL = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 32}


def small(**kwargs):
    return tad.models.transformer(V, W, **SMALL | kwargs)


def pair(n=3, s=6, t=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(3, V, (n, s)).astype(np.int32), rng.integers(3, W, (n, t)).astype(np.int32)


def count(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def expected_count(layers, width, inner, tables):
    """Parameters by hand: projections with biases, the feed-forward part, two numbers a feature of a norm."""
    attention = 4 * (width * width + width)
    forward = 2 * width * inner + inner + width
    encoder, decoder = attention + forward + 2 * 2 * width, 2 * attention + forward + 3 * 2 * width
    return layers * (encoder + decoder) + sum(tables) * width


def test_the_iwslt_size_has_the_published_number_of_parameters():
    # fairseq's transformer_iwslt_de_en with its dictionaries of 8,848 and 6,632 types, target embeddings tied.
    model = tad.models.transformer(8848, 6632, **TRANSFORMER_SIZES["iwslt"])
    assert count(model) == 39_469_056 == expected_count(6, 512, 1024, (8848, 6632))


@pytest.mark.slow  # it fills 63 and 214 million weights
@pytest.mark.parametrize(("size", "published", "close"), [("base", 65e6, 0.03), ("big", 213e6, 0.01)])
def test_base_and_big_have_the_published_number_of_parameters(size, published, close):
    # Table 3 of Vaswani et al.; "about 37000 tokens", one embedding for all.
    sizes = TRANSFORMER_SIZES[size]
    model = tad.models.transformer(37_000, 37_000, **sizes, share_embeddings=True)
    assert count(model) == expected_count(6, sizes["hidden_dim"], sizes["intermediate_dim"], (37_000,))
    assert count(model) == pytest.approx(published, rel=close)


def test_base_is_the_default():
    import inspect

    defaults = {name: each.default for name, each in inspect.signature(tad.models.transformer).parameters.items()}
    assert {name: defaults[name] for name in TRANSFORMER_SIZES["base"]} == TRANSFORMER_SIZES["base"]


def test_one_pattern_per_site_serves_encoder_and_decoder():
    model = small(mutable=True, num_layers=2)
    found = pattern_layers(model)
    assert set(found) == set(SEVEN)
    # Two layers each: self-attention in both halves, cross-attention in the decoder.
    assert {site: len(layers) for site, layers in found.items()} == dict.fromkeys(SEVEN[:5], 6) | {
        "ffn": 4,
        "residual": 10,
    }
    seeds = [layer.seed for layer in itertools.chain(*found.values())]
    assert len(set(seeds)) == len(seeds)
    assign_patterns(model, tad.PatternSet({"query": WORDS, "residual": WORDS}))
    for site, layers in pattern_layers(model).items():
        wanted = WORDS if site in ("query", "residual") else tad.TransformerPattern()
        assert {layer.pattern for layer in layers} == {wanted}


@pytest.fixture(scope="module")
def mutable():
    return small(mutable=True)


@pytest.mark.parametrize("site", SEVEN)
def test_every_site_acts_while_training_only(mutable, site):
    assign_patterns(mutable, tad.PatternSet({}))
    wanted = mutable(pair(), training=True).numpy()
    assert mutable(pair()).numpy() == pytest.approx(wanted, abs=1e-5)
    assign_patterns(mutable, tad.PatternSet({site: WORDS}))
    assert mutable(pair()).numpy() == pytest.approx(wanted, abs=1e-5)
    assert (np.abs(mutable(pair(), training=True).numpy() - wanted) > 1e-3).any()


def test_logits_see_the_target_up_to_their_place_and_all_of_the_source():
    model = small()
    source, target = pair()
    first = model([source, target]).numpy()
    for place in (0, 2, 4):
        changed = target.copy()
        changed[:, place] = (changed[:, place] + 1) % W
        second = model([source, changed]).numpy()
        assert second[:, :place] == pytest.approx(first[:, :place], abs=1e-5)
        assert (np.abs(second[:, place] - first[:, place]).max(-1) > 1e-4).all()
    changed = source.copy()
    changed[:, -1] = np.where(changed[:, -1] == 3, 4, 3)
    assert (np.abs(model([changed, target]).numpy() - first).max(-1) > 1e-6).all()


@pytest.mark.parametrize("training", [False, True])
def test_padding_of_the_source_makes_no_difference(training):
    model = small(patterns={"ffn": tad.TransformerPattern()})
    source, target = pair()
    longer = np.pad(source, ((0, 0), (0, 4)))
    wanted = model([source, target], training=training).numpy()
    assert model([longer, target], training=training).numpy() == pytest.approx(wanted, abs=1e-5)


def test_embeddings_are_tied_and_may_be_shared():
    tables = [v.path for v in small().trainable_variables if "embeddings" in v.path]
    assert tables == ["source_embedding/embeddings", "target_embedding/embeddings"]
    shared = tad.models.transformer(W, W, **SMALL, share_embeddings=True)
    assert [v.path for v in shared.trainable_variables if "embeddings" in v.path] == ["target_embedding/embeddings"]
    assert count(small()) - count(shared) == V * 16


def test_kernels_have_glorots_deviation_and_differ():
    model = tad.models.transformer(V, W, num_layers=1, hidden_dim=64, num_heads=4, intermediate_dim=128)
    kernels = {v.path: v.numpy() for v in model.trainable_variables if v.path.endswith("kernel")}
    assert len(kernels) == 4 * 3 + 2 * 2
    for path, kernel in kernels.items():
        fans = 64 + (128 if "dense" in path else 64)
        assert kernel.std() == pytest.approx((2 / fans) ** 0.5, rel=0.05), path
    assert len({kernel.tobytes() for kernel in kernels.values()}) == len(kernels)


def test_the_builder_seed_fixes_weights_and_masks():
    def run(seed):
        model = small(patterns=dict.fromkeys(SEVEN, WORDS), seed=seed)
        return [*(v.numpy() for v in model.trainable_variables), model(pair(), training=True).numpy()]

    first = run(1)
    keras.utils.set_random_seed(77)
    second, other = run(1), run(2)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert (first[-1] != other[-1]).any()


@pytest.mark.parametrize(("normalize_first", "num_layers"), [(False, 1), (True, 2)])
def test_cached_decoding_gives_the_logits_of_a_whole_pass(normalize_first, num_layers):
    model = small(normalize_first=normalize_first, num_layers=num_layers)
    source, target = pair(n=2)
    source[1, 3:] = 0
    target[:, 0] = 1
    decoder = CachedDecoder(model)
    memory = decoder.read(tf.constant(source), start=1, length=7).repeat(2)
    logits = [decoder.step(tf.repeat(target[:, t], 2), t, memory).numpy() for t in range(5)]
    wanted = np.repeat(model([source, target]).numpy(), 2, axis=0)
    assert np.stack(logits, 1) == pytest.approx(wanted, abs=1e-4)


def test_it_is_saved_and_loaded_with_its_patterns(tmp_path):
    model = small(patterns={"softmax": WORDS}, normalize_first=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert (again(pair()).numpy() == model(pair()).numpy()).all()
    assert {layer.pattern for layer in pattern_layers(again)["softmax"]} == {WORDS}
    CachedDecoder(again)  # its parts are found


@pytest.mark.slow  # the compilation
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_step_trains_compiled(jit_compile):
    model = small(patterns=dict.fromkeys(SEVEN, tad.members.dropout(0.1)))
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)
    source, target = map(tf.constant, pair(n=8))

    @tf.function(jit_compile=jit_compile)
    def step():
        with tf.GradientTape() as tape:
            logits = model([source, target[:, :-1]], training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(target[:, 1:], logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    losses = [float(step()) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"num_layers": 0}, "^Invalid value for 'num_layers'. Expected an integer >= 1. Received: num_layers=0"),
        ({"source_vocabulary_size": 2.5}, "^Invalid value for 'source_vocabulary_size'"),
        ({"num_heads": 3}, "multiple of num_heads"),
        ({"share_embeddings": True}, "equal size for share_embeddings=True. Received: 11 and 13"),
        ({"patterns": {"embedding": WORDS}}, "^Invalid value for 'patterns'. Expected sites among query"),
    ],
)
def test_arguments_are_checked(settings, match):
    with pytest.raises(ValueError, match=match):
        tad.models.transformer(**{"source_vocabulary_size": V, "target_vocabulary_size": W} | SMALL | settings)
    with pytest.raises(TypeError, match="TransformerPattern"):
        small(patterns={"ffn": tad.ConvPattern(size=1)})
