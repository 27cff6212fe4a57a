"""What the patterns of maps have in common, whatever they drop there."""

from typing import Any, ClassVar

from tf_autodropout.patterns.extent import Length, along, is_fraction
from tf_autodropout.patterns.pattern import Pattern


class MapPattern(Pattern):
    """A pattern on `(N, T, C)`, `(N, H, W, C)` or `(N, D, H, W, C)`, in either data format."""

    RANKS: ClassVar[tuple[int, ...]] = (3, 4, 5)
    LAYOUT: ClassVar[str] = "(N, T, C), (N, H, W, C) or (N, D, H, W, C)"
    ON_MAPS: ClassVar[bool] = True
    AXIS_NAMES: ClassVar[tuple[str, str]] = ("position", "channel")

    @property
    def has_fractions(self) -> bool:
        return is_fraction(self.size)

    def check_axes(self, axes: int) -> None:
        self.sizes(axes)

    @classmethod
    def sizes_of(cls, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return shape[:-1]

    def sizes(self, axes: int) -> tuple[Length, ...]:
        return along("size", self.size, axes)

    def covers(self, sizes: tuple[int, ...]) -> bool:
        return isinstance(self.size, int) and self.size >= max(sizes)

    def grain(self, axes: int) -> int:
        return min(map(int, self.sizes(axes)))
