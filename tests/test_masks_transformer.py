"""Masks of a TransformerPattern against the slow reference, and their distribution.

Statistical tests use fixed seeds; their level is the chance that a correct implementation would have failed when the
seed was chosen.
"""

import collections
import contextlib
import itertools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tf_autodropout as tad
from tests import reference
from tests.drawing import draw_mask
from tf_autodropout.masks import encode_vector, unpack

LEVEL = 1e-4


def draw(pattern, shape, seed, token_axis=1):
    """The mask as NumPy, broadcast to `shape`."""
    mask = tad.keep_mask(pattern, shape, seed, token_axis=token_axis)
    assert mask.dtype == tf.float32
    assert len(mask.shape) == len(shape)
    mask = np.broadcast_to(mask.numpy(), shape)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    return mask


def binomial_level(count, total, probability):
    return scipy.stats.binomtest(int(count), int(total), probability).pvalue


def full_masks(pattern, tokens, features):
    """{phase: (T, C) mask} of the reference, where every affected token is dropped."""
    everything = np.ones((tokens, features), bool)
    phases = reference.legal_phases(pattern, tokens)
    return {phase: reference.transformer_mask(pattern, tokens, features, phase, everything) for phase in phases}


def random_pattern(index):
    rng = np.random.default_rng(1000 + index)
    tokens = int(rng.choice([1, 2, 5, 12, 31]))
    pattern = tad.TransformerPattern(
        size=int(rng.integers(1, 8)),
        stride=int(rng.integers(0, 6)),
        share_t=bool(rng.integers(2)),
        share_c=bool(rng.integers(2)),
        rate=1.0,
    )
    return pattern, tokens


@pytest.mark.parametrize("index", range(30))
def test_at_rate_one_the_mask_is_that_of_a_legal_phase(index):
    pattern, tokens = random_pattern(index)
    mask = draw(pattern, (20, tokens, 3), seed=index)
    legal = {one.tobytes() for one in full_masks(pattern, tokens, 3).values()}
    assert {one.tobytes() for one in mask.astype(np.int64)} <= legal


UNIFORM = [
    (tad.TransformerPattern(size=2, stride=3, rate=1), 9),
    (tad.TransformerPattern(size=1, stride=4, rate=1, share_c=True), 7),
    (tad.TransformerPattern(size=5, stride=2, rate=1, share_t=True), 6),  # phases with and without an untouched token
    (tad.TransformerPattern(size=3, stride=1, rate=1), 8),
    (tad.TransformerPattern(size=1, stride=1, rate=1), 2),
]


@pytest.mark.parametrize(("pattern", "tokens"), UNIFORM)
def test_the_phase_is_uniform(pattern, tokens):
    mask = draw(pattern, (8000, tokens, 1), seed=1)
    counts = collections.Counter(one.astype(np.int64).tobytes() for one in mask)
    legal = collections.Counter(one.tobytes() for one in full_masks(pattern, tokens, 1).values())
    expected = {one: 8000 * times / legal.total() for one, times in legal.items()}
    assert counts.keys() <= expected.keys()
    assert scipy.stats.chisquare([counts[one] for one in expected], list(expected.values())).pvalue > LEVEL


@pytest.mark.parametrize(("size", "stride"), [(2, 3), (1, 4), (4, 4), (8, 1)])
@pytest.mark.parametrize("share_t", [False, True])
def test_every_token_is_equally_likely_to_be_dropped(size, stride, share_t):
    """The first tokens as well: the first block may begin before the sequence."""
    pattern = tad.TransformerPattern(size, stride, share_t=share_t, rate=0.6)
    dropped = (draw(pattern, (20000, 16, 1), seed=3) == 0).sum(0)[:, 0]
    for count in dropped:
        assert binomial_level(count, 20000, 0.6 * size / (size + stride)) > LEVEL


def test_phases_of_neighbouring_examples_and_of_seeds_are_independent():
    pattern = tad.TransformerPattern(size=1, stride=3, rate=1)
    starts = draw(pattern, (16000, 4, 1), seed=2).argmin(1)[:, 0]
    others = draw(pattern, (16000, 4, 1), seed=3).argmin(1)[:, 0]
    for first, second in ((starts[:-1:2], starts[1::2]), (starts[:8000], others[:8000])):
        pairs = np.bincount(first * 4 + second, minlength=16)
        assert scipy.stats.chisquare(pairs).pvalue > LEVEL


@pytest.mark.parametrize(("size", "stride"), [(6, 0), (6, 5), (7, 1), (100, 3), (10**6, 10**6)])
def test_a_size_of_the_sequence_or_more_covers_it(size, stride):
    for share_t in (False, True):
        pattern = tad.TransformerPattern(size=size, stride=stride, share_t=share_t, rate=1)
        assert (draw(pattern, (50, 6, 2), seed=4) == 0).all()


@pytest.mark.parametrize(("size", "stride"), [(2**31 - 1, 2), (2**31, 0), (2**40, 1), (1, 2**31 - 1), (1, 2**40)])
def test_huge_values_are_right_or_refused(size, stride):
    with contextlib.suppress(ValueError):  # refused
        pattern = tad.TransformerPattern(size=size, stride=stride, rate=1)
        dropped = (1 - draw(pattern, (50, 6, 1), seed=4)).sum(1)
        assert (dropped == 6).all() if size > 1 else (dropped <= 1).all()


def legal_phases_of(mask, pattern):
    """Phases under which every dropped token of a (T, C) mask is affected."""
    full = full_masks(pattern, *mask.shape)
    return [phase for phase, one in full.items() if (mask >= one).all()]


@pytest.mark.parametrize("index", range(20))
@pytest.mark.parametrize("rate", [0.3, 0.8])
def test_below_rate_one_the_mask_is_one_of_the_definition(index, rate):
    # Some legal phase must explain the mask: untouched tokens kept, and draws shared as the pattern says.
    pattern, tokens = random_pattern(index)
    pattern = tad.TransformerPattern(pattern.size, pattern.stride, pattern.share_t, pattern.share_c, rate)
    mask = draw(pattern, (20, tokens, 4), seed=50 + index).astype(np.int64)
    for one in mask:
        explained = False
        for phase in legal_phases_of(one, pattern):
            numbers = reference.blocks(pattern, tokens, phase)
            drops = {}  # what the draws must have been
            for token, block in enumerate(numbers):
                if block is not None:
                    dropped = one[token] == 0
                    drops[block if pattern.share_t else token] = dropped[:1] if pattern.share_c else dropped
            explained |= (reference.transformer_mask(pattern, tokens, 4, phase, drops) == one).all()
        assert explained, one


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_an_affected_token_is_dropped_with_probability_rate(rate):
    pattern, tokens = tad.TransformerPattern(size=2, stride=3, rate=rate), 8
    dropped = (draw(pattern, (20000, tokens, 1), seed=5) == 0)[..., 0].sum(0)
    full = full_masks(pattern, tokens, 1)
    for token in range(tokens):
        affected = np.mean([one[token, 0] == 0 for one in full.values()])
        assert binomial_level(dropped[token], 20000, rate * affected) > LEVEL


def test_rate_zero_and_size_zero_keep_everything():
    for pattern in (
        tad.TransformerPattern(),
        tad.TransformerPattern(size=0, stride=3, rate=1, share_t=True),
        tad.TransformerPattern(size=0, stride=0, rate=1, share_c=True),
        tad.TransformerPattern(size=4, rate=0),
    ):
        assert (draw(pattern, (5, 8, 3), seed=6) == 1).all()


def test_share_t_is_one_draw_for_a_block():
    pattern = tad.TransformerPattern(size=4, stride=0, share_t=True, rate=0.5)
    mask = draw(pattern, (400, 64, 3), seed=7)
    changes = (mask[:, 1:] != mask[:, :-1]).any((0, 2))
    assert changes.any()
    for one in mask:  # edges of blocks lie 4 tokens apart, at the example's own phase
        edges = np.flatnonzero((one[1:] != one[:-1]).any(1)) + 1
        assert len(set(edges % 4)) <= 1
    # Independent draws of about 16 whole blocks: neighbours agree half of the time.
    starts = [np.flatnonzero((one[1:] != one[:-1]).any(1))[0] + 1 for one in mask]
    agree = [
        one[start + 4 * k, 0] == one[start + 4 * k + 4, 0]
        for one, start in zip(mask, starts, strict=True)
        for k in range(3)
    ]
    assert 0.4 < np.mean(agree) < 0.6


def test_share_c_is_one_draw_for_all_features():
    for share_t in (False, True):
        pattern = tad.TransformerPattern(size=3, stride=1, share_t=share_t, share_c=True, rate=0.5)
        mask = draw(pattern, (10, 30, 6), seed=8)
        assert (mask == mask[..., :1]).all()
        assert (mask[0] != mask[1]).any()
        own = draw(tad.TransformerPattern(size=3, stride=1, share_t=share_t, rate=0.5), (10, 30, 6), seed=8)
        assert all((one != one[:, :1]).any() for one in own)


# Members


def assert_independent_halves(dropped, rate):
    """Binomial tests that `dropped` and its neighbours along each axis have the counts of independent draws."""
    assert binomial_level(dropped.sum(), dropped.size, rate) > LEVEL
    for axis in range(dropped.ndim):
        if dropped.shape[axis] > 1:
            pairs = dropped.shape[axis] // 2 * 2
            first, second = (np.take(dropped, range(k, pairs, 2), axis) for k in (0, 1))
            both = first & second
            assert binomial_level(both.sum(), both.size, rate**2) > LEVEL


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_is_a_member(rate):
    dropped = draw(tad.TransformerPattern(size=1, stride=0, rate=rate), (40, 30, 50), seed=9) == 0
    assert_independent_halves(dropped, rate)


def test_word_dropout_is_a_member():
    pattern = tad.TransformerPattern(size=1, stride=0, share_c=True, rate=0.2)
    mask = draw(pattern, (400, 50, 7), seed=10)
    assert (mask == mask[..., :1]).all()
    assert_independent_halves(mask[..., 0] == 0, 0.2)


def test_variational_dropout_is_a_member():
    pattern = tad.TransformerPattern(size=32, stride=0, share_t=True, rate=0.2)
    mask = draw(pattern, (400, 32, 50), seed=11)
    assert (mask == mask[:, :1]).all()
    assert_independent_halves(mask[:, 0] == 0, 0.2)


def test_sharing_everything_drops_whole_examples():
    pattern = tad.TransformerPattern(size=32, stride=0, share_t=True, share_c=True, rate=0.2)
    mask = draw(pattern, (5000, 32, 2), seed=12)
    assert (mask == mask[:, :1, :1]).all()
    assert_independent_halves(mask[:, 0, 0] == 0, 0.2)


# Other axes


def test_tokens_on_axis_3():
    n, heads, queries, keys = 30, 2, 3, 9
    pattern = tad.TransformerPattern(size=2, stride=2, rate=1)
    mask = draw(pattern, (n, heads, queries, keys), seed=13, token_axis=3).astype(np.int64)
    legal = {one.tobytes() for one in full_masks(pattern, keys, 1).values()}
    assert {one[0, 0].tobytes() for one in mask} == legal  # 4 phases in 30 draws
    assert (mask == mask[:, :1, :1]).all()  # the phase belongs to the example


@pytest.mark.parametrize(("share_t", "share_c"), list(itertools.product([False, True], repeat=2)))
def test_sharing_on_axis_3(share_t, share_c):
    pattern = tad.TransformerPattern(size=8, stride=0, share_t=share_t, share_c=share_c, rate=0.3)
    dropped = draw(pattern, (60, 4, 6, 8), seed=14, token_axis=3) == 0  # (N, heads, queries, keys)
    if share_t:
        assert (dropped == dropped[..., :1]).all()
        dropped = dropped[..., :1]
    if share_c:
        assert (dropped == dropped[:, :1, :1]).all()
        dropped = dropped[:, :1, :1]
    assert_independent_halves(dropped, 0.3)


def test_sharing_with_two_feature_axes_after_the_tokens():
    shape = (5, 12, 3, 4)  # (N, T, heads, dim)
    own = draw(tad.TransformerPattern(size=1, rate=0.5), shape, seed=15)
    assert (own != own[:, :, :1]).any()
    assert (own != own[..., :1]).any()
    shared = draw(tad.TransformerPattern(size=1, share_c=True, rate=0.5), shape, seed=15)
    assert (shared == shared[:, :, :1, :1]).all()
    assert (shared != shared[:, :1]).any()


def test_rank_is_checked():
    with pytest.raises(ValueError, match=r"TransformerPattern needs a tensor of rank 2 or more.+rank 1"):
        tad.keep_mask(tad.TransformerPattern(size=1), (4,), 0)


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_of_rank_2_an_example_is_one_token(rate):
    own = draw(tad.members.dropout(rate), (400, 30), 3) == 0
    assert_independent_halves(own, rate)
    shared = draw(tad.members.drop_path(rate, tad.TransformerPattern), (2000, 3), 3) == 0
    assert (shared == shared[:, :1]).all()
    assert_independent_halves(shared[:, 0], rate)


@pytest.mark.parametrize("token_axis", [0, 3, -1])
def test_token_axis_is_checked(token_axis):
    message = rf"^Invalid value for 'token_axis'\. Expected 1 to 2\. Received: token_axis={token_axis}"
    with pytest.raises(ValueError, match=message):
        tad.keep_mask(tad.TransformerPattern(size=1), (4, 5, 6), 0, token_axis=token_axis)


# Seeds, graphs, XLA, dynamic shapes, variables

EXCHANGED = [
    tad.TransformerPattern(size=1, rate=0.3),
    tad.TransformerPattern(size=1, share_c=True, rate=0.3),
    tad.TransformerPattern(size=12, share_t=True, rate=0.3),
    tad.TransformerPattern(),
    tad.TransformerPattern(size=2, stride=3, share_t=True, share_c=True, rate=0.7),
    tad.TransformerPattern(size=2, stride=3, rate=1),
    tad.TransformerPattern(size=100, stride=3, share_t=True, share_c=True, rate=0.5),
    tad.TransformerPattern(size=3, stride=1, rate=0),
]


def test_a_seed_fixes_the_mask_and_others_differ():
    shape = (4, 12, 5)
    masks = [draw(EXCHANGED[0], shape, seed) for seed in (0, 1, -1, 2**40, (0, 0), (0, 1), (1, 0))]
    assert len({mask.tobytes() for mask in masks}) == len(masks)
    assert (draw(EXCHANGED[0], shape, 2**40) == masks[3]).all()
    assert (draw(EXCHANGED[0], shape, tf.constant([0, 1])) == masks[5]).all()


@pytest.mark.parametrize("index", [0, 1, 2, 4, 5])
def test_xla_and_graph_equal_eager(index):
    pattern, shape = EXCHANGED[index], (4, 12, 5)
    wanted = draw(pattern, shape, (1, 2))
    for jit_compile in (False, True):
        function = tf.function(lambda seed: tad.keep_mask(pattern, shape, seed), jit_compile=jit_compile)
        assert (np.broadcast_to(function(tf.constant([1, 2])), shape) == wanted).all()


@pytest.mark.parametrize("index", range(len(EXCHANGED)))
@pytest.mark.parametrize("token_axis", [1, 2])
def test_dynamic_shapes_equal_static_ones(index, token_axis):
    pattern = EXCHANGED[index]

    @tf.function(input_signature=[tf.TensorSpec([None] * 3)])
    def dynamic(x):
        return tad.keep_mask(pattern, tuple(tf.unstack(tf.shape(x), 3)), (3, 4), token_axis=token_axis)

    for shape in [(4, 12, 5), (1, 3, 2)]:
        wanted = draw(pattern, shape, (3, 4), token_axis)
        assert (np.broadcast_to(dynamic(tf.zeros(shape)), shape) == wanted).all()


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("shape", "token_axis"), [((4, 12, 5), 1), ((4, 2, 3, 12), 3)])
def test_patterns_in_a_variable_equal_constants_without_a_new_trace(jit_compile, shape, token_axis):
    variable = tf.Variable(encode_vector(tad.TransformerPattern()))
    traces = []

    @tf.function(jit_compile=jit_compile)
    def exchanged(seed):
        traces.append(1)
        values, _ = unpack(tad.TransformerPattern, variable)
        return draw_mask(values, shape, seed, "channels_last", token_axis)

    wrong = []
    for pattern in EXCHANGED:
        variable.assign(encode_vector(pattern))
        mask = np.broadcast_to(exchanged(tf.constant([6, 7])), shape)
        if (mask != draw(pattern, shape, (6, 7), token_axis)).any():
            wrong.append(pattern)
    assert len(traces) == 1
    assert not wrong
