"""Eq. 1 of the paper: multiply by the mask and by what it costs in scale."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from tf_autodropout.masks.backend import DType, Tensor, exact, xp
from tf_autodropout.masks.cases import by_case
from tf_autodropout.masks.draw import draw, drop, drop_small, is_counted, needs_rate
from tf_autodropout.masks.drop import Drop
from tf_autodropout.masks.encoding import InVariable, unpack
from tf_autodropout.masks.hashing import Words, words_of
from tf_autodropout.masks.kinds import Values
from tf_autodropout.masks.values import at_step, is_constant
from tf_autodropout.patterns import Pattern

_KEPT_PASSES = 256  # of the patterns used last in one process
_LOWERED = -1e4  # far below scores, far above what masks padding: -3e4 in float16, -1e9 and less else
_SMALL = 2**15  # entries of an example


@exact
def apply_mask(h: Any, mask: Any) -> Tensor:
    """Returns `h * (Size(m) / Sum(m)) * m` over the whole tensor, the batch included.

    Args:
        h: Floating-point tensor of any shape.
        mask: Keep mask (boolean or 0/1) that broadcasts to the shape of `h`.

    Returns:
        Tensor like `h`; zeros where the mask is 0, never NaN. Size and Sum are counted in integers,
        whatever the dtype of `h`.

    Example:
        >>> from keras import ops
        >>> from tf_autodropout.masks import apply_mask
        >>> apply_mask(ops.ones((1, 4)), ops.array([[1, 0, 1, 0]])).numpy().tolist()
        [[2.0, 0.0, 2.0, 0.0]]

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Equation 1.
    """
    dropped = xp.logical_not(xp.cast(mask, xp.bool))
    h = xp.convert_to_tensor(h)
    # The mask may broadcast: the ratio of its own size to its own sum is that of the full mask.
    drop = Drop((dropped,), xp.size(dropped, xp.int64))
    return _equation_1(h, drop, drop.ratio(_exact(h.dtype)))


@exact
def apply_pattern(
    h: Any,
    values: Values | InVariable,
    seed: Tensor,
    replica: Any = 0,
    data_format: str = "channels_last",
    token_axis: int = 1,
) -> Tensor:
    """Draws the mask of a pattern and applies it: `apply_mask(h, keep_mask(...))` at the speed of memory.

    No mask of the size of `h` is kept for the backward pass, which makes it again from what was drawn.

    Args:
        h: Floating-point tensor.
        values: The pattern, as constants or in a variable.
        seed: Integer tensor (2,).
        replica: Integer that makes the masks of replicas differ.
        data_format: As for `keep_mask`.
        token_axis: As for `keep_mask`.

    Returns:
        Tensor like `h`.

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Equation 1.
    """
    h = xp.convert_to_tensor(h)
    if _is_empty(h):
        return xp.identity(h)
    words = (words_of(seed), xp.convert_to_tensor(replica, xp.int32))
    if isinstance(values, InVariable):
        return _apply_variable(h, values, words, data_format, token_axis)
    if is_constant(values.is_identity) and values.is_identity:
        return xp.identity(h)
    return _apply_constant(h, values, words, data_format, token_axis)


@exact
def apply_to_scores(
    scores: Any,
    values: Values | InVariable,
    seed: Tensor,
    replica: Any = 0,
    data_format: str = "channels_last",
    token_axis: int = 1,
) -> Tensor:
    """Draws the mask of a pattern and takes what is dropped out of attention, before the softmax.

    What is dropped is lowered so far that the softmax gives it nothing, but not as far as padding and the future are:
    where all that a query may attend to is dropped, it attends as without the pattern. Nothing is scaled: the softmax
    gives the share of the dropped keys to the others.

    Args:
        scores: Attention scores `(N, heads, queries, keys)`, or of any shape that suits the pattern.
        values: As for `apply_pattern`, as all that follows.
        seed: Integer tensor (2,).
        replica: Integer that makes the masks of replicas differ.
        data_format: As for `keep_mask`.
        token_axis: As for `keep_mask`; the axis of the keys.

    Returns:
        Tensor like `scores`.

    Reference:
        Li et al., DropKey for Vision Transformer, CVPR 2023, Section 3.
    """
    scores = xp.convert_to_tensor(scores)
    if _is_empty(scores):
        return xp.identity(scores)
    words = (words_of(seed), xp.convert_to_tensor(replica, xp.int32))
    sizes = xp.sizes(scores)

    def case(one: Values | None) -> Tensor:
        if one is None:
            return xp.identity(scores)
        drawn = draw(one, sizes, words, data_format, token_axis)
        mask = drop(one, sizes, drawn.tensors, data_format, token_axis).mask()
        return scores + xp.where(mask, xp.constant(_LOWERED, scores.dtype), xp.zeros((), scores.dtype))

    if isinstance(values, InVariable):
        now, schedule = unpack(values.kind, xp.convert_to_tensor(values.vector))
        return by_case(at_step(now, schedule, words[0][1]), case)
    return by_case(values, case)


class _Passes(NamedTuple):
    """Functions of tensors that compute one kind of mask; layers alike share them, so that they compile once.

    Args:
        count: `(h, *drawn)` to the ratio of Eq. 1, in a pass over the mask.
        multiply: `(h, ratio, *drawn)` to Eq. 1: the forward pass, and the backward pass with `dy` for `h`.
    """

    count: Callable[..., Tensor]
    multiply: Callable[..., Tensor]


def _apply_constant(h: Tensor, values: Values, words: Words, data_format: str, token_axis: int) -> Tensor:
    shape, exact = h.shape, _exact(h.dtype)
    if xp.KEEPS_MASKS:
        return _apply_kept(h, values, words, data_format, token_axis)
    known = all(map(is_constant, values[:-1]))
    # A rate on a schedule is a tensor, and so are sizes that are fractions of a map of unknown size.
    passes = (_passes if known else _passes.__wrapped__)(values._replace(rate=0), data_format, token_axis)
    drawn = draw(values, xp.sizes(h), words, data_format, token_axis, exact)
    cheap = is_counted(values)  # such a mask costs next to nothing to make twice
    rate = [xp.cast(values.rate, xp.int32)] if needs_rate(values) else []
    ratio: Any = drawn.ratio if cheap else xp.fused(passes.count, shape)(h, *drawn.tensors, *rate)

    def again(dy: Tensor | None = None) -> tuple[Tensor, ...]:
        first, *others = drawn.tensors
        return xp.anew(first, ratio, dy), *others, *rate

    if cheap and _is_small(shape):
        return _apply_small(h, ratio, drop_small(values, xp.sizes(h), drawn.tensors, data_format, token_axis).mask())

    @xp.custom_gradient
    def apply(h: Tensor) -> Any:
        multiply = xp.fused(passes.multiply, shape)
        y = multiply(h, ratio, *(drawn.tensors if cheap else again()))

        def backward(dy: Tensor) -> Tensor:
            return multiply(dy, ratio, *(drawn.tensors if cheap else again(dy)))

        return y, backward

    return apply(h)


def _apply_kept(h: Tensor, values: Values, words: Words, data_format: str, token_axis: int) -> Tensor:
    """Eq. 1 with a mask that is kept for the backward pass."""
    sizes, exact = xp.sizes(h), _exact(h.dtype)
    drawn = draw(values, sizes, words, data_format, token_axis, exact)
    dropped = drop(values, sizes, drawn.tensors, data_format, token_axis)
    kept = Drop((dropped.mask(),), dropped.size)
    return _apply_small(h, drawn.ratio if is_counted(values) else kept.ratio(exact), kept.mask())


def _apply_small(h: Tensor, ratio: Tensor, dropped: Tensor) -> Tensor:
    """Eq. 1 without compilation, which costs time at the first step and saves none where a map is small."""
    scale = _finite(ratio, h.dtype)

    @xp.custom_gradient
    def apply(h: Tensor) -> Any:
        return xp.cleared(h * scale, dropped), lambda dy: xp.cleared(dy * scale, dropped)

    return apply(h)


@functools.lru_cache(_KEPT_PASSES)
def _passes(alike: Any, data_format: str, token_axis: int) -> _Passes:
    def dropped(h: Tensor, drawn: tuple[Tensor, ...]) -> Drop:
        if needs_rate(alike):
            return drop(alike._replace(rate=drawn[-1]), xp.sizes(h), drawn[:-1], data_format, token_axis)
        return drop(alike, xp.sizes(h), drawn, data_format, token_axis)

    def count(h: Tensor, *drawn: Tensor) -> Tensor:
        return dropped(h, drawn).ratio(_exact(h.dtype))

    def multiply(h: Tensor, ratio: Tensor, *drawn: Tensor) -> Tensor:
        return _equation_1(h, dropped(h, drawn), ratio)

    return _Passes(count, multiply)


def _apply_variable(h: Tensor, values: InVariable, words: Words, data_format: str, token_axis: int) -> Tensor:
    vector = xp.convert_to_tensor(values.vector)
    kind: Any = values.kind
    if xp.KEEPS_MASKS:
        now, schedule = unpack(kind, vector)
        apply_kept = functools.partial(_apply_kept, words=words, data_format=data_format, token_axis=token_axis)
        return by_case(
            at_step(now, schedule, words[0][1]), lambda one: xp.identity(h) if one is None else apply_kept(h, one)
        )
    forward, backward = _variable_passes(kind, data_format, token_axis)

    @xp.custom_gradient
    def apply(h: Tensor) -> Any:
        shape = h.shape  # the backward pass needs this of h, and nothing else
        y, ratio, *drawn = xp.fused(forward, shape)(h, vector, *words)
        return y, lambda dy: xp.fused(backward, shape)(dy, ratio, vector, words[0], *drawn)

    return apply(h)


@functools.lru_cache(_KEPT_PASSES)
def _variable_passes(
    kind: type[Pattern], data_format: str, token_axis: int
) -> tuple[Callable[..., tuple[Tensor, ...]], Callable[..., Tensor]]:
    """Forward and backward pass for a pattern in variables: one branch of a switch for each kind of mask."""

    def at(seed: Tensor, vector: Tensor) -> Values:
        values, schedule = unpack(kind, vector)
        return at_step(values, schedule, seed[1])

    def forward(h: Tensor, vector: Tensor, *words: Tensor) -> tuple[Tensor, ...]:
        values, sizes, exact = at(words[0], vector), xp.sizes(h), _exact(h.dtype)
        drawn = draw(values, sizes, words, data_format, token_axis, exact)

        def case(one: Values | None) -> tuple[Tensor, Tensor]:
            if one is None:
                return xp.identity(h), xp.ones((), exact)
            ratio = drawn.ratio
            if ratio is None or not is_counted(one):
                ratio = drop(one, sizes, drawn.tensors, data_format, token_axis).ratio(exact)
            first, *others = drawn.tensors
            tensors = xp.anew(first, ratio), *others
            return _equation_1(h, drop(one, sizes, tensors, data_format, token_axis), ratio), ratio

        return (*by_case(values, case), *drawn.tensors)

    def backward(dy: Tensor, ratio: Tensor, vector: Tensor, seed: Tensor, *drawn: Tensor) -> Tensor:
        first, *others = drawn
        tensors = xp.anew(first, ratio, dy), *others

        def case(one: Values | None) -> Tensor:
            if one is None:
                return xp.identity(dy)
            return _equation_1(dy, drop(one, xp.sizes(dy), tensors, data_format, token_axis), ratio)

        return by_case(at(seed, vector), case)

    return forward, backward


def _is_small(shape: Any) -> bool:
    """True for examples so small that a compiled pass saves nothing, and its compilation costs time."""
    return None not in shape[1:] and math.prod(shape[1:]) < _SMALL


def _is_empty(x: Tensor) -> bool:
    """True for a tensor that is known to have no elements: an empty map has no middle to count from."""
    return 0 in xp.static_shape(x)


def _exact(dtype: DType) -> DType:
    """The dtype in which the ratio is computed: float32 has room for every ratio, float16 has not."""
    return xp.float64 if dtype == xp.float64 else xp.float32


def _equation_1(h: Tensor, drop: Drop, ratio: Tensor) -> Tensor:
    return xp.cleared(h * _finite(ratio, h.dtype), drop.mask())  # Eq. 1


def _finite(ratio: Tensor, dtype: DType) -> Tensor:
    if dtype == xp.float16:  # which ends there
        ratio = xp.minimum(ratio, 65504.0)
    return xp.cast(ratio, dtype)
