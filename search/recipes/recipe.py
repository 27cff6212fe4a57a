"""`Recipe`: one cell of the paper's tables, every number with its source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tf_autodropout.patterns.checks import invalid

SCALES = ("tiny", "small", "full")
FINAL, SEARCH = "final", "search"
AUTODROPOUT = "AutoDropout"


@dataclass(frozen=True)
class Setting:
    """A number of a recipe and where it is from.

    Args:
        value: The number, or the name.
        source: `"paper"`, `"public: ..."` with repository and file, or `"ours: ..."` with the reason.

    Raises:
        ValueError: a source of another form.
    """

    value: Any
    source: str

    def __post_init__(self) -> None:
        if not self.source.startswith(("paper", "public: ", "ours: ")):
            raise invalid("source", "'paper', 'public: ...' or 'ours: ...'", self.source)


def paper(value: Any) -> Setting:
    """A number of the paper's main text; its appendix could not be obtained."""
    return Setting(value, "paper")


def public(value: Any, source: str) -> Setting:
    """A number of a public recipe."""
    return Setting(value, f"public: {source}")


def ours(value: Any, why: str) -> Setting:
    """A number that no source gives."""
    return Setting(value, f"ours: {why}")


@dataclass(frozen=True)
class Recipe:
    """One cell of Tables 1 to 4: what is trained, how, and what the paper reports.

    Args:
        table: Number of the table in the paper, 1 to 4.
        column: Data set and network, as a heading.
        row: The regularization or augmentation; `"search"` for the search that finds the patterns.
        kind: `"final"` or `"search"`.
        training: What trains it: `"images"`, `"uda"`, `"text"` or `"translation"`.
        data: Key of `data_sets.DATA_SETS`.
        score: Name of the score in the table.
        settings: Numbers at full size.
        scales: What differs at `"tiny"` and `"small"`; all ours.
        noise: Key of `noise.NOISES`, `"patterns"` for a PatternSet.
        figure: The paper's figure with its source; None where it could not be obtained.
        lower_is_better: True for a perplexity.

    Example:
        >>> from tf_autodropout.search.recipes.registry import find
        >>> recipe = find("table1/cifar10/dropblock")
        >>> recipe.figure, recipe.at("full")["steps"], recipe.settings["batch_size"].value
        (Setting(value='96.2', source='paper'), 78200, 128)
    """

    table: int
    column: str
    row: str
    training: str
    data: str
    score: str
    settings: Mapping[str, Setting] = field(repr=False)
    scales: Mapping[str, Mapping[str, Any]] = field(repr=False)
    noise: str = "none"
    figure: Setting | None = None
    kind: str = FINAL
    lower_is_better: bool = False
    place: str = ""  # of the name, between table and row

    @property
    def name(self) -> str:
        """Such as `table1/cifar10/dropblock`."""
        row = self.row.lower().replace(" + ", "-").replace(" ", "-")
        return f"table{self.table}/{self.place}/{row}"

    @property
    def needs_patterns(self) -> bool:
        """True if the row trains with a PatternSet that a search has found."""
        return self.noise == "patterns"

    def at(self, scale: str) -> dict[str, Any]:
        """Returns the plain settings at a scale.

        Raises:
            ValueError: an unknown scale.
        """
        if scale not in SCALES:
            raise invalid("scale", f"one of {', '.join(SCALES)}", scale)
        plain = {name: setting.value for name, setting in self.settings.items()}
        return plain | dict(self.scales.get(scale, {}))

    def command(self, scale: str = "full") -> str:
        """Returns the command that trains this row."""
        return (
            f"tf-autodropout reproduce table{self.table} --rows {self.name.partition('/')[2]} --data-dir D "
            f"--scale {scale} --out runs/table{self.table}"
        )
