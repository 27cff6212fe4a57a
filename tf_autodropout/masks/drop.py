"""`Drop`: what a drawn pattern drops, kept as small factors instead of a mask."""

from typing import Any, NamedTuple

import tensorflow as tf


class Drop(NamedTuple):
    """Boolean factors, True = drop, whose logical AND broadcasts to the tensor to mask.

    Args:
        rows: First factor.
        columns: Second factor.
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
        return tf.logical_and(self.rows, self.columns)

    def ratio(self) -> tf.Tensor:
        """`Size(m) / Sum(m)` of Eq. 1 as float32; 0 if all is dropped. Counted in integers."""
        if self.map_axes:
            rows, columns = (
                tf.reduce_sum(tf.cast(x, tf.int32), self.map_axes, keepdims=True) for x in (self.rows, self.columns)
            )
            dropped = rows * columns
        else:
            dropped = tf.cast(self.mask(), tf.int32)
        if dropped.shape.rank:
            # In two steps: XLA spreads the first one over the cores, example by example.
            dropped = tf.reduce_sum(tf.reduce_sum(dropped, list(range(1, dropped.shape.rank))))
        size = tf.cast(self.size, tf.int32)
        return tf.math.divide_no_nan(tf.cast(size, tf.float32), tf.cast(size - dropped, tf.float32))
