"""Eq. 1 of the paper: multiply by the mask and by what it costs in scale."""

from typing import Any

import tensorflow as tf


def apply_mask(h: Any, mask: Any) -> tf.Tensor:
    """Returns `h * (Size(m) / Sum(m)) * m` over the whole tensor, the batch included.

    Args:
        h: Floating-point tensor of any shape.
        mask: Keep mask (boolean or 0/1) that broadcasts to the shape of `h`.

    Returns:
        Tensor like `h`; zeros where `Sum(m) = 0`, never NaN. Size and Sum are counted in integers,
        whatever the dtype of `h`.

    Example:
        >>> import tensorflow as tf
        >>> from tf_autodropout.masks import apply_mask
        >>> apply_mask(tf.ones((1, 4)), tf.constant([[1, 0, 1, 0]])).numpy().tolist()
        [[2.0, 0.0, 2.0, 0.0]]

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Equation 1.
    """
    h = tf.convert_to_tensor(h)
    mask = tf.cast(mask, tf.bool)
    kept = tf.reduce_sum(tf.cast(mask, tf.int32))
    # The mask may broadcast: the ratio of its own size to its own sum is that of the full mask.
    size = tf.cast(tf.size(mask), tf.float32)
    ratio = tf.math.divide_no_nan(size, tf.cast(kept, tf.float32))
    ratio = tf.minimum(ratio, float(h.dtype.max))  # float16 ends at 65504, and 0 * inf is NaN
    return h * tf.cast(tf.cast(mask, tf.float32) * ratio, h.dtype)  # Eq. 1
