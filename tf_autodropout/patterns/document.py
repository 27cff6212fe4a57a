"""JSON in and out, with a format version, for every class of this package."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from tf_autodropout.patterns.checks import shown

FORMAT = "tf_autodropout"
FORMAT_VERSION = 1


class DocumentError(ValueError):
    """A JSON document is not what it should be; the message names the place and the fault."""


class Document:
    """Mixin: `.to_json`, `.from_json`, `.save`, `.load` from `to_dict` and `from_dict`.

    A document is a JSON object with `format`, `version`, `type` and the fields of its type, all of
    them required, none unknown.
    """

    TYPE: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types, without the envelope."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, fields: dict[str, Any], where: str = "document") -> Self:
        """Builds the object from `to_dict`'s fields; raises `DocumentError` naming `where`."""
        raise NotImplementedError

    def to_json(self) -> str:
        """Returns the document as JSON text."""
        head = {"format": FORMAT, "version": FORMAT_VERSION, "type": self.TYPE}
        return json.dumps(head | self.to_dict(), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "document") -> Self:
        """Reads JSON text.

        Raises:
            DocumentError: not JSON, another format, an unknown version, another type, a missing or
                unknown field, a value of the wrong type. Nothing is guessed.
        """
        try:
            fields = json.loads(text, object_pairs_hook=_without_duplicates)
        except (ValueError, TypeError, RecursionError) as error:
            raise DocumentError(f"{where}: not valid JSON ({error})") from None
        if not isinstance(fields, dict):
            raise DocumentError(f"{where}: expected a JSON object. Received: {type(fields).__name__}")
        head = {"format": FORMAT, "version": FORMAT_VERSION, "type": cls.TYPE}
        for key, expected in head.items():
            if key not in fields:
                raise DocumentError(f"{where}: missing field '{key}' (expected {expected!r})")
            received = fields.pop(key)
            if received != expected or isinstance(received, bool):
                raise DocumentError(f"{where}: field '{key}': expected {expected!r}. Received: {shown(received)}")
        return cls.from_dict(fields, where)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the document to `path`: beside it first, then renamed, so never by halves."""
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a document from `path`; errors name the file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DocumentError(f"{path}: not valid JSON ({error})") from None
        return cls.from_json(text, where=str(path))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name in fields if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"field {shown(twice)} stands there twice")
    return fields


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` to `path` in one step: a reader sees the old file or the new one."""
    with written_beside(Path(path)) as beside, beside.open("x", encoding="utf-8") as new:
        new.write(text)


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Gives a place beside `path` for a new file, which is renamed at the end, or removed after an error."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.unlink(missing_ok=True)  # of a killed process, or a link of somebody else's
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def check_fields(fields: dict[str, Any], expected: set[str], where: str) -> None:
    """Raises `DocumentError` unless `fields` has exactly the `expected` names."""
    if missing := sorted(expected - fields.keys()):
        raise DocumentError(f"{where}: missing field '{missing[0]}'")
    if unknown := sorted(fields.keys() - expected):
        raise DocumentError(f"{where}: unknown field {shown(unknown[0])} (known: {', '.join(sorted(expected))})")
