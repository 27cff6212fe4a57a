"""Strength over depth: each block of a network has its own rate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tf_autodropout.patterns import Pattern, PatternSet
from tf_autodropout.patterns.checks import check_rate, shown
from tf_autodropout.surgery.site_table import ModelSite

_ENDS = ("output", "ffn")  # the roles that end the residual branches of a Transformer block


@dataclass(frozen=True)
class DepthRule:
    """A pattern whose rate goes in a straight line from the first block to the last; `by_depth` makes it.

    Args:
        pattern: The pattern of all blocks.
        first: Rate in the first block.
        last: Rate in the last block.
    """

    pattern: Pattern
    first: float
    last: float

    def resolve(self, sites: Sequence[ModelSite]) -> PatternSet:
        """Returns the pattern of each site, for the sites of a model: `tad.by_depth(...).resolve(tad.sites(model))`.

        Raises:
            ValueError: no site that the pattern fits.
        """
        fitting = [row for row in sites if row.recommended and isinstance(self.pattern, row.pattern_types)]
        if self.pattern.is_drop_path():
            fitting = _ends_of_branches(fitting)
        if not fitting:
            where = " at the end of a residual branch" if self.pattern.is_drop_path() else ""
            raise ValueError(f"The model has no site{where} that the pattern fits. Received: pattern={self.pattern!r}")
        blocks = list(dict.fromkeys(row.block for row in fitting))
        step = (self.last - self.first) / max(len(blocks) - 1, 1)
        rates = {block: self.first + step * number for number, block in enumerate(blocks)}
        patterns = {row.name: replace(self.pattern, rate=rates[row.block]) for row in fitting}  # type: ignore[type-var]
        return PatternSet(patterns)


def by_depth(pattern: Pattern, first: float, last: float) -> DepthRule:
    """Gives each block of a network its own rate, in a straight line from the first block to the last.

    It goes to `regularize` in place of patterns. A pattern that drops whole examples (`members.drop_path`) goes to the
    ends of the residual branches only: so it is Stochastic Depth with its linear rule, for `first` equal to `last`
    divided by the number of blocks. Any other pattern goes to all recommended sites that it fits.

    Args:
        pattern: The pattern; its own rate is not used.
        first: Rate in the first block, 0 to 1.
        last: Rate in the last block, 0 to 1.

    Returns:
        A rule that `regularize` takes; its method `resolve(tad.sites(model))` gives the `PatternSet`.

    Raises:
        TypeError: not a pattern.
        ValueError: a rate outside 0 to 1; from `regularize`, a model without a site for it.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> plain = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3))
        >>> rule = tad.by_depth(tad.members.drop_path(0), 0.0, 0.3)
        >>> rates = [pattern.rate for pattern in rule.resolve(tad.sites(plain)).values()]
        >>> len(rates), rates[0], rates[-1]
        (16, 0.0, 0.3)

    Reference:
        Huang et al., Deep Networks with Stochastic Depth, ECCV 2016, Equation 4.
    """
    if not isinstance(pattern, Pattern):
        raise TypeError(f"Expected 'pattern' to be a pattern. Received: pattern={shown(pattern)}")
    return DepthRule(pattern, check_rate("first", first), check_rate("last", last))


def _ends_of_branches(rows: Sequence[ModelSite]) -> list[ModelSite]:
    last = {row.block: row for row in rows if row.at_add and not row.is_role}
    return [row for row in rows if last.get(row.block) is row or row.kind in _ENDS]
