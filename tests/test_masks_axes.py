"""Maps of one and three axes, fractions, DropBlock and schedules, against independent NumPy versions and by counts."""

import itertools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tf_autodropout as tad
from tests.reference import derived, mixed, profile
from tf_autodropout.masks import drop_probability

LEVEL = 1e-4
KEYS = {1: (1,), 2: (1, 2), 3: (4, 1, 2)}  # the keys of the axes


def draw(pattern, shape, seed, data_format="channels_last"):
    return np.broadcast_to(tad.keep_mask(pattern, shape, seed, data_format).numpy(), shape)


def lengths(extent, axes):
    return extent if isinstance(extent, tuple) else (extent,) * axes


def axis_kept(size, stride, repeat, cells, word, covered):
    """What is dropped along one axis, cell by cell, for one drawn word."""
    run = profile(size, stride, repeat)
    if covered:
        return np.ones(cells, bool)
    low = -len(run) + 1
    offset = low + (word >> 1) % (cells - low)
    return np.array([0 <= cell - offset < len(run) and bool(run[cell - offset]) for cell in range(cells)])


def wanted(pattern, shape, seed):
    """The mask of an unturned pattern in plain Python."""
    n, *sizes, c = shape
    axes = len(sizes)
    sides, strides = lengths(pattern.size, axes), lengths(pattern.stride, axes)
    covered = all(side >= size for side, size in zip(sides, sizes, strict=True))
    key = derived(seed, 2)
    mask = np.ones(shape)
    for example, channel in itertools.product(range(n), range(c)):
        index = example if pattern.share_c else example * c + channel
        if (mixed(*derived(key, 3), index) >> 8) >= round(pattern.rate * 2**24):
            continue
        dropped = np.ones(())
        for name, side, stride, size in zip(KEYS[axes], sides, strides, sizes, strict=True):
            along = axis_kept(side, stride, pattern.repeat, size, mixed(*derived(key, name), index), covered)
            dropped = np.multiply.outer(dropped, along)
        mask[example, ..., channel] -= dropped
    return mask


PATTERNS = [
    (tad.ConvPattern(size=2, stride=1, repeat=2), (3, 9, 5)),
    (tad.ConvPattern(size=3, rate=0.5), (4, 8, 6)),
    (tad.ConvPattern(size=20, share_c=True, rate=0.5), (9, 8, 3)),
    (tad.ConvPattern(size=2, stride=3, repeat=3, share_c=True), (3, 11, 4)),
    (tad.ConvPattern(size=2), (2, 4, 5, 6, 3)),
    (tad.ConvPattern(size=(1, 2, 3), stride=(2, 1, 1), repeat=2, rate=0.7), (2, 4, 5, 6, 3)),
    (tad.ConvPattern(size=9, rate=0.5), (4, 3, 4, 5, 2)),
    (tad.ConvPattern(size=(2, 3), stride=(1, 2), repeat=2), (2, 7, 6, 3)),
]


@pytest.mark.parametrize(("pattern", "shape"), PATTERNS)
def test_masks_equal_an_independent_version(pattern, shape):
    for seed in ((3, 4), (5, 0)):
        assert (draw(pattern, shape, seed) == wanted(pattern, shape, seed)).all()
    first = np.moveaxis(draw(pattern, (shape[0], shape[-1], *shape[1:-1]), (3, 4), "channels_first"), 1, -1)
    assert (first == wanted(pattern, shape, (3, 4))).all()


def test_in_three_axes_a_turned_plane_is_that_of_two_axes():
    shape, turned = (3, 4, 7, 6, 2), {"rotate": 30, "shear_x": 0.25}
    whole_depth = draw(tad.ConvPattern(size=(100, 3, 2), **turned), shape, (1, 2))
    plane = draw(tad.ConvPattern(size=(3, 2), **turned), (3, 7, 6, 2), (1, 2))
    dropped = (whole_depth == 0).any(1)
    assert (dropped <= (plane == 0)).all()  # the depth's own offset may leave a slice out, never add to one
    assert dropped.any()


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        (tad.ConvPattern(size=3, stride=1, repeat=2), (6000, 9, 1)),
        (tad.ConvPattern(size=(2, 1, 2), stride=1, repeat=2, rate=0.8), (6000, 3, 4, 3, 1)),
        (tad.ConvPattern(size="1/4", stride="1/8", repeat=2), (6000, 8, 12, 1)),
        (tad.ConvPattern(size=2, rotate=40, shear_y=0.5), (6000, 5, 4, 1)),
        (tad.DropBlockPattern(size=3, rate=0.3), (6000, 7, 6, 1)),
        (tad.DropBlockPattern(size=2, rate=0.4), (6000, 6, 1)),
        (tad.DropBlockPattern(size=2, rate=0.3), (6000, 3, 4, 3, 1)),
        (tad.TransformerPattern(size=2, stride=3, rate=0.5), (6000, 9, 1)),
    ],
)
def test_cells_are_dropped_as_often_as_the_exact_probability_says(pattern, shape):
    chance = drop_probability(pattern, shape[1:-1])
    counts = (draw(pattern, shape, 7) == 0).sum(0)[..., 0]
    levels = [
        scipy.stats.binomtest(int(count), shape[0], p).pvalue
        for count, p in zip(counts.ravel(), chance.ravel(), strict=True)
    ]
    assert min(levels) > LEVEL / len(levels)


def test_a_fraction_is_at_least_a_cell_and_less_than_the_map():
    pattern = tad.ConvPattern(size="1/4", stride="1/8")
    assert pattern.resolve((32, 16)).size == (8, 4)
    assert pattern.resolve((2, 2)).size == 1
    assert tad.ConvPattern(size="9/10").resolve((3, 3)).size == 2
    for wrong in ("1", "0", "5/4", "a", "-1/2", 0.25):
        with pytest.raises(ValueError, match="Invalid value for 'size'"):
            tad.ConvPattern(size=wrong)
    with pytest.raises(ValueError, match="cannot be rotated"):
        tad.keep_mask(tad.ConvPattern(size=2, rotate=30), (1, 8, 2), 0)
    with pytest.raises(ValueError, match="Invalid value for 'size'"):
        tad.keep_mask(tad.ConvPattern(size=(1, 2, 3)), (1, 8, 8, 2), 0)


def test_fractions_of_maps_of_unknown_size_are_those_of_known_ones():
    layers = [tad.PatternDropout(tad.ConvPattern(size="1/4", stride="1/8", repeat=2), seed=3) for _ in range(2)]
    dynamic = tf.function(lambda x: layers[1](x, training=True), input_signature=[tf.TensorSpec((None, None, None, 3))])
    for shape in ((2, 8, 12, 3), (2, 5, 3, 3)):
        assert (layers[0](tf.ones(shape), training=True).numpy() == dynamic(tf.ones(shape)).numpy()).all()


def test_drop_block_draws_seeds_of_whole_blocks():
    """The distribution of the number of dropped cells is that of a plain simulation of the published algorithm."""
    height, width, side, rate, maps = 6, 5, 2, 0.3, 4000
    gamma = rate * height * width / side**2 / ((height - side + 1) * (width - side + 1))
    rng, simulated = np.random.default_rng(0), []
    for _ in range(maps):
        one = np.zeros((height, width))
        for i, j in itertools.product(range(height - side + 1), range(width - side + 1)):
            if rng.random() < gamma:
                one[i : i + side, j : j + side] = 1
        simulated.append(int(one.sum()))
    drawn = (draw(tad.members.drop_block(side, rate), (maps, height, width, 1), 5) == 0).sum((1, 2, 3))
    top = max(max(simulated), drawn.max()) + 1
    table = np.array([np.bincount(simulated, minlength=top), np.bincount(drawn, minlength=top)])
    assert scipy.stats.chi2_contingency(table[:, table.sum(0) > 10]).pvalue > LEVEL
    whole = draw(tad.members.drop_block(9, 0.5), (500, 4, 4, 2), 1)
    assert ((whole == 0).all((1, 2)) | (whole == 1).all((1, 2))).all()  # larger than the map: the map
    shared = draw(tad.members.drop_block(2, 0.3, share_c=True), (20, 6, 6, 4), 1)
    assert (shared == shared[..., :1]).all()


@pytest.mark.parametrize(
    ("shape", "side", "agrees"), [((8, 8), 3, True), ((8, 8), 2, True), ((7, 7), 7, True), ((6, 10), 3, False)]
)
def test_drop_block_is_that_of_keras_cv_where_maps_are_square(shape, side, agrees):
    """On others keras-cv bounds the rows of its seeds by the width, and drops more or less than was published."""
    import keras_cv

    maps = 10_000
    theirs = keras_cv.layers.DropBlock2D(0.2, side, seed=1)(tf.ones((maps // 20, *shape, 20)), training=True).numpy()
    dropped = (theirs == 0).sum((0, 3))
    exact = drop_probability(tad.members.drop_block(side, 0.2), shape)
    levels = [scipy.stats.binomtest(int(k), maps, p).pvalue for k, p in zip(dropped.flat, exact.flat, strict=True)]
    assert (min(levels) > LEVEL) == agrees


SCHEDULES = {
    "up": tad.Schedule.ramp_up(8),
    "down": tad.Schedule.ramp_down(8),
    "early": tad.Schedule.early(4),
    "late": tad.Schedule.late(4),
}
QUICK = (
    *itertools.product(("text", "maps"), (False,), (False,), SCHEDULES),
    ("maps", True, True, "up"),
)


@pytest.mark.parametrize(
    ("pattern", "mutable", "jit_compile", "name"),
    [
        pytest.param(
            {"text": tad.members.dropout(0.5), "maps": tad.members.spatial_dropout(0.5)}[case[0]],
            *case[1:],
            id="-".join(map(str, case)),
            marks=[pytest.mark.slow] * (case not in QUICK),
        )
        for case in itertools.product(("text", "maps"), (False, True), (False, True), SCHEDULES)
    ],
)
def test_a_schedule_gives_the_rate_of_each_step_without_a_new_trace(pattern, mutable, jit_compile, name):
    schedule, traces = SCHEDULES[name], []
    layer = tad.PatternDropout(pattern, seed=1, mutable=mutable, schedule=schedule)
    x = tf.ones((400, 1, 1, 16) if isinstance(pattern, tad.ConvPattern) else (400, 1, 16))

    @tf.function(jit_compile=jit_compile)
    def step(x):
        traces.append(1)
        return layer(x, training=True)

    for number in range(10):
        dropped = int((step(x).numpy() == 0).sum())
        level = scipy.stats.binomtest(dropped, 6400, 0.5 * schedule(number)).pvalue
        assert level > LEVEL, (number, dropped)
    assert len(traces) == 1


def test_a_schedule_goes_on_after_saving(tmp_path):
    import keras

    layer = tad.PatternDropout(tad.members.dropout(0.9), seed=1, schedule=tad.Schedule.late(3))
    model = keras.Sequential([keras.Input((50,)), layer])
    for _ in range(2):
        assert (model(tf.ones((4, 50)), training=True).numpy() == 1).all()
    model.save(tmp_path / "model.keras")
    again = tad.load_model(tmp_path / "model.keras")
    assert again.layers[0].schedule == tad.Schedule.late(3)
    assert (again(tf.ones((4, 50)), training=True).numpy() == 1).all()  # step 2
    assert (again(tf.ones((4, 50)), training=True).numpy() == 0).any()  # step 3


@pytest.mark.parametrize(
    "shape", [(400, 20), (200, 10, 8), (50, 9, 12, 8), (20, 4, 6, 6, 8), (50, 2, 2, 16), (90, 1, 1, 16)]
)
@pytest.mark.parametrize("strength", [0.05, 0.1, 0.3])
def test_a_number_is_the_share_that_is_dropped(shape, strength):
    layer = tad.PatternDropout(strength, seed=2)
    shares = [(layer(tf.ones(shape), training=True).numpy() == 0).mean() for _ in range(8)]
    assert np.mean(shares) == pytest.approx(strength, rel=0.2)
    if len(shape) > 3:
        assert drop_probability(layer.pattern, shape[1:-1]).mean() == pytest.approx(strength, rel=1e-6)


@pytest.mark.parametrize("mutable", [False, True])
def test_before_a_softmax_what_is_dropped_gets_nothing_and_the_rest_its_share(mutable):
    layer = tad.PatternDropout(tad.members.drop_key(0.5), seed=1, token_axis=3, before_softmax=True, mutable=mutable)
    scores = tf.constant(np.random.default_rng(0).normal(size=(8, 2, 5, 6)), tf.float32)
    plain = tf.nn.softmax(scores).numpy()
    after = tf.nn.softmax(layer(scores, training=True)).numpy()
    assert after.sum(-1) == pytest.approx(1, abs=1e-5)
    kept = after > 0
    some = kept.any(-1) & ~kept.all(-1)
    assert 0.4 < 1 - kept[some].mean() < 0.6
    shares = np.where(kept, plain, 0)
    assert after == pytest.approx(shares / shares.sum(-1, keepdims=True), abs=2e-3)


@pytest.mark.parametrize("mutable", [False, True])
def test_a_store_of_version_0_1_with_the_seed_as_its_first_weight_loads(mutable):
    layer = tad.PatternDropout(tad.members.dropout(0.5), seed=1, mutable=mutable)
    store = {}
    layer.save_own_variables(store)
    store.pop("seed_state")
    old = {str(int(name) + 1) if name.isdigit() else name: value for name, value in store.items()}
    layer.load_own_variables(old | {"0": np.array([7, 3], np.int32)})
    assert layer.seed_state.numpy().tolist() == [7, 3]


def test_a_pattern_in_variables_on_maps_of_one_axis_in_a_graph():
    pattern, x = tad.ConvPattern(size=2, repeat=2, stride=1), tf.ones((8, 10, 4))
    layer = tad.PatternDropout(tad.ConvPattern(), seed=1, mutable=True)
    layer(x)
    layer.assign(pattern)
    drawn = tf.function(lambda x: layer(x, training=True))(x)
    np.testing.assert_array_equal(drawn, tad.PatternDropout(pattern, seed=1)(x, training=True))
