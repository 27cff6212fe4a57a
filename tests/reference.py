"""A slow, obvious NumPy version of the mask definitions, written from the design page and nothing else."""

import functools
import itertools
import math

import numpy as np


def profile(size, stride, repeat):
    """0/1 list of length L = repeat*size + (repeat-1)*stride; 1 = a cell the pattern drops."""
    cells = []
    for run in range(repeat):
        if run:
            cells += [0] * stride
        cells += [1] * size
    assert len(cells) == repeat * size + (repeat - 1) * stride
    return cells


def as_pair(size):
    return (size, size) if isinstance(size, (int, np.integer)) else tuple(size)


def matrix(pattern):
    """2x2 matrix from pattern (x, y) to image (x'', y''): shear, then rotate counter-clockwise as seen on screen."""
    cos, sin = math.cos(math.radians(pattern.rotate)), math.sin(math.radians(pattern.rotate))
    shear = np.array([[1.0, pattern.shear_x], [pattern.shear_y, 1.0]])
    rotate = np.array([[cos, sin], [-sin, cos]])
    return rotate @ shear


def real_coordinates(pattern, height, width):
    """Unrounded pattern coordinates (row, column) of every cell, each (H, W)."""
    inverse = np.linalg.inv(matrix(pattern))
    rows, columns = np.zeros((height, width)), np.zeros((height, width))
    for i, j in itertools.product(range(height), range(width)):
        columns[i, j], rows[i, j] = inverse @ np.array([j - (width - 1) / 2, i - (height - 1) / 2])
    return rows, columns


def nearest(values):
    """Nearest integers; a tie goes up, so that neighbouring half-integers stay neighbours."""
    return np.floor(np.round(values, 9) + 0.5).astype(np.int64)


@functools.cache
def coordinates(pattern, height, width):
    """Pattern coordinates (u, v) of every cell, integers, each (H, W)."""
    rows, columns = real_coordinates(pattern, height, width)
    return nearest(rows), nearest(columns)


def covers(pattern, height, width):
    """True where one run of the pattern covers the whole map: then the offset is fixed, and all is dropped."""
    u, v = coordinates(pattern, height, width)
    size_y, size_x = as_pair(pattern.size)
    return size_y >= u.max() - u.min() + 1 and size_x >= v.max() - v.min() + 1


def legal_offsets(pattern, height, width):
    """The inclusive ranges ((low, high) of o_y, (low, high) of o_x)."""
    u, v = coordinates(pattern, height, width)
    size_y, size_x = as_pair(pattern.size)
    length_y = len(profile(size_y, pattern.stride, pattern.repeat))
    length_x = len(profile(size_x, pattern.stride, pattern.repeat))
    return (int(u.min()) - length_y + 1, int(u.max())), (int(v.min()) - length_x + 1, int(v.max()))


def conv_mask(pattern, height, width, offset):
    """(H, W) mask, 1 = keep, of one drawn pattern at offset (o_y, o_x)."""
    u, v = coordinates(pattern, height, width)
    size_y, size_x = as_pair(pattern.size)
    rows = np.flatnonzero(profile(size_y, pattern.stride, pattern.repeat))  # the positions a profile drops
    columns = np.flatnonzero(profile(size_x, pattern.stride, pattern.repeat))
    offset_y, offset_x = offset
    dropped = np.isin(u - offset_y, rows) & np.isin(v - offset_x, columns)
    return np.where(dropped, 0, 1)


def all_conv_masks(pattern, height, width):
    """{(o_y, o_x): (H, W) mask} over every legal offset."""
    if covers(pattern, height, width):
        return {None: np.zeros((height, width), np.int64)}
    (low_y, high_y), (low_x, high_x) = legal_offsets(pattern, height, width)
    offsets = itertools.product(range(low_y, high_y + 1), range(low_x, high_x + 1))
    return {offset: conv_mask(pattern, height, width, offset) for offset in offsets}


def conv_drop_probability(pattern, height, width):
    """P(a cell is dropped) at rate 1, as the design page states it."""
    (low_y, high_y), (low_x, high_x) = legal_offsets(pattern, height, width)
    size_y, size_x = as_pair(pattern.size)
    ranges = (high_y - low_y + 1) * (high_x - low_x + 1)
    return (pattern.repeat * size_y) * (pattern.repeat * size_x) / ranges


def blocks(pattern, tokens, phase):
    """For each token the number of the block that affects it, or None where the token is untouched.

    The first block begins `phase` tokens before the sequence.
    """
    numbers = [None] * tokens
    token, block = -phase, 0
    while token < tokens and pattern.size > 0:
        for k in range(max(token, 0), min(token + pattern.size, tokens)):
            numbers[k] = block
        token += pattern.size + pattern.stride
        block += 1
    return numbers


def legal_phases(pattern, tokens):
    return range(1) if pattern.size >= tokens else range(pattern.size + pattern.stride)


def transformer_mask(pattern, tokens, features, phase, drops):
    """(T, C) mask. drops[d][c] are the Bernoulli draws: d a block number if share_t, else a token; c 0 if share_c."""
    mask = np.ones((tokens, features), np.int64)
    for token, block in enumerate(blocks(pattern, tokens, phase)):
        if block is None:
            continue
        for feature in range(features):
            if drops[block if pattern.share_t else token][0 if pattern.share_c else feature]:
                mask[token, feature] = 0
    return mask


# The offsets of a drawn mask: the random bits once more, in plain Python integers


def mixed(first, second, counter):
    """32 random bits of a key (first, second) and a counter."""
    x = (counter + first) % 2**32
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x ^= second
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def derived(key, number):
    """The key derived from `key` and a number."""
    first = mixed(*key, number)
    return first, mixed(key[1], first, (number + 0x9E3779B9) % 2**32)


def drawn_offset(pattern, height, width, seed, example, channel, channels):
    """(o_y, o_x) of one map, "all" where the pattern covers it, None where it is not applied."""
    key = derived(seed, 2)
    index = example if pattern.share_c else example * channels + channel
    threshold = round(pattern.rate * 2**24)
    if (mixed(*derived(key, 3), index) >> 8) >= threshold:
        return None
    if covers(pattern, height, width):
        return "all"
    return tuple(
        low + (mixed(*derived(key, axis), index) >> 1) % (high - low + 1)
        for axis, (low, high) in enumerate(legal_offsets(pattern, height, width), start=1)
    )


def mask_at(pattern, height, width, offset):
    return np.zeros((height, width)) if offset == "all" else conv_mask(pattern, height, width, offset)


def drops_over_all_offsets(pattern, height, width):
    """(H, W) counts: at how many legal offsets each cell is dropped."""
    u, v = coordinates(pattern, height, width)
    side_y, side_x = as_pair(pattern.size)
    (low_y, high_y), (low_x, high_x) = legal_offsets(pattern, height, width)
    rows, columns = (np.flatnonzero(profile(s, pattern.stride, pattern.repeat)) for s in (side_y, side_x))
    # The two offsets are independent of each other: count each, and multiply.
    at_rows = sum(np.isin(u - offset, rows).astype(np.int64) for offset in range(low_y, high_y + 1))
    at_columns = sum(np.isin(v - offset, columns).astype(np.int64) for offset in range(low_x, high_x + 1))
    return at_rows * at_columns


def drawn_transformer_mask(pattern, tokens, features, seed, example):
    """(T, C) mask of one example, 1 = keep."""
    key = derived(seed, 2)
    period = max(pattern.size + pattern.stride, 1)
    phase = 0 if pattern.size >= tokens else (mixed(*derived(key, 1), example) >> 1) % period
    own, first, threshold = derived(key, 2), example * tokens * features, round(pattern.rate * 2**24)

    def is_dropped(draw, feature):
        counter = (draw * features + first + (0 if pattern.share_c else feature)) % 2**32
        return (mixed(*own, counter) >> 8) < threshold

    mask = np.ones((tokens, features), np.int64)
    for token, feature in itertools.product(range(tokens), range(features)):
        block, place = divmod(token + phase, period)
        if place < pattern.size and is_dropped(block if pattern.share_t else token, feature):
            mask[token, feature] = 0
    return mask
