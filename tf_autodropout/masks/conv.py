"""What a `ConvPattern` drops on maps, by integer coordinate arithmetic."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_autodropout.masks.backend import DType, Tensor, xp
from tf_autodropout.masks.conv_values import GEOMETRY_BITS, IDENTITY, ConvValues, encode_conv
from tf_autodropout.masks.division import divided
from tf_autodropout.masks.drop import Draws, Drop, once, ratio_of, times
from tf_autodropout.masks.hashing import Words, fold_in, is_drawn, key_of, positive, random_bits
from tf_autodropout.masks.layout import MapLayout
from tf_autodropout.masks.profile import FAR, Profile, dropped_before, in_word
from tf_autodropout.masks.values import is_constant
from tf_autodropout.patterns import ConvPattern

_ONE = 1 << GEOMETRY_BITS
_AXIS_KEYS = (4, 1, 2)  # of depth, height and width; a map of one axis has the key of the height
_RATE_KEY = 3
_CHANNELS = [2 * 4**power for power in range(2, 16)]  # channels are drawn by so many: few functions serve all layers


def conv_draws(values: ConvValues, shape: tuple[Any, ...], words: Words, data_format: str, dtype: DType) -> Draws:
    """Draws the offsets of one mask.

    Args:
        values: The pattern, constants or scalar tensors.
        shape: Shape of the tensor in the order of `data_format`; ints or scalar tensors.
        words: Seed and replica, as `key_of` takes them.
        data_format: `"channels_last"` or `"channels_first"`.
        dtype: Of the ratio.

    Returns:
        The shifts `o - (min - L + 1)`, int32 (axes, N, C or 1 and more), not negative, and the
        ratio of Eq. 1 if nothing is turned.
        With `share_c` as a tensor there are C for each example, all alike if it is 1.
    """
    layout = MapLayout.of(shape, data_format)
    profiles = _profiles(values, len(layout.sizes))
    columns = [
        (key, profile.size, profile.length, profile.run, profile.period, span, size)
        for key, profile, (_, span), size in zip(
            _keys(profiles), profiles, _geometry(values, layout.sizes), layout.sizes, strict=True
        )
    ]
    shared = is_constant(values.share_c) and values.share_c
    c = 1 if shared else layout.c
    padded = c
    if is_constant(c) and c > 1 and xp.COMPILES_PARTS:
        padded = next(size for size in _CHANNELS if size >= c)
    grouped = not is_constant(values.share_c)
    groups = xp.where(xp.cast(values.share_c, xp.bool), c, 1) if grouped else 1
    draw = _drawer(dtype, all(profile.single for profile in profiles), grouped)
    drawn = xp.fused(draw, (None, padded if is_constant(padded) else None))
    shifts, ratio = drawn(
        _range(layout.n), _range(padded), _pack(*zip(*columns, strict=True)), _pack(c, values.rate, groups), *words
    )
    return Draws((shifts,), ratio)


def conv_drop(values: ConvValues, shape: tuple[Any, ...], drawn: tuple[Tensor, ...], data_format: str) -> Drop:
    """Returns what a mask with these shifts drops; it broadcasts to `shape`. See `conv_draws`."""
    (shifts,) = drawn
    layout = MapLayout.of(shape, data_format)
    profiles = _profiles(values, len(layout.sizes))
    geometry = _geometry(values, layout.sizes)
    shared = is_constant(values.share_c) and values.share_c
    c = 1 if shared else layout.c
    placed_by = xp.unstack(shifts if shifts.shape[2] == c else shifts[:, :, :c], len(profiles))
    held = []
    for axis, (profile, (base, _), shift) in enumerate(zip(profiles, geometry, placed_by, strict=True)):
        base = (base if is_constant(profile.length) else xp.convert_to_tensor(base)) + (profile.length - 1)
        placed = layout.on_plane(base) if len(base.shape) == 2 else layout.on_axis(base, axis)
        held.append(profile.holds(placed, layout.per_map(shift)))
    if len(held) == 1:  # which cannot be turned
        factors = tuple(held)
    elif is_straight(values):
        factors = tuple(map(once, held))
    else:
        *deep, rows, columns = held
        factors = (*deep, xp.logical_and(rows, columns))
    return Drop(factors, times(layout.n, *layout.sizes, 1 if shared else layout.c))


def straight_factors(
    values: ConvValues, shape: tuple[Any, ...], drawn: tuple[Tensor, ...], data_format: str
) -> tuple[Tensor, ...]:
    """Returns the factors of `conv_drop` by few operations, for all axes at once; nothing where that cannot be."""
    layout = MapLayout.of(shape, data_format)
    profiles = _profiles(values, len(layout.sizes))
    bits = any(not profile.single for profile in profiles)
    known = all(map(is_constant, (*layout.sizes, layout.c, *values[:-1])))
    if not known or not is_straight(values) or (bits and any(profile.word == 0 for profile in profiles)):
        return ()
    (shifts,) = drawn
    c = 1 if values.share_c else layout.c
    last = data_format == "channels_last"
    longest, axes = max(layout.sizes), len(layout.sizes)
    per_axis = (axes, 1, 1, 1)
    cells = np.arange(longest, dtype=np.int32).reshape((-1, 1) if last else (1, -1))
    base = cells + np.array([profile.length - 1 for profile in profiles], np.int32).reshape(per_axis)
    shifts = shifts if shifts.shape[2] == c else shifts[:, :, :c]
    place = xp.unsigned(xp.convert_to_tensor(base) - xp.expand_dims(shifts, 2 if last else 3))  # see `Profile.holds`
    if bits:
        word = np.array([profile.word for profile in profiles], np.uint32).reshape(per_axis)
        held = in_word(place, xp.word(word))
    else:
        length = np.array([profile.length for profile in profiles], np.uint32).reshape(per_axis)
        held = place < xp.word(length)
    factors = []
    for axis, (factor, size) in enumerate(zip(xp.unstack(held), layout.sizes, strict=True)):
        there = factor if size == longest else factor[:, :size] if last else factor[:, :, :size]
        factors.append(xp.reshape(there, layout.along(axis, c)) if axes > 1 else there)
    return tuple(factors)


def conv_probability(pattern: ConvPattern, sizes: tuple[int, ...]) -> float:
    """Returns how likely a cell is to be dropped: the dropped cells of the pattern over its offsets, all as likely."""
    sides, strides = pattern.sizes(len(sizes)), pattern.strides(len(sizes))
    # For each axis of the pattern, the largest less the least coordinate of a cell of the map.
    reach = [span for _, span in _geometry(encode_conv(pattern, len(sizes)), sizes)]
    if all(int(side) > span for side, span in zip(sides, reach, strict=True)):
        return pattern.rate
    chance = pattern.rate
    for side, stride, span in zip(sides, strides, reach, strict=True):
        length = pattern.repeat * int(side) + (pattern.repeat - 1) * int(stride)
        chance *= pattern.repeat * int(side) / (span + length)
    return chance


def is_straight(values: ConvValues) -> bool:
    """True where rotation and shear are known to be none."""
    return all(map(is_constant, values.matrix)) and values.matrix == IDENTITY


@functools.lru_cache
def _drawer(dtype: DType, single: bool, grouped: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    """`_draw` for a dtype, for patterns known to be single runs, and for those that may share one draw by groups of
    channels: one function for all layers alike."""
    return functools.partial(_draw, dtype, single, grouped)


def _draw(
    dtype: DType,
    single: bool,
    grouped: bool,
    examples: Tensor,
    channels: Tensor,
    table: Tensor,
    numbers: Tensor,
    *words: Tensor,
) -> tuple[Tensor, Tensor]:
    """Draws `o - (min - L + 1)`, uniform in `0 ... span + L - 1`, for each axis, example and channel.

    Where the pattern covers the map it is L - 1, the offset min; where it is not applied it is out of
    every map's reach. The remainder comes last: see `once`. All that differs from layer to layer is in the
    tensors: one compiled function serves all layers with as many examples and, padded, channels.

    Returns:
        Shifts, int32 (axes, N, C), and the ratio of Eq. 1 if nothing is turned.
    """
    c, rate, groups = xp.unstack(numbers)
    axis_key, side, length, run, period, span, size = (row[:, None, None] for row in xp.unstack(table, 7))
    index = examples[:, None] * c + channels[None, :]  # (N, C)
    if grouped:
        index, _ = divided(index, groups)
    index, key = xp.word(index), key_of(*words)
    # One hash for the offsets of all axes and for the rate: (axes + 1, N, C).
    bits = random_bits(fold_in(key, xp.concat([axis_key, xp.fill((1, 1, 1), _RATE_KEY)], 0)), index)
    applied = is_drawn(bits[-1], rate)
    _, drawn = divided(positive(bits[:-1]), span + length)  # (axes, N, C)
    shifts = xp.where(applied, xp.where(xp.reduce_all(side > span), length - 1, drawn), FAR - 1)
    shifts = xp.truncatemod(shifts, FAR)  # nothing changes, but they are computed once: see `once`
    first = length - 1 - shifts  # the position of the profile at the first cell
    before, after = (dropped_before(place, length, run, None if single else period) for place in (first, first + size))
    dropped = xp.where(channels[None, :] < c, xp.reduce_prod(after - before, 0), 0)  # (N, C)
    cells = xp.cast(xp.size(examples), xp.int64) * xp.cast(c, xp.int64) * xp.reduce_prod(xp.cast(size, xp.int64))
    return shifts, ratio_of(cells, xp.reduce_sum(xp.cast(dropped, xp.int64)), dtype)


def _profiles(values: ConvValues, axes: int) -> list[Profile]:
    sides = zip(values.sizes, values.strides, values.words, strict=True)
    return [Profile(size, stride, values.repeat, word) for size, stride, word in list(sides)[-axes:]]


def _keys(profiles: list[Profile]) -> tuple[int, ...]:
    return _AXIS_KEYS[1:2] if len(profiles) == 1 else _AXIS_KEYS[-len(profiles) :]


def _geometry(values: ConvValues, sizes: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """For each axis the pattern coordinates from 0 on, 1-D, or (H, W) if turned; and their span, largest less least."""
    straight = [(_range(size), size - 1) for size in sizes]
    if is_straight(values) or len(sizes) == 1:
        return straight
    u, v = _pattern_coordinates(values, *sizes[-2:])
    if isinstance(u, np.ndarray):
        turned = [((x - x.min()).astype(np.int32), int(np.ptp(x))) for x in (u, v)]
    else:
        low = [xp.reduce_min(x) for x in (u, v)]
        turned = [(x - least, xp.reduce_max(x) - least) for x, least in zip((u, v), low, strict=True)]
    return [*straight[:-2], *turned]


def _pattern_coordinates(values: ConvValues, h: Any, w: Any) -> tuple[Any, Any]:
    """Maps each cell back to pattern coordinates (u, v), rounded to the nearest integer, half up: (H, W) both.

    Works on doubled centred coordinates, `2x = 2j - (W-1)`, so that centres of even maps are integers.
    """
    matrix = values.matrix
    if all(map(is_constant, (*matrix, h, w))):
        rows, columns = np.arange(h, dtype=np.int64)[:, None], np.arange(w, dtype=np.int64)[None, :]
        return _map_back(matrix, rows, columns, h, w, np.right_shift)
    rows, columns = _range_64(h)[:, None], _range_64(w)[None, :]
    wide = [xp.cast(entry, xp.int64) for entry in matrix]
    h64, w64 = xp.cast(h, xp.int64), xp.cast(w, xp.int64)
    u, v = _map_back(wide, rows, columns, h64, w64, xp.right_shift)
    return xp.cast(u, xp.int32), xp.cast(v, xp.int32)


def _map_back(matrix: Any, rows: Any, columns: Any, h: Any, w: Any, shift: Any) -> tuple[Any, Any]:
    """`floor(pattern coordinate + 1/2)` in fixed point; NumPy and TensorFlow alike."""
    m_xx, m_xy, m_yx, m_yy = matrix
    x2, y2 = 2 * columns - (w - 1), 2 * rows - (h - 1)
    v = shift(m_xx * x2 + m_xy * y2 + _ONE, GEOMETRY_BITS + 1)
    u = shift(m_yx * x2 + m_yy * y2 + _ONE, GEOMETRY_BITS + 1)
    return u, v


def _range(size: Any) -> Any:
    return np.arange(size, dtype=np.int32) if is_constant(size) else xp.range(size)


def _range_64(size: Any) -> Tensor:
    if is_constant(size):
        return xp.convert_to_tensor(np.arange(size, dtype=np.int64))
    return xp.range(xp.cast(size, xp.int64))


def _pack(*numbers: Any) -> Tensor:
    """Numbers or rows of numbers, ints or scalar tensors, as one int32 tensor."""
    rows = [row if isinstance(row, tuple) else (row,) for row in numbers]
    flat = [one for row in rows for one in row]
    shape = (len(rows), len(rows[0])) if isinstance(numbers[0], tuple) else (len(rows),)
    if all(map(is_constant, flat)):
        return xp.constant(flat, xp.int32, shape)
    return xp.reshape(xp.stack([xp.cast(one, xp.int32) for one in flat]), shape)
