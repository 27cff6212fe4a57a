"""The pattern for people who do not want to choose one: it drops a given share."""

import math
from collections.abc import Sequence
from fractions import Fraction

from tf_autodropout.patterns.checks import WHOLE, check_rate
from tf_autodropout.patterns.conv_pattern import ConvPattern
from tf_autodropout.patterns.transformer_pattern import TransformerPattern

# Where a token is one vector of features that others read as a whole, whole tokens are dropped; at a query, a key or a
# skip connection, where a lost token is lost for all that follows, single entries.
_BY_ENTRY = frozenset({"query", "key", "residual", "scores"})
_FINENESS = 1000  # denominators of the fractions that stand for a size on a map of unknown size


def map_pattern(strength: float, sizes: Sequence[int | None]) -> ConvPattern:
    """Returns the default pattern for maps: in each channel one block, which covers about `strength` of all cells.

    The block is the smallest one in the map's own proportions that drops the share at least, and `rate` takes off what
    that is too much. From `1/2^axes` on no block is large enough, and whole channels are dropped (Spatial Dropout).

    Args:
        strength: Share of the cells that is dropped, 0 to 1.
        sizes: Sizes of the map, without batch and channels; None where they are not known.

    Example:
        >>> from tf_autodropout.patterns.strength import map_pattern
        >>> pattern = map_pattern(0.1, (32, 32))
        >>> pattern.size, round(pattern.rate, 3)
        (15, 0.94)
    """
    strength = check_rate("strength", strength)
    root = strength ** (1 / len(sizes))
    if strength == 0:
        return ConvPattern()
    if root >= 1 / 2:
        return ConvPattern(size=WHOLE, rate=strength)
    share = root / (1 - root)  # a block of this share of each axis covers `strength` of a large map
    if None in sizes:
        return ConvPattern(size=str(Fraction(share).limit_denominator(_FINENESS)))
    known = [size for size in sizes if size is not None]
    block = [min(max(math.ceil(share * size), 1), max(size - 1, 1)) for size in known]
    covered: float = math.prod(side / (size + side - 1) for side, size in zip(block, known, strict=True))
    if covered < strength or max(known) == 1:
        return ConvPattern(size=WHOLE, rate=strength)
    return ConvPattern(size=tuple(block), rate=min(strength / covered, 1.0))


def token_pattern(strength: float, role: str = "", is_sequence: bool = True) -> TransformerPattern:
    """Returns the default pattern for tokens: Word Dropout, and Dropout at query, key, scores and residual.

    Args:
        strength: Share that is dropped, 0 to 1.
        role: Role of the site in a Transformer layer.
        is_sequence: False for tensors such as `(N, C)`, which have Dropout.
    """
    by_token = is_sequence and role not in _BY_ENTRY
    return TransformerPattern(size=1, share_c=by_token, rate=check_rate("strength", strength))
