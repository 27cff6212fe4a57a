"""What all kinds of pattern have in common, and what each of them tells of itself."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from tf_autodropout.patterns.checks import WHOLE
from tf_autodropout.patterns.document import Document, DocumentError, check_fields
from tf_autodropout.patterns.extent import Length

DROP_PATH = "DropPath"
Choices = tuple[Any, ...]  # the values of one decision


class Pattern(Document):
    """A structured dropout pattern for one site. Use `ConvPattern`, `TransformerPattern` or `DropBlockPattern`.

    Whoever handles patterns asks them what they are, not of which class. The `sizes` of its methods are those of the
    map, or the number of tokens: what `sizes_of` reads from the shape of one example.

    Example:
        >>> import tf_autodropout as tad
        >>> for pattern in (tad.members.spatial_dropout(0.2), tad.members.word_dropout(0.2)):
        ...     print(pattern.ON_MAPS, pattern.sizes_of((8, 8, 64)), pattern.classic((8,)), list(pattern.GRID)[:3])
        True (8, 8) Spatial Dropout ['size', 'stride', 'repeat']
        False (8,) Word Dropout ['size', 'stride', 'share_t']
    """

    RANKS: ClassVar[tuple[int, ...]]  # of the tensors that it drops from; any larger one if `ANY_LARGER`
    ANY_LARGER: ClassVar[bool] = False
    LAYOUT: ClassVar[str]  # of these tensors, for messages
    ON_MAPS: ClassVar[bool] = (
        False  # it lies on the axes of a map, in either data format; else along one axis of tokens
    )
    AXIS_NAMES: ClassVar[tuple[str, str]] = ("token", "feature")  # of a table of one example
    GRID: ClassVar[Mapping[str, Choices]] = {}  # what a search decides, field to values; nothing: it is not searched
    size: Any  # 0 for no pattern
    rate: float
    share_c: bool
    residual: bool = False  # True: acts on the skip connection of the block as well

    @property
    def is_identity(self) -> bool:
        """True where the pattern never drops anything."""
        return self.size == 0 or self.rate == 0.0

    @property
    def has_fractions(self) -> bool:
        """True if a length is a fraction of the map; `resolve` makes it cells."""
        return False

    def check_rank(self, rank: int) -> None:
        """Raises `ValueError` unless the pattern can be drawn on tensors of this rank."""
        if rank not in self.RANKS and not (self.ANY_LARGER and rank > max(self.RANKS)):
            raise ValueError(f"{self.TYPE} needs a tensor {self.LAYOUT}. Received: a tensor of rank {rank}")
        self.check_axes(rank - 2)

    def check_axes(self, axes: int) -> None:
        """Raises `ValueError` unless the pattern suits a map of so many axes."""

    @classmethod
    def example_ranks(cls) -> tuple[int, ...]:
        """Returns how many sizes the shape of one example may have at a site: without the batch, with channels."""
        return tuple(rank - 1 for rank in cls.RANKS if rank > 2)

    @classmethod
    def sizes_of(cls, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns the sizes that count, from the shape of one example with channels or features last."""
        return shape[:1] if len(shape) > 1 else (1,)

    @classmethod
    def grid(cls, axes: int) -> dict[str, Choices]:
        """Returns what a search decides at a site with so many sizes, field to values: `GRID`, or a part of it."""
        return dict(cls.GRID)

    @classmethod
    def decided(cls, values: Mapping[str, Any], sizes: tuple[int, ...]) -> Self:
        """Returns the pattern of a site, from a value of the grid for each field."""
        return cls(**values)

    def sizes(self, axes: int) -> tuple[Length, ...]:
        """Returns the size along each of the axes of a map, or along the tokens."""
        return (self.size,)

    def resolve(self, sizes: tuple[int, ...]) -> Self:
        """Returns the pattern with all lengths in cells, for a map of these sizes (without batch and channels)."""
        return self

    def within(self, sizes: tuple[int, ...]) -> Self:
        """Returns the pattern that drops the same here, written with the length that a search space has for it."""
        return self

    def covers(self, sizes: tuple[int, ...]) -> bool:
        """True if it is one block over all that there is."""
        raise NotImplementedError

    def classic(self, sizes: tuple[int, ...]) -> str:
        """Returns the name of the classic whose structure it has, whatever its rate."""
        raise NotImplementedError

    def is_drop_path(self, sizes: tuple[int, ...] = (WHOLE,)) -> bool:
        """True if it drops whole examples, here or (without `sizes`) anywhere; a skip connection must carry them on."""
        return self.classic(sizes) == DROP_PATH

    def all_or_none(self, sizes: tuple[int, ...]) -> bool:
        """True if one draw by `rate` decides whether all of it is applied, else each of its parts has its own."""
        return self.is_drop_path(sizes)

    def chance(self, sizes: tuple[int, ...]) -> float:
        """Returns how likely it is to be applied at all, where that has a meaning; else 1. All lengths are in cells."""
        return self.rate if self.all_or_none(sizes) else 1.0

    def share(self, sizes: tuple[int, ...]) -> float:
        """Returns about the share of the cells or tokens that it drops, from its lengths, which are in cells."""
        raise NotImplementedError

    def grain(self, axes: int) -> int:
        """Returns the length of its shortest run of cells that fare alike. All lengths are in cells."""
        raise NotImplementedError

    def summary(self, axes: int = 2) -> tuple[str, ...]:
        """Returns the pattern in a few short lines, as captions and tables need it, for maps of so many axes."""
        raise NotImplementedError

    def scale(self, factor: float) -> Self:
        """Returns the pattern for a map `factor` times as large along each axis."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any], where: str = "document") -> Self:
        check_fields(fields, {field.name for field in dataclasses.fields(cls)}, where)  # type: ignore[arg-type]
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise DocumentError(f"{where}: {error}") from None
