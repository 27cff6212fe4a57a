"""Integer division without a division at each entry: processors have none for vectors, and it cost most of a draw."""

from tf_autodropout.masks.backend import Tensor, xp

_BITS = 31


def divided(x: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    """Returns quotient and remainder, as `tf.truncatediv` and `tf.truncatemod` do.

    With `m = floor((2^31 - 1) / by)`, `x * m / 2^31` is more than `x / by - 1` and at most `x / by`: its integer part
    is the quotient or one less.

    Args:
        x: int32, not negative.
        by: int32, positive, with fewer entries than `x`.

    Reference:
        Barrett, Implementing the Rivest Shamir and Adleman Public Key Encryption Algorithm, CRYPTO 1986.
    """
    reciprocal = xp.cast(xp.truncatediv(xp.constant(2**_BITS - 1, xp.int32), by), xp.int64)
    product = xp.cast(x, xp.int64) * reciprocal
    quotient = xp.cast(xp.right_shift(product, xp.constant(_BITS, xp.int64)), xp.int32)
    rest = x - quotient * by
    one_less = rest >= by
    return quotient + xp.cast(one_less, xp.int32), xp.where(one_less, rest - by, rest)
