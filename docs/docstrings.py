"""Lets the API page read this project's docstrings: a section `Example:` is what the reader calls `Examples:`."""

from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Renames the section while the sources are read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each object that was found."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
