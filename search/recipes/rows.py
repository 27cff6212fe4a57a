"""What a training of a recipe gave, as a JSON file of its own."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tf_autodropout.patterns.document import write_text


@dataclass(frozen=True)
class RowResult:
    """One training of one recipe with one seed.

    Args:
        recipe: Name of the recipe.
        scale: Scale it was trained at.
        seed: Its seed.
        data: Data set it was trained on.
        scores: By name, the one of the table first.
        seconds: Wall time of training and evaluation in the session that ended it.
        patterns: Where its PatternSet was from, None without one.
        facts: Number of parameters and the like.
        plan: The settings as they were.
    """

    recipe: str
    scale: str
    seed: int
    data: str
    scores: Mapping[str, float]
    seconds: float
    patterns: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The score of the table."""
        return next(iter(self.scores.values()), math.nan)

    def save(self, path: Path) -> None:
        """Writes the file beside its place, then renames it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "RowResult":
        """Reads what `save` has written.

        Raises:
            ValueError: not such a file.
        """
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is not the result of a recipe ({error}); delete it to train it anew") from error


def row_directory(out: Path, recipe: str, scale: str, seed: int) -> Path:
    """Returns the directory of one training."""
    return out / "rows" / recipe.replace("/", "-") / f"{scale}-seed{seed}"


def row_file(out: Path, recipe: str, scale: str, seed: int) -> Path:
    """Returns the file of one training."""
    return row_directory(out, recipe, scale, seed) / "result.json"


def load_rows(out: Path, scale: str) -> list[RowResult]:
    """Returns all results of a scale that are in a directory, by recipe and seed."""
    found = [RowResult.load(path) for path in sorted(out.glob(f"rows/*/{scale}-seed*/result.json"))]
    return sorted(found, key=lambda row: (row.recipe, row.seed))
