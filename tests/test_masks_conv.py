"""Masks of a ConvPattern against the slow reference, and their distribution.

Statistical tests use fixed seeds; their level is the chance that a correct implementation would have failed when the
seed was chosen.
"""

import collections
import contextlib
import functools
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
SHAPES = [(1, 1), (1, 6), (5, 1), (2, 2), (3, 3), (4, 4), (5, 8), (7, 7), (8, 8), (9, 4), (11, 13), (12, 10), (33, 17)]


def draw(pattern, shape, seed, data_format="channels_last"):
    """The mask as NumPy, broadcast to `shape`."""
    mask = tad.keep_mask(pattern, shape, seed, data_format)
    assert mask.dtype == tf.float32
    assert len(mask.shape) == 4
    return np.broadcast_to(mask.numpy(), shape)


@functools.cache
def legal_masks_and_drops(pattern, height, width):
    """Counter of the masks, as bytes, over every legal offset, and how often each cell is dropped: (H, W)."""
    masks = np.array(list(reference.all_conv_masks(pattern, height, width).values()), np.uint8)
    return collections.Counter(mask.tobytes() for mask in masks), (1 - masks).sum(0, dtype=np.int64)


def legal_masks(pattern, height, width):
    return legal_masks_and_drops(pattern, height, width)[0]


def drawn_masks(mask):
    """List of (H, W) masks as bytes, one per example and channel, of an (N, H, W, C) mask."""
    assert set(np.unique(mask)) <= {0, 1}
    maps = mask.transpose(0, 3, 1, 2).astype(np.uint8)
    return [one.tobytes() for example in maps for one in example]


def chi_square_level(counts, expected):
    """p-value of `counts` against `expected` (both by key), with the rare keys pooled."""
    assert counts.keys() <= expected.keys()
    assert min(expected.values()) >= 5
    keys = list(expected)
    return scipy.stats.chisquare([counts.get(key, 0) for key in keys], [expected[key] for key in keys]).pvalue


def random_case(index):
    rng = np.random.default_rng(index)
    height, width = SHAPES[index % len(SHAPES)]
    sides = rng.integers(1, 5, 2).tolist()
    straight = index % 4 == 0
    pattern = tad.ConvPattern(
        size=sides[0] if rng.random() < 0.5 else sides,
        stride=int(rng.integers(0, 4)),
        repeat=int(rng.integers(1, 4)),
        rotate=float(rng.choice([0, 90, 180, -90])) if straight else float(rng.uniform(-180, 180)),
        shear_x=0.0 if straight or rng.random() < 0.4 else float(rng.uniform(-1, 1)),
        shear_y=0.0 if straight or rng.random() < 0.4 else float(rng.uniform(-1, 1)),
        share_c=bool(rng.random() < 0.3),
    )
    return pattern, height, width


CASES = [random_case(index) for index in range(60)]
CASES += [
    (tad.ConvPattern(size=2, shear_x=1.0), 6, 6),
    (tad.ConvPattern(size=2, shear_y=-2.0, repeat=2, stride=1), 7, 5),
    (tad.ConvPattern(size=1, shear_x=0.5), 9, 9),  # ties at every second row
    (tad.ConvPattern(size=3, shear_x=1.0, shear_y=-1.0), 9, 9),
    (tad.ConvPattern(size=(1, 4), rotate=45), 9, 9),
    (tad.ConvPattern(size=2, rotate=450), 5, 8),
    (tad.ConvPattern(size=40), 9, 7),
    (tad.ConvPattern(size=(40, 1)), 9, 7),
    (tad.ConvPattern(size=40, rotate=20, shear_x=0.3), 9, 7),
    (tad.ConvPattern(size=8, stride=1, repeat=2), 8, 8),
    (tad.ConvPattern(size=2, stride=30, repeat=3), 5, 5),
]


def case_name(case):
    pattern, height, width = case
    turned = pattern.rotate % 90 or pattern.shear_x or pattern.shear_y
    return f"{height}x{width}-{'turned' if turned else 'straight'}"


each_case = pytest.mark.parametrize(("pattern", "height", "width"), CASES, ids=map(case_name, CASES))


@each_case
def test_every_mask_is_one_of_the_definition(pattern, height, width):
    mask = draw(pattern, (3, height, width, 4), seed=0)
    legal = legal_masks(pattern, height, width)
    strangers = [one for one in drawn_masks(mask) if one not in legal]
    assert not strangers, (
        f"{len(strangers)} of 12 masks of {pattern} on {height}x{width} belong to no legal offset, such as\n"
        f"{np.frombuffer(strangers[0], np.uint8).reshape(height, width)}"
    )


@each_case
def test_the_definition_drops_every_cell_equally_often(pattern, height, width):
    # A test of the reference, and through the test above of the ranges that the implementation draws from.
    if reference.covers(pattern, height, width):
        return
    legal, dropped = legal_masks_and_drops(pattern, height, width)
    side_y, side_x = reference.as_pair(pattern.size)
    assert (dropped == pattern.repeat * side_y * pattern.repeat * side_x).all()
    assert reference.conv_drop_probability(pattern, height, width) == pytest.approx(dropped[0, 0] / legal.total())


# At the same offsets, and over all of them


def any_case(index):
    rng = np.random.default_rng(1000 + index)
    height, width = SHAPES[index] if index < len(SHAPES) else (int(rng.integers(1, 34)), int(rng.integers(1, 18)))
    turned = rng.random() < 0.7
    pattern = tad.ConvPattern(
        size=tuple(int(side) for side in rng.integers(1, 9, 2)),
        stride=int(rng.integers(0, 6)),
        repeat=int(rng.integers(1, 5)),
        rotate=float(rng.uniform(-180, 180)) if turned else 0.0,
        shear_x=float(rng.uniform(-1, 1)) if turned and rng.random() < 0.5 else 0.0,
        shear_y=float(rng.uniform(-1, 1)) if turned and rng.random() < 0.5 else 0.0,
        share_c=bool(rng.random() < 0.3),
        rate=float(rng.choice([1.0, 0.6])),
    )
    return pattern, height, width


@pytest.mark.parametrize("hundred", range(3))
def test_300_random_patterns_equal_numpy_at_the_same_offsets(hundred):
    for index in range(100 * hundred, 100 * hundred + 100):
        pattern, height, width = any_case(index)
        shape = (2, height, width, 3)
        drawn = np.broadcast_to(tad.keep_mask(pattern, shape, (index, 7)).numpy(), shape)
        for n, c in np.ndindex(2, 3):
            offset = reference.drawn_offset(pattern, height, width, (index, 7), n, c, channels=3)
            wanted = np.ones((height, width)) if offset is None else reference.mask_at(pattern, height, width, offset)
            assert (drawn[n, :, :, c] == wanted).all(), f"{pattern} on {height}x{width} at offset {offset}"


@pytest.mark.parametrize("hundred", range(3))
def test_over_all_offsets_of_300_random_patterns_every_cell_is_dropped_equally_often(hundred):
    for index in range(100 * hundred, 100 * hundred + 100):
        pattern, height, width = any_case(index)
        if reference.covers(pattern, height, width):
            continue
        dropped = reference.drops_over_all_offsets(pattern, height, width)
        side_y, side_x = reference.as_pair(pattern.size)
        assert (dropped == pattern.repeat * side_y * pattern.repeat * side_x).all(), f"{pattern} on {height}x{width}"


@pytest.mark.parametrize("length", [29, 30, 31, 32, 33, 63])
@pytest.mark.parametrize("turn", [{}, {"rotate": 25, "shear_x": 0.3}], ids=["straight", "turned"])
def test_profiles_about_the_length_of_a_word_equal_numpy_at_the_same_offsets(length, turn):
    # A profile of up to 31 cells is a word of bits, a longer one is arithmetic; so is one beside a longer one.
    shape = (2, 33, 40, 3)
    for pattern in (
        tad.ConvPattern(size=length, **turn),
        tad.ConvPattern(size=(3, length), **turn),
        tad.ConvPattern(size=1, stride=length - 2, repeat=2, **turn),
    ):
        drawn = np.broadcast_to(tad.keep_mask(pattern, shape, (length, 8)).numpy(), shape)
        for n, c in np.ndindex(2, 3):
            offset = reference.drawn_offset(pattern, 33, 40, (length, 8), n, c, channels=3)
            assert (drawn[n, :, :, c] == reference.mask_at(pattern, 33, 40, offset)).all(), f"{pattern} at {offset}"


UNIFORM = [
    (tad.ConvPattern(size=1), 2, 3),
    (tad.ConvPattern(size=2, share_c=True), 4, 4),
    (tad.ConvPattern(size=1, stride=1, repeat=2), 1, 4),
    (tad.ConvPattern(size=(1, 3), stride=1, repeat=2), 3, 3),
    (tad.ConvPattern(size=2, rotate=40), 5, 3),
    (tad.ConvPattern(size=2, shear_x=0.6, rotate=200), 3, 5),
    (tad.ConvPattern(size=(2, 9)), 3, 3),
]


@pytest.mark.parametrize("index", range(len(UNIFORM)))
def test_offsets_are_uniform_over_the_legal_ones(index):
    pattern, height, width = UNIFORM[index]
    examples, channels = (20000, 1) if pattern.share_c else (5000, 4)
    mask = draw(pattern, (examples, height, width, channels), seed=100 + index)
    counts = collections.Counter(drawn_masks(mask))
    legal = legal_masks(pattern, height, width)
    expected = {one: 20000 * times / legal.total() for one, times in legal.items()}
    assert chi_square_level(counts, expected) > LEVEL


def test_offsets_are_uniform_over_seeds_too():
    pattern = tad.ConvPattern(size=1)
    function = tf.function(lambda seed: tad.keep_mask(pattern, (1, 2, 2, 1), seed))
    masks = [function(tf.constant([seed, 0])).numpy().astype(np.uint8).tobytes() for seed in range(2000)]
    legal = legal_masks(pattern, 2, 2)
    assert chi_square_level(collections.Counter(masks), {one: 2000 / legal.total() for one in legal}) > LEVEL


@pytest.mark.parametrize("neighbour", ["channel", "example", "seed"])
def test_neighbouring_draws_are_independent(neighbour):
    pattern = tad.ConvPattern(size=1)  # on 2x2 four masks, all as likely
    if neighbour == "channel":
        mask = draw(pattern, (10000, 2, 2, 2), seed=1)
        first, second = mask[..., :1], mask[..., 1:]
    elif neighbour == "example":
        mask = draw(pattern, (20000, 2, 2, 1), seed=2)
        first, second = mask[::2], mask[1::2]
    else:
        first, second = (draw(pattern, (10000, 2, 2, 1), seed) for seed in (3, 4))
    legal = legal_masks(pattern, 2, 2)
    pairs = collections.Counter(zip(drawn_masks(first), drawn_masks(second), strict=True))
    expected = {pair: 10000 / legal.total() ** 2 for pair in itertools.product(legal, legal)}
    assert chi_square_level(pairs, expected) > LEVEL


def test_a_tiny_case_by_hand():
    # One row, runs at distance 2. The rows' profile 1 0 1 meets the only row from 2 of 3 offsets; else nothing drops.
    pattern = tad.ConvPattern(size=1, stride=1, repeat=2)
    mask = draw(pattern, (9000, 1, 4, 1), seed=5)
    counts = collections.Counter("".join(str(int(cell)) for cell in one.ravel()) for one in mask)
    expected = {key: 9000 / 9 for key in ("0111", "1011", "0101", "1010", "1101", "1110")} | {"1111": 9000 / 3}
    assert chi_square_level(counts, expected) > LEVEL


def slope(mask):
    """Mean product of centred row and column over the dropped cells: > 0 falls to the right, < 0 rises."""
    rows, columns = np.nonzero(1 - mask)
    return ((rows - rows.mean()) * (columns - columns.mean())).mean()


@pytest.mark.parametrize(
    ("pattern", "sign"),
    [
        (tad.ConvPattern(size=(1, 9), rotate=45), -1),  # a level bar turned counter-clockwise rises to the right
        (tad.ConvPattern(size=(1, 9), rotate=-45), 1),
        (tad.ConvPattern(size=(9, 1), rotate=45), 1),
        (tad.ConvPattern(size=(1, 9), rotate=30), -1),
        (tad.ConvPattern(size=(9, 1), shear_x=1.0), 1),  # columns grow as rows run down
        (tad.ConvPattern(size=(1, 9), shear_y=1.0), 1),
        (tad.ConvPattern(size=(9, 1), shear_x=-0.7), -1),
        (tad.ConvPattern(size=(1, 9), shear_y=1.0, rotate=80), -1),  # sheared first, then rotated
    ],
)
def test_rotation_and_shear_turn_the_right_way(pattern, sign):
    masks = draw(pattern, (200, 15, 15, 1), seed=6)[..., 0]
    slopes = [slope(mask) for mask in masks if (1 - mask).sum() >= 5]
    assert len(slopes) > 10
    assert np.sign(np.median(slopes)) == sign


def test_height_is_rows_and_width_is_columns():
    mask = draw(tad.ConvPattern(size=(2, 5)), (200, 12, 12, 1), seed=7)[..., 0]
    assert (1 - mask).max(2).sum(1).max() == 2
    assert (1 - mask).max(1).sum(1).max() == 5


@pytest.mark.parametrize("rotate", [0, 30])
def test_share_c(rotate):
    shape = (6, 9, 9, 5)
    shared = draw(tad.ConvPattern(size=3, rotate=rotate, share_c=True), shape, seed=8)
    assert (shared == shared[..., :1]).all()
    assert any((shared[0] != shared[n]).any() for n in range(1, 6))  # not across examples
    own = draw(tad.ConvPattern(size=3, rotate=rotate), shape, seed=8)
    assert all((own[n] != own[n, ..., :1]).any() for n in range(6))


def binomial_level(count, total, probability):
    return scipy.stats.binomtest(int(count), int(total), probability).pvalue


@pytest.mark.parametrize("size", [8, (8, 9), 100])
def test_spatial_dropout_is_a_member(size):
    mask = draw(tad.ConvPattern(size=size, rate=0.3), (500, 8, 8, 20), seed=9)
    channels = mask.mean((1, 2))
    assert set(np.unique(channels)) == {0.0, 1.0}
    assert binomial_level((channels == 0).sum(), channels.size, 0.3) > LEVEL
    both = (channels[:, :-1] == 0) & (channels[:, 1:] == 0)
    assert binomial_level(both[:, ::2].sum(), both[:, ::2].size, 0.09) > LEVEL  # neighbours are independent


def test_drop_path_is_a_member():
    mask = draw(tad.ConvPattern(size=8, rate=0.3, share_c=True), (4000, 8, 7, 3), seed=10)
    examples = mask.mean((1, 2, 3))
    assert set(np.unique(examples)) == {0.0, 1.0}
    assert binomial_level((examples == 0).sum(), examples.size, 0.3) > LEVEL


def test_a_size_that_covers_one_axis_only_is_drawn_like_any_other():
    mask = draw(tad.ConvPattern(size=(20, 1)), (300, 5, 5, 1), seed=11)[..., 0]
    assert (mask == mask[:, :1]).mean() < 1  # a row profile that ends inside the map is among them
    assert {one.tobytes() for one in mask.astype(np.uint8)} <= legal_masks(tad.ConvPattern(size=(20, 1)), 5, 5).keys()


def test_rate_is_the_probability_that_a_pattern_is_applied():
    pattern = tad.ConvPattern(size=2, rate=0.6)
    mask = draw(pattern, (4000, 3, 3, 5), seed=12)
    legal = legal_masks(pattern, 3, 3)
    expected = {one: 20000 * 0.6 * times / legal.total() for one, times in legal.items()}
    expected[np.ones(9, np.uint8).tobytes()] = 20000 * 0.4
    assert chi_square_level(collections.Counter(drawn_masks(mask)), expected) > LEVEL


@pytest.mark.parametrize(
    "pattern",
    [
        tad.ConvPattern(),
        tad.ConvPattern(size=0, stride=3, repeat=2, rotate=30, share_c=True),
        tad.ConvPattern(size=3, rate=0),
        tad.ConvPattern(size=100, rate=0, share_c=True),
    ],
)
def test_the_identity_keeps_everything(pattern):
    for shape in [(4, 8, 8, 3), (2, 1, 1, 1)]:
        assert (draw(pattern, shape, seed=13) == 1).all()


@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 2**40])
def test_a_huge_size_covers_the_map_or_is_refused(size):
    pattern = None
    with contextlib.suppress(ValueError):
        pattern = tad.ConvPattern(size=size)
    assert pattern is None or (draw(pattern, (2, 4, 4, 3), seed=14) == 0).all()


@pytest.mark.parametrize(
    ("size", "stride", "repeat"), [(3, 2**28, 3), (2**26, 3, 5), (2, 1, 2**23), (5, 4, 10**7), (1, 1, 2**28)]
)
def test_profiles_far_longer_than_the_map_are_exact(size, stride, repeat):
    pattern, side = tad.ConvPattern(size=size, stride=stride, repeat=repeat), 40
    length = repeat * size + (repeat - 1) * stride
    mask = draw(pattern, (50, side, side, 1), seed=(3, 9))[..., 0]
    key = reference.derived((3, 9), 2)
    for n in range(50):
        held = []
        for axis in (1, 2):
            offset = (reference.mixed(*reference.derived(key, axis), n) >> 1) % (side + length - 1) - length + 1
            held.append([0 <= i - offset < length and (i - offset) % (size + stride) < size for i in range(side)])
        assert (mask[n] == 1 - np.outer(*held)).all()


def test_a_stride_beyond_the_map_leaves_one_run():
    pattern = tad.ConvPattern(size=1, stride=2**20, repeat=4)
    mask = draw(pattern, (50, 4, 4, 3), seed=14)
    assert ((1 - mask).sum((1, 2)) <= 1).all()


@pytest.mark.parametrize(
    "pattern",
    [
        tad.ConvPattern(size=3, stride=1, repeat=2),
        tad.ConvPattern(size=(2, 5), rotate=30, shear_x=0.3, rate=0.5),
        tad.ConvPattern(size=3, rotate=-70, share_c=True),
        tad.ConvPattern(size=20, rate=0.5),
    ],
)
def test_channels_first_is_the_transpose_of_channels_last(pattern):
    last = draw(pattern, (4, 9, 6, 5), 15)
    first = draw(pattern, (4, 5, 9, 6), 15, "channels_first")
    assert (first == last.transpose(0, 3, 1, 2)).all()


# Seeds


def test_a_seed_fixes_the_mask():
    pattern, shape = tad.ConvPattern(size=3, rotate=10), (4, 9, 9, 4)
    for seed in (0, 1, -1, 2**31, 2**40 + 1, (0, 1), (2**32 - 1, -5), np.array([3, 4])):
        assert (draw(pattern, shape, seed) == draw(pattern, shape, seed)).all()


def test_other_seeds_give_other_masks():
    pattern, shape = tad.ConvPattern(size=3, rotate=10), (4, 9, 9, 4)
    seeds = [0, 1, 2, -1, 2**31, 2**32, 2**40, (0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({draw(pattern, shape, seed).tobytes() for seed in seeds}) == len(seeds)


def test_two_words_may_come_in_any_container():
    pattern, shape = tad.ConvPattern(size=3), (4, 9, 9, 4)
    wanted = draw(pattern, shape, (5, -7))
    for seed in ([5, -7], np.array([5, -7]), np.array([5, -7], np.int32), tf.constant([5, -7]), tf.Variable([5, -7])):
        assert (draw(pattern, shape, seed) == wanted).all()


def test_numpy_integers_are_seeds_like_python_integers():
    pattern, shape = tad.ConvPattern(size=3), (4, 9, 9, 4)
    assert (draw(pattern, shape, np.int64(5)) == draw(pattern, shape, 5)).all()


@pytest.mark.parametrize("seed", [None, True, 1.0, 1.5, "1", "12", (1,), (1, 2, 3), (1.5, 2.5), "ab", (None, 1), {}])
def test_a_seed_is_an_integer_or_two(seed):
    with pytest.raises(ValueError, match=r"^Invalid value for 'seed'\. Expected an int or two ints\. Received: seed="):
        tad.keep_mask(tad.ConvPattern(size=3), (1, 4, 4, 1), seed)


# Arguments


@pytest.mark.parametrize("shape", [(4,), (4, 4), (1, 4, 4, 1, 1, 1)])
def test_rank_is_checked(shape):
    with pytest.raises(ValueError, match=rf"ConvPattern needs a tensor \(N, T, C\), \(N, H.+rank {len(shape)}"):
        tad.keep_mask(tad.ConvPattern(size=1), shape, 0)


@pytest.mark.parametrize("data_format", ["NHWC", None, "channels"])
def test_data_format_is_checked(data_format):
    with pytest.raises(ValueError, match=r"^Invalid value for 'data_format'\. Expected .+\. Received: data_format="):
        tad.keep_mask(tad.ConvPattern(size=1), (1, 4, 4, 1), 0, data_format)


@pytest.mark.parametrize("pattern", [None, {"size": 3}, tad.ConvPattern])
def test_pattern_is_checked(pattern):
    with pytest.raises(TypeError, match=r"Expected 'pattern' to be a .+\. Received: "):
        tad.keep_mask(pattern, (1, 4, 4, 1), 0)


# Graphs, XLA, dynamic shapes, variables

EXCHANGED = [
    tad.ConvPattern(size=2),
    tad.ConvPattern(size=2, share_c=True),
    tad.ConvPattern(),
    tad.ConvPattern(size=(2, 3), stride=1, repeat=2),
    tad.ConvPattern(size=3, rotate=33, shear_x=0.4, shear_y=-0.2),
    tad.ConvPattern(size=3, rotate=33, share_c=True, rate=0.5),
    tad.ConvPattern(size=50, rate=0.5),
    tad.ConvPattern(size=50, rate=0.5, share_c=True),
    tad.ConvPattern(size=2, rate=0.0),
    tad.ConvPattern(size=1, rotate=90, repeat=3, stride=2),
    tad.ConvPattern(size=2, stride=30, repeat=2, rotate=33),
    tad.ConvPattern(size=(1, 7), stride=9, repeat=2, rotate=-10, shear_y=0.2, share_c=True),
]


@pytest.mark.parametrize("index", [0, 1, 3, 4, 5, 7])
def test_xla_and_graph_equal_eager(index):
    pattern, shape = EXCHANGED[index], (3, 8, 11, 4)
    wanted = draw(pattern, shape, (1, 2))
    for jit_compile in (False, True):
        function = tf.function(lambda seed: tad.keep_mask(pattern, shape, seed), jit_compile=jit_compile)
        assert (np.broadcast_to(function(tf.constant([1, 2])), shape) == wanted).all()


@pytest.mark.parametrize("index", range(len(EXCHANGED)))
def test_dynamic_shapes_equal_static_ones(index):
    pattern = EXCHANGED[index]

    @tf.function(input_signature=[tf.TensorSpec([None] * 4)])
    def dynamic(x):
        assert x.shape.as_list() == [None] * 4
        return tad.keep_mask(pattern, tuple(tf.unstack(tf.shape(x), 4)), (3, 4))

    for shape in [(3, 8, 11, 4), (1, 5, 5, 2)]:
        assert (np.broadcast_to(dynamic(tf.zeros(shape)), shape) == draw(pattern, shape, (3, 4))).all()


def test_a_dynamic_batch_alone():
    pattern = EXCHANGED[4]

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 11, 4])])
    def dynamic(x):
        return tad.keep_mask(pattern, (tf.shape(x)[0], 8, 11, 4), 5)

    assert (dynamic(tf.zeros((3, 8, 11, 4))).numpy() == draw(pattern, (3, 8, 11, 4), 5)).all()


@pytest.mark.parametrize("data_format", ["channels_last", pytest.param("channels_first", marks=pytest.mark.slow)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_patterns_in_a_variable_equal_constants_without_a_new_trace(jit_compile, data_format):
    shape = (3, 8, 11, 4) if data_format == "channels_last" else (3, 4, 8, 11)
    variable = tf.Variable(encode_vector(tad.ConvPattern()))
    traces = []

    @tf.function(jit_compile=jit_compile)
    def exchanged(seed):
        traces.append(1)
        return draw_mask(unpack(tad.ConvPattern, variable)[0], shape, seed, data_format, 1)

    wrong = []
    for pattern in EXCHANGED:
        variable.assign(encode_vector(pattern))
        mask = np.broadcast_to(exchanged(tf.constant([6, 7])), shape)
        if (mask != draw(pattern, shape, (6, 7), data_format)).any():
            wrong.append(pattern)
    assert len(traces) == 1
    assert not wrong
