"""The classic dropouts as patterns: where they drop, against the Keras layer of that name.

Tests of distributions use fixed seeds; LEVEL is the chance that a correct implementation would have failed when the
seed was chosen.
"""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tf_autodropout as tad
from tf_autodropout.masks import apply_mask

LEVEL = 1e-4
MAPS, TOKENS = (240, 6, 5, 8), (240, 12, 20)


def noise_shape(*shape):
    return lambda rate: keras.layers.Dropout(rate, noise_shape=shape)


# member, the Keras layer, shape, axes along which one draw is shared
MEMBERS = {
    "dropout-text": (tad.members.dropout, keras.layers.Dropout, TOKENS, ()),
    "dropout-maps": (tad.members.dropout, keras.layers.Dropout, MAPS, ()),
    "spatial": (tad.members.spatial_dropout, keras.layers.SpatialDropout2D, MAPS, (1, 2)),
    "variational": (tad.members.variational_dropout, keras.layers.SpatialDropout1D, TOKENS, (1,)),
    "word": (tad.members.word_dropout, noise_shape(240, 12, 1), TOKENS, (2,)),
    "path-maps": (tad.members.drop_path, noise_shape(240, 1, 1, 1), MAPS, (1, 2, 3)),
    "path-text": (
        lambda rate: tad.members.drop_path(rate, tad.TransformerPattern),
        noise_shape(240, 1, 1),
        TOKENS,
        (1, 2),
    ),
}
each_member = pytest.mark.parametrize(("member", "layer", "shape", "shared"), MEMBERS.values(), ids=list(MEMBERS))
QUICK = ("dropout-text", "spatial", "path-text")


def our_drops(pattern, shape, draws, seed):
    masks = [np.broadcast_to(tad.keep_mask(pattern, shape, (seed, k)).numpy(), shape) for k in range(draws)]
    return np.concatenate(masks) == 0


def keras_drops(layer, shape, draws):
    return np.concatenate([layer(tf.ones(shape), training=True).numpy() for _ in range(draws)]) == 0


def one_of_each_group(dropped, shared):
    """The draws themselves: a cell for each group that shares one, after a check that the group agrees."""
    first = dropped
    for axis in shared:
        first = first.take([0], axis)
    assert (dropped == first).all()
    return first


def same_counts(first, second):
    """p-value that two lists of counts come from one distribution (chi-square, rare counts pooled)."""
    edges = np.unique(np.quantile(np.concatenate([first, second]), np.linspace(0, 1, 9)))
    if len(edges) < 3:
        edges = np.array([edges[0], edges[0] + 0.5, edges[-1] + 0.5])
    edges = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
    table = np.array([np.histogram(counts, edges)[0] for counts in (first, second)])
    return scipy.stats.chi2_contingency(table[:, table.sum(0) > 0]).pvalue


@each_member
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_member_drops_as_the_keras_layer_does(member, layer, shape, shared, rate):
    draws = 8
    ours = one_of_each_group(our_drops(member(rate), shape, draws, seed=1), shared)
    theirs = one_of_each_group(keras_drops(layer(rate), shape, draws), shared)
    assert ours.shape == theirs.shape
    # The probability, against the stated one and against the layer's.
    assert scipy.stats.binomtest(int(ours.sum()), ours.size, rate).pvalue > LEVEL
    table = [[d.sum(), d.size - d.sum()] for d in (ours, theirs)]
    assert scipy.stats.chi2_contingency(table).pvalue > LEVEL
    # Independence along each axis: how many are dropped along it has the layer's distribution, and the
    # binomial variance.
    for axis in range(ours.ndim):
        length = ours.shape[axis]
        if length == 1:
            continue
        counts, rivals = (d.sum(axis).ravel() for d in (ours, theirs))
        assert len(counts) < 8 or same_counts(counts, rivals) > LEVEL
        if len(counts) >= 100:
            spread = counts.var() * len(counts) / (length * rate * (1 - rate))
            low, high = scipy.stats.chi2.ppf([LEVEL / 2, 1 - LEVEL / 2], len(counts))
            kurtosis = max(1.0, np.sqrt(1 + 1 / (2 * length * rate * (1 - rate))))  # binomial, not normal
            assert len(counts) - (len(counts) - low) * kurtosis < spread < len(counts) + (high - len(counts)) * kurtosis


@pytest.mark.parametrize("size", [1, 3])
def test_one_block_a_map_treats_all_cells_alike(size):
    height, width, rate = 6, 7, 0.6
    dropped = our_drops(tad.ConvPattern(size=size, rate=rate), (500, height, width, 8), 2, seed=3)
    maps = dropped.transpose(0, 3, 1, 2).reshape(-1, height, width)
    for one in maps[:200]:
        rows, columns = np.nonzero(one)
        if len(rows):  # a full rectangle, no larger than the block
            assert one.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert max(np.ptp(rows), np.ptp(columns)) < size
    chance = rate * size**2 / ((height + size - 1) * (width + size - 1))
    levels = [scipy.stats.binomtest(int(n), len(maps), chance).pvalue for n in maps.sum(0).ravel()]
    assert min(levels) > LEVEL / len(levels)


# The scale


@pytest.mark.parametrize(
    ("member", "layer", "shape", "shared"),
    [pytest.param(*one, id=name, marks=[pytest.mark.slow] * (name not in QUICK)) for name, one in MEMBERS.items()],
)
def test_the_scale_is_that_of_equation_1_and_spreads_about_the_classic_one_as_documented(member, layer, shape, shared):
    rate, draws = 0.2, 200
    groups = np.prod([size for axis, size in enumerate(shape) if axis not in shared])
    scales = []
    for k in range(draws):
        mask = tad.keep_mask(member(rate), shape, (5, k))
        scale = apply_mask(tf.ones(shape), mask).numpy().max()
        assert scale == pytest.approx(tf.size(mask).numpy() / mask.numpy().sum(), rel=1e-5)
        scales.append(scale * (1 - rate))  # 1 is the classic scale
    expected = np.sqrt(rate / ((1 - rate) * groups))
    assert np.std(scales) == pytest.approx(expected, rel=0.25)  # five standard errors of a deviation from 200 draws
    assert np.mean(scales) == pytest.approx(1 + expected**2, abs=5 * expected / np.sqrt(draws))
    classic = layer(rate)(tf.ones(shape), training=True).numpy().max()
    assert classic == pytest.approx(1 / (1 - rate))


def test_the_mean_over_the_batch_is_kept_exactly_where_the_classic_scale_keeps_it_on_average():
    x = tf.ones((16, 4, 4, 3))
    ours = tad.PatternDropout(tad.members.drop_path(0.5), seed=0)
    theirs = keras.layers.Dropout(0.5, noise_shape=(16, 1, 1, 1), seed=0)
    means = [(ours(x, training=True).numpy().mean(), theirs(x, training=True).numpy().mean()) for _ in range(20)]
    assert all(mean == pytest.approx(1, rel=1e-5) for mean, _ in means)
    assert any(abs(mean - 1) > 0.1 for _, mean in means)


# Values


@pytest.mark.parametrize("name", ["dropout", "word_dropout", "variational_dropout", "spatial_dropout", "drop_path"])
@pytest.mark.parametrize("rate", [-0.1, 1.1, "much", None])
def test_rates_are_checked(name, rate):
    with pytest.raises(ValueError, match="Invalid value for 'rate'"):
        getattr(tad.members, name)(rate)


def test_a_kind_is_checked():
    with pytest.raises(ValueError, match="Invalid value for 'kind'"):
        tad.members.drop_path(0.1, tad.PatternSet)


def test_what_covers_the_whole_map_still_does_when_scaled():
    for member in (tad.members.spatial_dropout(0.1), tad.members.variational_dropout(0.1)):
        assert member.scale(4) == member.scale(0.25) == member


def test_the_whole_map_survives_json_and_reads_well():
    found = tad.PatternSet({"a": tad.members.spatial_dropout(0.1), "b": tad.members.variational_dropout(0.2)})
    assert tad.PatternSet.from_json(found.to_json()) == found
    assert tad.visualize.summary(found["a"]).startswith("all×all")
    assert tad.visualize.summary(found["b"]).startswith("size all")
