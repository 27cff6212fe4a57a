"""The dropout pattern of a ConvNet site (paper, Fig. 2 and 3)."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tf_autodropout.patterns.checks import (
    LONGEST,
    check_bool,
    check_factor,
    check_float,
    check_int,
    check_rate,
    invalid,
    scaled_length,
)
from tf_autodropout.patterns.pattern import Pattern

# Below this distance from 1, shear_x * shear_y makes a shear that flattens the plane onto a line.
_SINGULAR = 1e-6


@dataclass(frozen=True)
class ConvPattern(Pattern):
    """A tiled, sheared and rotated block of dropped cells on maps `(N, H, W, C)`.

    Along one axis the pattern is `repeat` runs of `size` dropped cells with `stride` kept cells
    between the runs. The 2-D pattern is the product of the row profile and the column profile. It
    is sheared, then rotated, and placed at an offset that each example, and each channel unless
    `share_c`, draws for itself, so that every cell of the map is equally likely to be dropped.

    Args:
        size: Cells per run, an int or `(height, width)`. 0 means no pattern: the identity.
        stride: Kept cells between two runs, at least 0.
        repeat: Number of runs along each axis, at least 1.
        rotate: Degrees, counter-clockwise as seen on screen.
        shear_x: Horizontal shear: columns moved per row.
        shear_y: Vertical shear: rows moved per column.
        share_c: True draws one mask for all channels, False one for each channel.
        residual: True applies the pattern to the skip connection of the block as well.
        rate: Probability that a drawn pattern is applied at all, per example and channel (per
            example if `share_c`). Ours; 1.0 is the paper.

    Raises:
        ValueError: a value outside these ranges, or `shear_x * shear_y = 1`.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.ConvPattern(size=(2, 3), rotate=30).scale(2)
        ConvPattern(size=(4, 6), stride=0, repeat=1, rotate=30.0, ... rate=1.0)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figures 2 and 3. The offset, the rounding and `rate`
        are ours: the paper's main text does not fix them.
    """

    TYPE: ClassVar[str] = "ConvPattern"

    size: int | tuple[int, int] = 0
    stride: int = 0
    repeat: int = 1
    rotate: float = 0.0
    shear_x: float = 0.0
    shear_y: float = 0.0
    share_c: bool = False
    residual: bool = False
    rate: float = 1.0

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "size": _check_size(self.size),
            "stride": check_int("stride", self.stride, 0),
            "repeat": check_int("repeat", self.repeat, 1),
            "rotate": check_float("rotate", self.rotate),
            "shear_x": check_float("shear_x", self.shear_x),
            "shear_y": check_float("shear_y", self.shear_y),
            "share_c": check_bool("share_c", self.share_c),
            "residual": check_bool("residual", self.residual),
            "rate": check_rate("rate", self.rate),
        }
        if abs(1.0 - checked["shear_x"] * checked["shear_y"]) < _SINGULAR:
            raise invalid("shear_y", "shear_x * shear_y != 1 (such a shear flattens the plane)", self.shear_y)
        longest = max(checked["size"]) if isinstance(checked["size"], tuple) else checked["size"]
        if checked["repeat"] * (longest + checked["stride"]) > LONGEST:
            raise invalid("size", f"repeat * (size + stride) <= {LONGEST}", self.size)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def height(self) -> int:
        """Rows of one run."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        """Columns of one run."""
        return self.size if isinstance(self.size, int) else self.size[1]

    @property
    def is_identity(self) -> bool:
        return self.size == 0 or self.rate == 0.0

    def scale(self, factor: float) -> "ConvPattern":
        """Returns the pattern for maps `factor` times as high and wide.

        Sizes and strides grow in proportion (the paper's rule for EfficientNet), rounded half up
        and at least 1 where they were at least 1; all else stays.
        """
        factor = check_factor(factor)
        size = (scaled_length(self.height, factor), scaled_length(self.width, factor))
        return replace(self, size=size, stride=scaled_length(self.stride, factor))


def _check_size(size: Any) -> int | tuple[int, int]:
    """Normalizes `size`: a pair of equal numbers is the same pattern as one number."""
    if isinstance(size, tuple | list):
        if len(size) != 2:
            raise invalid("size", "an integer >= 0 or a pair (height, width) of integers >= 1", size)
        height, width = (check_int("size", side, 0) for side in size)
        if height == width:
            return height
        if 0 in (height, width):
            raise invalid("size", "both sides >= 1, or 0 for no pattern", size)
        return height, width
    return check_int("size", size, 0)
