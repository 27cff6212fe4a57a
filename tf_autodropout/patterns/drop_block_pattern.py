"""DropBlock as it was published: blocks at seeds that every place draws for itself."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tf_autodropout.patterns.checks import LONGEST, check_bool, check_factor, check_rate, invalid
from tf_autodropout.patterns.extent import (
    Extent,
    cells,
    check_extent,
    described,
    longest,
    on_axes,
    scaled,
)
from tf_autodropout.patterns.map_pattern import MapPattern


@dataclass(frozen=True)
class DropBlockPattern(MapPattern):
    """DropBlock: every place where a whole block fits into the map is the seed of a block with probability gamma.

    The map of each channel, or of all channels together if `share_c`, draws its seeds by itself. Blocks may overlap.
    With `rate` for one minus the published `keep_prob`,

        gamma = rate * (H * W) / (h * w) / ((H - h + 1) * (W - w + 1))

    for blocks of `(h, w)` on maps `(H, W)`, and alike on one and three axes, at most 1. A block larger than the map is
    the map. The share that is dropped is near `rate` while that is small; cells near the border are dropped less
    often. The scale is Eq. 1's, which is DropBlock's own.

    Of other implementations, torchvision's draws the same for odd sizes (it fails for even ones), keras-cv's on square
    maps (on others it bounds the rows of its seeds by the width), timm's with `fast=False` and odd sizes (its default
    draws seeds everywhere and cuts the blocks at the border).

    Args:
        size: Length of a block: cells, or a fraction of the map as text (`"1/4"`). One for all axes, or one for each.
            0 means no pattern: the identity.
        rate: One minus `keep_prob`.
        share_c: True draws one mask for all channels, False one for each channel, which its authors found better.

    Raises:
        ValueError: a value outside these ranges.

    Example:
        >>> import tf_autodropout as tad
        >>> layer = tad.PatternDropout(tad.members.drop_block(7), schedule=tad.Schedule.ramp_up(10_000))

    Reference:
        Ghiasi et al., DropBlock, NeurIPS 2018, Algorithm 1 and Equation 1; its strength ramps up linearly while
        training (Section 3, "Scheduled DropBlock").
    """

    TYPE: ClassVar[str] = "DropBlockPattern"

    size: Extent = 0
    rate: float = 0.1
    share_c: bool = False

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "size": check_extent("size", self.size),
            "rate": check_rate("rate", self.rate),
            "share_c": check_bool("share_c", self.share_c),
        }
        if longest(checked["size"]) > LONGEST:
            raise invalid("size", f"size <= {LONGEST}", self.size)
        if isinstance(checked["size"], tuple) and 0 in checked["size"]:
            raise invalid("size", "all sides >= 1, or 0 for no pattern", self.size)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def gamma(self, sizes: tuple[int, ...]) -> float:
        """Returns the probability of a seed, for a map of these sizes. The size is in cells, none beyond the map."""
        sides = [int(side) for side in self.sizes(len(sizes))]
        shares = [there / side / (there - side + 1) for side, there in zip(sides, sizes, strict=True)]
        return min(self.rate * math.prod(shares), 1.0)

    def classic(self, sizes: tuple[int, ...]) -> str:
        return "DropBlock"

    def chance(self, sizes: tuple[int, ...]) -> float:
        places = math.prod(there - int(side) + 1 for side, there in zip(self.sizes(len(sizes)), sizes, strict=True))
        return float(1 - (1 - self.gamma(sizes)) ** places)

    def share(self, sizes: tuple[int, ...]) -> float:
        return self.rate

    def resolve(self, sizes: tuple[int, ...]) -> "DropBlockPattern":
        """Returns the pattern with a size in cells along each axis, none longer than the map."""
        sides = self.sizes(len(sizes))
        return replace(
            self, size=tuple(min(cells(side, there), there) for side, there in zip(sides, sizes, strict=True))
        )

    def scale(self, factor: float) -> "DropBlockPattern":
        """Returns the pattern for maps `factor` times as large: the block in proportion."""
        return replace(self, size=scaled(self.size, check_factor(factor)))

    def summary(self, axes: int = 2) -> tuple[str, ...]:
        lines = (f"DropBlock {described(on_axes(self.size, axes))}", f"rate {self.rate:g}")
        return (*lines, *(["share c"] if self.share_c else []))
