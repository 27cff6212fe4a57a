"""Beam search against exhaustive search, against a slow beam search in NumPy, against greedy search."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad

V, LENGTH, START, END = 6, 4, 1, 2
SOURCES = np.array([[3, 4, 5, 2, 0, 0], [5, 5, 3, 4, 3, 2], [4, 2, 0, 0, 0, 0], [3, 2, 0, 0, 0, 0]], np.int32)


@pytest.fixture(scope="module")
def model():
    model = tad.models.transformer(V, V, num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=32, seed=3)
    # Distributions that are sharp enough for translations of several lengths.
    table = model.get_layer("target_embedding").embeddings
    table.assign(0.5 * np.random.default_rng(11).normal(size=table.shape))
    return model


WORDS = [token for token in range(1, V) if token != END]


def tables(model, sources):
    """For each source: log-probabilities (V,) of the token after each prefix, from whole passes without a cache."""
    longest = list(itertools.product(WORDS, repeat=LENGTH - 1))
    target = tf.constant([[START, *prefix] for prefix in longest])
    whole = tf.function(lambda source: model([tf.tile(source[None], [len(longest), 1]), target]))
    for source in sources:
        logits = whole(tf.constant(source)).numpy().astype(np.float64)
        logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        logp[..., 0] = -np.inf  # padding is not a token
        yield {prefix[:length]: logp[row, length] for row, prefix in enumerate(longest) for length in range(LENGTH)}


def normalized(logp, length, alpha):
    return logp / ((5 + length) / 6) ** alpha


def exhaustive(table, alpha):
    """The best of all translations of up to LENGTH tokens, the last of which is the end."""
    found = []
    for prefix, row in table.items():
        total = sum(table[prefix[:length]][prefix[length]] for length in range(len(prefix)))
        found.append((normalized(total + row[END], len(prefix) + 1, alpha), (*prefix, END)))
    return max(found)


def slow_beam_search(table, beams, alpha):
    alive, finished = [(0.0, ())], []
    for length in range(1, LENGTH + 1):
        allowed = [END] if length == LENGTH else range(1, V)
        grown = sorted(((total + table[s][t], (*s, t)) for total, s in alive for t in allowed), reverse=True)
        finished += [(normalized(p, length, alpha), s) for p, s in grown[:beams] if s[-1] == END]
        if len(finished) >= beams:
            break
        alive = [(p, s) for p, s in grown if s[-1] != END][:beams]
    return max(finished)


def check(found, wanted):
    for tokens, score, (expected_score, expected_tokens) in zip(*map(np.array, found), wanted, strict=True):
        assert tokens.tolist() == [*expected_tokens, *[0] * (LENGTH - len(expected_tokens))]
        assert score == pytest.approx(expected_score, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.0, pytest.param(4.0, marks=pytest.mark.slow)])
def test_with_beams_for_everything_it_is_exhaustive_search(model, alpha):
    search = tad.models.BeamSearch(model, max_length=LENGTH, num_beams=100, alpha=alpha)
    check(search(SOURCES), [exhaustive(table, alpha) for table in tables(model, SOURCES)])


@pytest.mark.parametrize(("beams", "alpha"), [(2, 0.6), pytest.param(3, 4.0, marks=pytest.mark.slow)])
def test_it_prunes_like_a_slow_beam_search(model, beams, alpha):
    sources = np.random.default_rng(0).integers(3, V, (24, 5)).astype(np.int32)
    known = list(tables(model, sources))
    wanted = [slow_beam_search(table, beams, alpha) for table in known]
    assert len({len(tokens) for _, tokens in wanted}) > 1
    check(tad.models.BeamSearch(model, max_length=LENGTH, num_beams=beams, alpha=alpha)(sources), wanted)
    assert wanted != [exhaustive(table, alpha) for table in known]  # so pruning did matter


def test_one_beam_is_greedy_search(model):
    tokens, scores = tad.models.BeamSearch(model, max_length=LENGTH, num_beams=1)(SOURCES)
    for table, found, score in zip(tables(model, SOURCES), tokens.numpy(), scores.numpy(), strict=True):
        prefix, total = (), 0.0
        while END not in prefix:
            token = int(table[prefix].argmax()) if len(prefix) < LENGTH - 1 else END
            total += table[prefix][token]
            prefix = (*prefix, token)
        assert found.tolist() == [*prefix, *[0] * (LENGTH - len(prefix))]
        assert score == pytest.approx(normalized(total, len(prefix), 0.6), abs=1e-4)


def test_a_sentence_does_not_depend_on_the_others(model):
    search = tad.models.BeamSearch(model, max_length=12, num_beams=3)
    together, _ = search(SOURCES)
    for source, tokens in zip(SOURCES, together.numpy(), strict=True):
        assert (search(np.tile(source, (4, 1)))[0].numpy() == tokens).all()


@pytest.mark.slow  # the compilation
def test_xla_finds_the_same(model):
    plain, compiled = (
        tad.models.BeamSearch(model, max_length=8, num_beams=3, jit_compile=jit)(SOURCES) for jit in (False, True)
    )
    assert (plain[0].numpy() == compiled[0].numpy()).all()
    assert plain[1].numpy() == pytest.approx(compiled[1].numpy(), abs=1e-5)


def test_it_follows_the_weights_without_a_new_trace():
    model = tad.models.transformer(V, V, num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=32, seed=1)
    other = tad.models.transformer(V, V, num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=32, seed=2)
    search = tad.models.BeamSearch(model, max_length=LENGTH, num_beams=2)
    search(SOURCES)
    model.set_weights(other.get_weights())
    _, scores = search(SOURCES)
    _, wanted = tad.models.BeamSearch(other, max_length=LENGTH, num_beams=2)(SOURCES)
    assert (scores.numpy() == wanted.numpy()).all()
    assert search._search.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"num_beams": 0}, "^Invalid value for 'num_beams'. Expected an integer >= 1"),
        ({"max_length": 0}, "^Invalid value for 'max_length'"),
        ({"alpha": float("nan")}, "^Invalid value for 'alpha'"),
        ({"end": 6}, "^Invalid value for 'end'. Expected 1 <= end < 6. Received: end=6"),
        ({"start": 0}, "^Invalid value for 'start'"),
    ],
)
def test_arguments_are_checked(model, settings, match):
    with pytest.raises(ValueError, match=match):
        tad.models.BeamSearch(model, **settings)


def test_other_models_and_sources_are_refused(model):
    with pytest.raises(ValueError, match=r"Expected a model made by tad.models.transformer"):
        tad.models.BeamSearch(tad.models.transformer_lm(V, 8))
    with pytest.raises(ValueError, match=r"^Invalid value for 'source'. Expected shape \(N, S\)"):
        tad.models.BeamSearch(model)(tf.constant([3, 2]))
