"""A fourth kind of pattern, as somebody would add it: one class, what draws it, and a line in each of two tables."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from tf_autodropout.masks.backend import xp
from tf_autodropout.masks.drop import Drop, times
from tf_autodropout.masks.hashing import bernoulli, counters, key_of
from tf_autodropout.masks.kinds import MaskKind
from tf_autodropout.masks.layout import MapLayout
from tf_autodropout.masks.values import fixed
from tf_autodropout.patterns import MapPattern


@dataclass(frozen=True)
class RowPattern(MapPattern):
    """Whole rows of maps, for all channels together; the size is 1 or 0."""

    TYPE: ClassVar[str] = "RowPattern"
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {"size": (0, 1), "rate": (0.1, 0.5)}
    size: int = 0
    rate: float = 0.5
    share_c: bool = True

    def classic(self, sizes: tuple[int, ...]) -> str:
        return "rows"

    def share(self, sizes: tuple[int, ...]) -> float:
        return self.rate

    def summary(self, axes: int = 2) -> tuple[str, ...]:
        return ("rows", f"rate {self.rate:g}")

    def scale(self, factor: float) -> "RowPattern":
        return replace(self)


class RowValues(NamedTuple):
    size: int
    rate: Any

    @property
    def is_identity(self) -> bool:
        return self.size == 0


def drop_rows(values: RowValues, shape: tuple[Any, ...], words: Any, data_format: str) -> Drop:
    layout = MapLayout.of(shape, data_format)
    n, rows = layout.n, layout.sizes[0]
    drawn = bernoulli(key_of(*words), counters(n, rows), values.rate)
    there = [n if axis == 0 else rows if axis == layout.axes[0] else 1 for axis in range(len(shape))]
    return Drop((xp.reshape(drawn, there),), times(n, rows))


ROWS = MaskKind(
    RowPattern,
    RowValues,
    lambda pattern, axes: RowValues(pattern.size, fixed(pattern.rate)),
    drop_rows,
    lambda pattern, sizes: pattern.rate,
)
