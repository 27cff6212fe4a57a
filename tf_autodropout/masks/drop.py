"""`Drop`: what a drawn pattern drops, kept as small factors instead of a mask."""

from typing import Any, NamedTuple

import tensorflow as tf

_FUSED_TERMS = 32


class Drop(NamedTuple):
    """Factors, true = drop, whose logical AND broadcasts to the tensor to mask.

    Args:
        rows: First factor; booleans, or 0 and 1 as uint8 if `map_axes` are given.
        columns: Second factor, alike.
        size: Number of cells of `rows & columns`, an int or a scalar tensor.
        map_axes: The axes of rows and columns if `rows` has one column and `columns` has one row: then
            cells are counted without a pass over the map. `()` otherwise.
    """

    rows: tf.Tensor
    columns: tf.Tensor
    size: Any
    map_axes: tuple[int, ...] = ()

    def mask(self) -> tf.Tensor:
        """Boolean tensor, True = drop."""
        if self.map_axes:
            return tf.not_equal(tf.bitwise.bitwise_and(self.rows, self.columns), 0)
        return tf.logical_and(self.rows, self.columns)

    def ratio(self, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """`Size(m) / Sum(m)` of Eq. 1; 0 if all is dropped. Counted in integers."""
        if self.map_axes:
            rows, columns = (
                tf.reduce_sum(tf.cast(x, tf.int32), self.map_axes, keepdims=True) for x in (self.rows, self.columns)
            )
            dropped = tf.reduce_sum(rows * columns)
        else:
            dropped = _count(tf.cast(self.mask(), tf.int32))
        size = tf.cast(self.size, tf.int32)
        return tf.math.divide_no_nan(tf.cast(size, dtype), tf.cast(size - dropped, dtype))


def _count(flags: tf.Tensor) -> tf.Tensor:
    """Sum of zeros and ones, without writing them to memory first.

    XLA fuses a sum of at most 32 terms with what computes them, and writes the terms of a longer one to
    memory. So axis 1 is summed by runs of at most 32, and the rest afterwards; `maximum` keeps XLA
    from making one sum of the two.
    """
    sizes = flags.shape.as_list()
    if len(sizes) < 2 or None in sizes[1:]:
        return tf.reduce_sum(flags)
    run = next(run for run in range(_FUSED_TERMS, 0, -1) if sizes[1] % run == 0)
    runs = tf.reduce_sum(tf.reshape(flags, (-1, sizes[1] // run, run, *sizes[2:])), 2)
    return tf.reduce_sum(tf.maximum(runs, 0))


def once(flags: tf.Tensor) -> tf.Tensor:
    """Returns `flags` as 0 and 1, and has XLA compute them before it broadcasts them.

    XLA repeats cheap arithmetic at each cell that a small tensor is broadcast to; an integer division
    counts as expensive and is computed once: `(flag + 2) / 3` is `flag`.
    """
    return (tf.cast(flags, tf.uint8) + tf.constant(2, tf.uint8)) // tf.constant(3, tf.uint8)
