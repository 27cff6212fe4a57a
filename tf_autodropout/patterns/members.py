"""The classic dropouts as members of the pattern space, under the names they are known by.

Where a mask falls is exactly what the classic layer draws. The scale is Eq. 1's, `Size(m) / Sum(m)`
of the drawn mask, where the classic layers use the constant `1 / (1 - rate)`. With `n` independent
draws in a batch the two differ by a factor whose standard deviation is about
`sqrt(rate / ((1 - rate) n))`: for a rate of 0.2 it is 0.0004 for Dropout on `(64, 70, 410)`, 0.008 for
Spatial Dropout on `(64, 32, 32, 64)`, and 0.06 for DropPath on 64 examples (`benchmarks/masks.md`). Eq. 1
keeps the mean over the batch; the constant keeps it in expectation only.
"""

from tf_autodropout.patterns.checks import WHOLE, invalid
from tf_autodropout.patterns.conv_pattern import ConvPattern
from tf_autodropout.patterns.drop_block_pattern import DropBlockPattern
from tf_autodropout.patterns.extent import Extent
from tf_autodropout.patterns.pattern import Pattern
from tf_autodropout.patterns.transformer_pattern import TransformerPattern


def dropout(rate: float) -> TransformerPattern:
    """Returns Dropout: each entry of `(N, T, C)`, or of any tensor of rank 2 or more, by itself.

    Args:
        rate: Drop probability.

    Raises:
        ValueError: a rate outside 0 to 1; so do all members.

    Example:
        >>> import tf_autodropout as tad
        >>> layer = tad.PatternDropout(tad.members.dropout(0.2))  # for text and for maps

    Reference:
        Srivastava et al., Dropout, JMLR 2014.
    """
    return TransformerPattern(size=1, rate=rate)


def word_dropout(rate: float) -> TransformerPattern:
    """Returns Word Dropout: whole tokens of `(N, T, C)`.

    Args:
        rate: Drop probability of a token.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.members.word_dropout(0.1)
        TransformerPattern(size=1, stride=0, share_t=False, share_c=True, rate=0.1)

    Reference:
        Sennrich et al., Edinburgh Neural Machine Translation Systems for WMT 16, 2016.
    """
    return TransformerPattern(size=1, share_c=True, rate=rate)


def variational_dropout(rate: float) -> TransformerPattern:
    """Returns Variational Dropout: whole features of `(N, T, C)`, the same at all tokens.

    Keras calls it `SpatialDropout1D`.

    Args:
        rate: Drop probability of a feature of an example.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.members.variational_dropout(0.2).share_t
        True

    Reference:
        Gal and Ghahramani, A Theoretically Grounded Application of Dropout in RNNs, NeurIPS 2016.
    """
    return TransformerPattern(size=WHOLE, share_t=True, rate=rate)


def spatial_dropout(rate: float) -> ConvPattern:
    """Returns Spatial Dropout: whole channels of maps of one, two or three axes (Keras' SpatialDropout1D, 2D, 3D).

    Args:
        rate: Drop probability of a channel of an example.

    Example:
        >>> import tf_autodropout as tad
        >>> layer = tad.PatternDropout(tad.members.spatial_dropout(0.2))

    Reference:
        Tompson et al., Efficient Object Localization Using Convolutional Networks, CVPR 2015.
    """
    return ConvPattern(size=WHOLE, rate=rate)


def drop_path(rate: float, kind: type[Pattern] = ConvPattern) -> Pattern:
    """Returns DropPath, Stochastic Depth by example: whole examples. It belongs on a branch with a skip connection.

    Args:
        rate: Drop probability of an example.
        kind: `ConvPattern` for maps, `TransformerPattern` for `(N, T, C)`.

    Raises:
        ValueError: another kind.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.members.drop_path(0.1, tad.TransformerPattern).share_c
        True

    Reference:
        Huang et al., Deep Networks with Stochastic Depth, ECCV 2016; Larsson et al., FractalNet, ICLR 2017.
    """
    if kind is ConvPattern:
        return ConvPattern(size=WHOLE, share_c=True, rate=rate)
    if kind is TransformerPattern:
        return TransformerPattern(size=WHOLE, share_t=True, share_c=True, rate=rate)
    raise invalid("kind", "ConvPattern or TransformerPattern", kind)


def drop_block(size: Extent, rate: float = 0.1, share_c: bool = False) -> DropBlockPattern:
    """Returns DropBlock: blocks of cells at seeds that each place of a map draws for itself.

    Its authors ramp it up while training: `schedule=tad.Schedule.ramp_up(steps)`. The paper's ConvNet pattern with one
    block in each channel is another one, `tad.ConvPattern(size=7)`.

    Args:
        size: Cells per side of a block, 7 in its paper; or a fraction of the map.
        rate: One minus its `keep_prob`: near the share of the cells that is dropped.
        share_c: True draws one mask for all channels.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.members.drop_block(7).size
        7

    Reference:
        Ghiasi et al., DropBlock, NeurIPS 2018.
    """
    return DropBlockPattern(size=size, rate=rate, share_c=share_c)


def drop_key(rate: float) -> TransformerPattern:
    """Returns DropKey: keys of each query of each head, taken out before the softmax. It belongs before the softmax.

    There, in a `PatternDropout(..., before_softmax=True)`, the softmax itself gives the dropped keys' share to the
    others; a query whose keys are all dropped attends as without DropKey.

    Args:
        rate: Drop probability of a key for a query.

    Example:
        >>> import tf_autodropout as tad
        >>> scores = tad.PatternDropout(tad.members.drop_key(0.1), token_axis=3, before_softmax=True)

    Reference:
        Li et al., DropKey for Vision Transformer, CVPR 2023.
    """
    return TransformerPattern(size=1, rate=rate)
