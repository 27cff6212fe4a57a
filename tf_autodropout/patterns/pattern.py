"""What both kinds of pattern have in common."""

import dataclasses
from typing import Any, ClassVar, Self

from tf_autodropout.patterns.document import Document, DocumentError, check_fields


class Pattern(Document):
    """A structured dropout pattern for one site. Use `ConvPattern`, `TransformerPattern` or `DropBlockPattern`."""

    RANKS: ClassVar[tuple[int, ...]]  # of the tensors that it drops from; any larger one if `ANY_LARGER`
    ANY_LARGER: ClassVar[bool] = False
    LAYOUT: ClassVar[str]  # of these tensors, for messages
    rate: float

    @property
    def is_identity(self) -> bool:
        """True where the pattern never drops anything."""
        raise NotImplementedError

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

    def resolve(self, sizes: tuple[int, ...]) -> Self:
        """Returns the pattern with all lengths in cells, for a map of these sizes (without batch and channels)."""
        return self

    def summary(self) -> tuple[str, ...]:
        """Returns the pattern in a few short lines, as captions and tables need it."""
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
