"""What both kinds of pattern have in common."""

import dataclasses
from typing import Any, Self

from tf_autodropout.patterns.document import Document, DocumentError, check_fields


class Pattern(Document):
    """A structured dropout pattern for one site. Use `ConvPattern` or `TransformerPattern`."""

    @property
    def is_identity(self) -> bool:
        """True where the pattern never drops anything."""
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
