"""What a `TransformerPattern` drops on `(N, T, C)`, or with the tokens on any other axis."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from tf_autodropout.masks.backend import DType, Tensor, xp
from tf_autodropout.masks.drop import Draws, Drop, ratio_of, times
from tf_autodropout.masks.hashing import Words, bernoulli, by_example, counters, fold_in, key_of, uniform_below
from tf_autodropout.masks.values import fixed, is_constant
from tf_autodropout.patterns import TransformerPattern

_KEPT = 256  # functions that draw


class TransformerValues(NamedTuple):
    """A `TransformerPattern` as integers: Python ints (constants) or int64 scalar tensors."""

    size: Any
    stride: Any
    share_t: Any
    share_c: Any
    rate: Any  # in 2^-24

    @property
    def is_identity(self) -> Any:
        """True if nothing is dropped."""
        return self.size == 0


def encode_transformer(pattern: TransformerPattern, axes: int) -> TransformerValues:
    """Turns a pattern into its integers."""
    flags = int(pattern.share_t), int(pattern.share_c)
    return TransformerValues(pattern.size, pattern.stride, *flags, fixed(pattern.rate))


def transformer_cases(values: TransformerValues) -> tuple[Tensor, list[TransformerValues]]:
    """Returns the kinds of mask that values in a variable may ask for, and the number of the one that they do."""
    return xp.cast(values.share_c, xp.int32), [values._replace(share_c=share) for share in (0, 1)]


def is_shared(values: TransformerValues) -> bool:
    """True if it is known that all features share a mask."""
    return is_constant(values.share_c) and bool(values.share_c)


def transformer_probability(pattern: TransformerPattern, sizes: tuple[int, ...]) -> float:
    """Returns how likely a token is to be dropped."""
    return pattern.rate * (1 if pattern.covers(sizes) else pattern.size / (pattern.size + pattern.stride))


def transformer_draws(
    values: TransformerValues, shape: tuple[Any, ...], words: Words, token_axis: int, dtype: DType
) -> Draws:
    """Draws one mask: if it is known to be shared along C then the mask itself, else what fixes it.

    Args:
        values: The pattern, constants or scalar tensors.
        shape: Axis 0 is the example, `token_axis` the token, all others together are C.
        words: Seed and replica, as `key_of` takes them.
        token_axis: Axis of the tokens: 1 for `(N, T, C)`, 3 for attention `(N, heads, T, keys)`.
        dtype: Of the ratio.
    """
    if not is_shared(values):
        return Draws(words)
    known = all(map(is_constant, (*values[:-1], *shape[1:])))
    draw = (_drawer if known else _drawer.__wrapped__)(values._replace(rate=0), tuple(shape[1:]), token_axis, dtype)
    inner = (None, 1 if known else None)
    dropped, ratio = xp.fused(draw, inner)(xp.range(shape[0]), xp.cast(values.rate, xp.int32), *words)
    return Draws((dropped,), ratio)


@functools.lru_cache(_KEPT)
def _drawer(
    alike: TransformerValues, inner: tuple[Any, ...], token_axis: int, dtype: DType
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Draws a mask that is shared along C, and its ratio: one function for layers alike, compiled once."""

    def draw(examples: Tensor, rate: Tensor, *words: Tensor) -> tuple[Tensor, Tensor]:
        n = examples.shape[0] if examples.shape[0] is not None else xp.size(examples)
        dropped = _elements(alike._replace(rate=rate), (n, *inner), words, token_axis)  # (N, T) among ones
        cells = times(n, inner[token_axis - 1])
        return dropped, ratio_of(cells, xp.reduce_sum(xp.cast(dropped, xp.int64)), dtype)

    return draw


def transformer_drop(
    values: TransformerValues, shape: tuple[Any, ...], drawn: tuple[Tensor, ...], token_axis: int
) -> Drop:
    """Returns what a mask drops; it broadcasts to `shape`. See `transformer_draws`."""
    n, t = shape[0], shape[token_axis]
    if drawn[0].dtype == xp.bool:
        return Drop(drawn, times(n, t))
    rest = [size for axis, size in enumerate(shape) if axis not in (0, token_axis)]
    return Drop((_elements(values, shape, drawn, token_axis),), times(n, t, *([] if is_shared(values) else rest)))


def _elements(values: TransformerValues, shape: tuple[Any, ...], words: Words, token_axis: int) -> Tensor:
    """Booleans, True = drop, that broadcast to the shape."""
    rank = len(shape)
    n, t = shape[0], shape[token_axis]
    key = key_of(*words)
    size, stride = (xp.cast(value, xp.int32) for value in (values.size, values.stride))
    period = xp.maximum(size + stride, 1)
    phase = uniform_below(
        fold_in(key, 1), counters(n), period
    )  # (N,) tokens of the first block that are before token 0
    phase = xp.where(size >= t, 0, phase)
    past = xp.range(t)[None, :] + phase[:, None]  # (N, T) tokens since the first block began
    affected = xp.truncatemod(past, period) < size
    token = xp.where(xp.cast(values.share_t, xp.bool), xp.truncatediv(past, period), xp.range(t)[None, :])  # (N, T)

    rest = [axis for axis in range(rank) if axis not in (0, token_axis)]
    features = times(*(shape[axis] for axis in rest))
    shared = is_shared(values)
    feature_sizes = [1 if shared or axis not in rest else shape[axis] for axis in range(rank)]

    def on_tokens(x: Tensor) -> Tensor:  # (N, T) -> broadcasts over C
        return xp.reshape(x, [n if axis == 0 else t if axis == token_axis else 1 for axis in range(rank)])

    # As many features as there are, shared or not: both draw the same for the first one.
    own, first = by_example(fold_in(key, 2), n, times(t, features), rank)
    counter = on_tokens(xp.word(token) * xp.word(features)) + first + counters(*feature_sizes)
    drawn = bernoulli(own, counter, values.rate)
    return xp.logical_and(drawn, on_tokens(affected))
