"""Integer division without a division at each entry: processors have none for vectors, and it cost most of a draw."""

import tensorflow as tf

_BITS = 31


def divided(x: tf.Tensor, by: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns quotient and remainder, as `tf.truncatediv` and `tf.truncatemod` do.

    With `m = floor((2^31 - 1) / by)`, `x * m / 2^31` is more than `x / by - 1` and at most `x / by`: its integer part
    is the quotient or one less.

    Args:
        x: int32, not negative.
        by: int32, positive, with fewer entries than `x`.

    Reference:
        Barrett, Implementing the Rivest Shamir and Adleman Public Key Encryption Algorithm, CRYPTO 1986.
    """
    reciprocal = tf.cast(tf.truncatediv(tf.constant(2**_BITS - 1, tf.int32), by), tf.int64)
    product = tf.cast(x, tf.int64) * reciprocal
    quotient = tf.cast(tf.bitwise.right_shift(product, tf.constant(_BITS, tf.int64)), tf.int32)
    rest = x - quotient * by
    one_less = rest >= by
    return quotient + tf.cast(one_less, tf.int32), tf.where(one_less, rest - by, rest)
