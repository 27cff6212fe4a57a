"""`Drop`: what a drawn pattern drops, kept as small factors instead of a mask."""

import math
from typing import Any, NamedTuple

from tf_autodropout.masks.backend import DType, Tensor, xp

_FUSED_TERMS = 32
_INT32 = 2**31


class Draws(NamedTuple):
    """What one mask draws: small tensors that fix it.

    Args:
        tensors: The tensors, as `drop` takes them.
        ratio: `Size(m) / Sum(m)` of Eq. 1, where it is known without a pass over the mask; else None.
    """

    tensors: tuple[Tensor, ...]
    ratio: Tensor | None = None


class Drop(NamedTuple):
    """Factors, true = drop, whose logical AND broadcasts to the tensor to mask.

    Args:
        factors: Booleans, or 0 and 1 as uint8, each broadcasting to the tensor.
        size: Number of cells of the AND, an int or a scalar tensor.
    """

    factors: tuple[Tensor, ...]
    size: Any

    def mask(self) -> Tensor:
        """Boolean tensor, True = drop."""
        first, *others = self.factors
        for one in others:
            first = xp.bitwise_and(first, one) if first.dtype == xp.uint8 else xp.logical_and(first, one)
        return xp.not_equal(first, 0) if first.dtype == xp.uint8 else first

    def ratio(self, dtype: DType = xp.float32) -> Tensor:
        """`Size(m) / Sum(m)` of Eq. 1; 0 if all is dropped. Counted in integers, in a pass over the mask."""
        return ratio_of(self.size, _count(self.mask()), dtype)


def ratio_of(size: Any, dropped: Tensor, dtype: DType) -> Tensor:
    """`Size(m) / Sum(m)` of Eq. 1, from the number of cells and of dropped ones, int64."""
    size = xp.cast(size, xp.int64)
    return xp.divide_no_nan(xp.cast(size, dtype), xp.cast(size - dropped, dtype))


def times(*sizes: Any) -> Any:
    """Product of sizes: an int if all are, else an int64 scalar tensor, as no tensor is too large for."""
    known = [size for size in sizes if isinstance(size, int)]
    product: Any = math.prod(known)
    for size in sizes:
        if not isinstance(size, int):
            product = xp.cast(size, xp.int64) * product
    return product


def _count(flags: Tensor) -> Tensor:
    """Sum of flags as int64, without writing them to memory first.

    XLA fuses a sum of at most 32 terms with what computes them, and writes the terms of a longer one to
    memory. So axis 1 is summed by runs of at most 32, in int32, and the rest afterwards; `maximum` keeps XLA
    from making one sum of the two. The rest is summed in int64 unless it is known to fit into int32.
    """
    sizes = xp.static_shape(flags)
    ones = xp.cast(flags, xp.int32)
    if len(sizes) < 2 or None in sizes[1:]:
        return xp.reduce_sum(xp.cast(ones, xp.int64))
    run = next(run for run in range(_FUSED_TERMS, 0, -1) if sizes[1] % run == 0)
    runs = xp.maximum(xp.reduce_sum(xp.reshape(ones, (-1, sizes[1] // run, run, *sizes[2:])), 2), 0)
    if sizes[0] is not None and math.prod(sizes) < _INT32:
        return xp.cast(xp.reduce_sum(runs), xp.int64)
    if math.prod(sizes[1:]) < _INT32:  # by example first
        runs = xp.reduce_sum(runs, list(range(1, len(runs.shape))))
    return xp.reduce_sum(xp.cast(runs, xp.int64))


def once(flags: Tensor) -> Tensor:
    """Returns `flags` as 0 and 1, and has XLA compute them before it broadcasts them.

    XLA repeats cheap arithmetic at each cell that a small tensor is broadcast to; an integer division
    counts as expensive and is computed once: `(flag + 2) / 3` is `flag`.
    """
    if xp.KEEPS_MASKS:  # no XLA
        return flags
    return (xp.cast(flags, xp.uint8) + xp.constant(2, xp.uint8)) // xp.constant(3, xp.uint8)
