"""The dropout pattern of a ConvNet site (paper, Fig. 2 and 3)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from tf_autodropout.patterns.checks import (
    LONGEST,
    check_bool,
    check_factor,
    check_float,
    check_int,
    check_rate,
    invalid,
)
from tf_autodropout.patterns.extent import (
    Extent,
    Length,
    along,
    cells,
    check_extent,
    described,
    is_fraction,
    longest,
    on_axes,
    portion,
    scaled,
)
from tf_autodropout.patterns.map_pattern import MapPattern
from tf_autodropout.patterns.pattern import DROP_PATH

# Below this distance from 1, shear_x * shear_y makes a shear that flattens the plane onto a line.
_SINGULAR = 1e-6
_OF_PLANES = ("rotate", "shear_x", "shear_y")  # maps of one axis cannot be turned


@dataclass(frozen=True)
class ConvPattern(MapPattern):
    """A tiled, sheared and rotated block of dropped cells on maps of one, two or three axes.

    Along each axis the pattern is `repeat` runs of `size` dropped cells with `stride` kept cells
    between the runs. The pattern is the product of the profiles along the axes. On `(N, H, W, C)` and
    `(N, D, H, W, C)` it is sheared, then rotated, in the plane of rows and columns. It is placed at an offset
    that each example, and each channel unless `share_c`, draws for itself, so that every cell of the map is
    equally likely to be dropped.

    Args:
        size: Length of a run: cells, or a fraction of the map as text (`"1/4"`), which is at least one cell and
            less than the whole map. One for all axes, or one for each: `(height, width)`,
            `(depth, height, width)`. 0 means no pattern: the identity.
        stride: Kept cells between two runs, as `size` is given.
        repeat: Number of runs along each axis, at least 1.
        rotate: Degrees, counter-clockwise as seen on screen. Not on `(N, T, C)`, as the shears.
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
        >>> tad.ConvPattern(size="1/4", stride="1/8", repeat=2).resolve((32, 48)).size
        (8, 12)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figures 2 and 3. The offset, the rounding, `rate`, fractions, and
        what happens on one and three axes are ours: the paper's main text does not fix them.
    """

    TYPE: ClassVar[str] = "ConvPattern"
    # Fig. 3's eight tokens; the values are ours. Sizes and strides: fractions of the map's smaller side.
    GRID: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "size": (0.0, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2),
        "stride": (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2),
        "repeat": (1, 2, 3, 4),
        "rotate": (0.0, 15.0, 30.0, 45.0, 60.0, 75.0),
        "shear_x": (0.0, 0.25, 0.5, 0.75),
        "shear_y": (0.0, 0.25, 0.5, 0.75),
        "share_c": (False, True),
        "residual": (False, True),
    }

    size: Extent = 0
    stride: Extent = 0
    repeat: int = 1
    rotate: float = 0.0
    shear_x: float = 0.0
    shear_y: float = 0.0
    share_c: bool = False
    residual: bool = False
    rate: float = 1.0

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "size": check_extent("size", self.size),
            "stride": check_extent("stride", self.stride),
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
        if checked["repeat"] > LONGEST:
            raise invalid("repeat", f"an integer <= {LONGEST}", self.repeat)
        size, stride = checked["size"], checked["stride"]
        if checked["repeat"] * (longest(size) + longest(stride)) > LONGEST:
            raise invalid("size", f"repeat * (size + stride) <= {LONGEST}", self.size)
        if isinstance(size, tuple) and 0 in size:
            raise invalid("size", "all sides >= 1, or 0 for no pattern", self.size)
        if isinstance(size, tuple) and isinstance(stride, tuple) and len(size) != len(stride):
            raise invalid("stride", f"one for each of the {len(size)} axes of size={size!r}", self.stride)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def is_turned(self) -> bool:
        """True with a rotation or a shear."""
        return bool(self.rotate or self.shear_x or self.shear_y)

    @property
    def has_fractions(self) -> bool:
        return super().has_fractions or is_fraction(self.stride)

    def check_axes(self, axes: int) -> None:
        super().check_axes(axes)
        self.strides(axes)
        if axes == 1 and self.is_turned:
            raise ValueError(
                "ConvPattern cannot be rotated or sheared on maps of one axis, (N, T, C). "
                f"Received: rotate={self.rotate!r}, shear_x={self.shear_x!r}, shear_y={self.shear_y!r}"
            )

    @classmethod
    def grid(cls, axes: int) -> dict[str, tuple[Any, ...]]:
        return {name: values for name, values in cls.GRID.items() if axes > 1 or name not in _OF_PLANES}

    @classmethod
    def decided(cls, values: Mapping[str, Any], sizes: tuple[int, ...]) -> Self:
        return cls(**{**values, **{name: portion(values[name], min(sizes)) for name in ("size", "stride")}})

    def strides(self, axes: int) -> tuple[Length, ...]:
        """Returns the stride along each of the axes of a map."""
        return along("stride", self.stride, axes)

    def resolve(self, sizes: tuple[int, ...]) -> "ConvPattern":
        if not self.has_fractions:
            return self
        axes = len(sizes)
        size, stride = (
            tuple(cells(length, cells_there) for length, cells_there in zip(extent, sizes, strict=True))
            for extent in (self.sizes(axes), self.strides(axes))
        )
        return replace(self, size=size, stride=stride)

    def classic(self, sizes: tuple[int, ...]) -> str:
        if self.covers(sizes):
            return DROP_PATH if self.share_c else "Spatial Dropout"
        return "DropBlock" if self.repeat == 1 else "several blocks"

    def all_or_none(self, sizes: tuple[int, ...]) -> bool:
        return True

    def share(self, sizes: tuple[int, ...]) -> float:
        sides = zip(self.sizes(len(sizes)), sizes, strict=True)
        return math.prod(min(1.0, self.repeat * int(side) / there) for side, there in sides) * self.rate

    def grain(self, axes: int) -> int:
        strides = [int(stride) for stride in self.strides(axes) if stride and self.repeat > 1]
        return min([super().grain(axes), *strides])

    def scale(self, factor: float) -> "ConvPattern":
        """Returns the pattern for maps `factor` times as large along each axis.

        Sizes and strides grow in proportion (the paper's rule for EfficientNet), rounded half up
        and at least 1 where they were at least 1; fractions and all else stay.
        """
        factor = check_factor(factor)
        return replace(self, size=scaled(self.size, factor), stride=scaled(self.stride, factor))

    def summary(self, axes: int = 2) -> tuple[str, ...]:
        lines = [described(on_axes(self.size, axes))]
        if self.repeat > 1:
            lines.append(f"stride {described(self.stride)}, repeat {self.repeat}")
        if self.is_turned:
            shear = f"shear {self.shear_x:g}, {self.shear_y:g}" if self.shear_x or self.shear_y else ""
            lines.append(f"{self.rotate:g}° {shear}".rstrip() if self.rotate else shear)
        flags = [name.replace("_", " ") for name in ("share_c", "residual") if getattr(self, name)]
        flags += [f"rate {self.rate:g}"] if self.rate < 1 else []
        return (*lines, *([", ".join(flags)] if flags else []))
