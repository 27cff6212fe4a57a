"""What `sites(model)` returns: a table of the places in a model where a pattern can go."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, overload

from tf_autodropout.layers.site_layers import ATTENTION_SITES, TRANSFORMER_SITES
from tf_autodropout.patterns import Pattern, Schedule, Site, TransformerPattern
from tf_autodropout.patterns.checks import printable

_ALL = "all"
_COLUMNS = ("site", "kind", "layer", "shape", "block", "stage", "at add", "pattern")


@dataclass(frozen=True)
class ModelSite:
    """A place in a model where a pattern can go.

    Args:
        name: A key for `regularize`: the layer's name, with the names of the models around it where that is needed
            to tell it from another; inside a Transformer layer followed by `/` and the kind.
        kind: One of the roles `query`, `key`, `value`, `softmax`, `output`, `ffn`, `residual`, or `scores`, before a
            softmax; `"batch_norm"`, `"conv"` or `"recurrent"`; `"layer"` for the output of any other layer; `"own"`
            for a pattern layer that somebody's code calls.
        layer: The layer, with the names of the models around it.
        shape: `(H, W, C)` in channels-last order, `(T, C)` or `(C,)`; None for a size that is not known.
        block: The residual block or the layer the site belongs to.
        stage: The part of the network with one resolution.
        at_add: True if its block ends at an Add with a skip input, which a residual pattern reaches.
        pattern: The pattern that acts there now, None without one.
        recommended: True for the sites that a single pattern goes to.
        pattern_types: The classes of the patterns that fit.
        schedule: The schedule of the pattern, None without one.
    """

    name: str
    kind: str
    layer: str
    shape: tuple[int | None, ...]
    block: str
    stage: str
    at_add: bool
    pattern: Pattern | None = None
    recommended: bool = True
    pattern_types: tuple[type[Pattern], ...] = ()
    schedule: Schedule | None = None

    @property
    def pattern_type(self) -> type[Pattern]:
        """The class of the patterns that are usual here."""
        return self.pattern_types[0] if self.pattern_types else TransformerPattern

    @property
    def is_role(self) -> bool:
        """True for a site that goes by its role: one pattern serves all sites of a kind."""
        return self.kind in TRANSFORMER_SITES

    @property
    def shared_name(self) -> str:
        """Its key in a `PatternSet` for the whole model: its role, or its own name."""
        return self.kind if self.is_role else self.name

    @property
    def shared_parts(self) -> tuple[str, str]:
        """Block and stage of `shared_name`: a role is in all blocks, at the attention or at a place of its own."""
        if not self.is_role:
            return self.block, self.stage
        return ("attention" if self.kind in ATTENTION_SITES else self.kind), _ALL


@dataclass(frozen=True)
class Unreachable:
    """A layer where a pattern cannot be put, and why."""

    layer: str
    reason: str


class SiteTable(Sequence[ModelSite]):
    """The sites of a model; `print` shows it as a table, a notebook as HTML.

    Args:
        rows: The sites in the order of the network.
        unreachable: Layers that would be sites if they could be reached.
    """

    def __init__(self, rows: Sequence[ModelSite], unreachable: Sequence[Unreachable] = ()) -> None:
        self._rows, self.unreachable = tuple(rows), tuple(unreachable)

    @overload
    def __getitem__(self, index: int) -> ModelSite: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ModelSite]: ...
    def __getitem__(self, index: int | slice) -> ModelSite | Sequence[ModelSite]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ModelSite]:
        return iter(self._rows)

    def as_sites(self) -> tuple[Site, ...]:
        """Returns the recommended sites for a `SearchSpace` and for `transfer`: one for each place in a ConvNet, one
        for each role in Transformer layers, since one pattern serves all layers there.

        Raises:
            ValueError: a size that is not known: build the model with a fixed input shape.
        """
        sites: dict[str, Site] = {}
        for row in self:
            if not row.recommended or not row.pattern_types or len(row.shape) < 2:
                continue
            if None in row.shape:
                raise ValueError(f"Site '{row.name}' has the shape {row.shape}. Build the model with fixed sizes.")
            shape = tuple(size for size in row.shape if size is not None)
            sites.setdefault(row.shared_name, Site(row.shared_name, row.pattern_type, shape, *row.shared_parts))
        roles = [role for role in TRANSFORMER_SITES if role in sites]  # in one order for all models
        return (*(sites[role] for role in roles), *(site for name, site in sites.items() if name not in roles))

    def __str__(self) -> str:
        cells = [_COLUMNS, *map(_cells, self)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        if self.unreachable:
            told = (printable(f"  {one.layer}: {one.reason}") for one in self.unreachable)
            lines += ["", "Cannot be reached:", *told]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row(_cells(site), "td") for site in self)
        told = "".join(f"<li>{html.escape(one.layer)}: {html.escape(one.reason)}</li>" for one in self.unreachable)
        rest = f"<p>Cannot be reached:</p><ul>{told}</ul>" if told else ""
        return f"<table><thead>{row(_COLUMNS, 'th')}</thead><tbody>{body}</tbody></table>{rest}"


def _cells(site: ModelSite) -> tuple[str, ...]:
    shape = "×".join("?" if size is None else str(size) for size in site.shape)
    at_add = "yes" if site.at_add else ""
    names = map(printable, (site.name, site.kind, site.layer, shape, site.block, site.stage))
    return *names, at_add, _brief(site.pattern, site.schedule)


def _brief(pattern: Pattern | None, schedule: Schedule | None) -> str:
    """The pattern as it would be written, without what is as it is by default; the rate on tokens always."""
    if pattern is None:
        return ""
    parts = []
    for field in fields(pattern):  # type: ignore[arg-type]
        value = getattr(pattern, field.name)
        if value != field.default or (field.name == "rate" and not pattern.ON_MAPS):
            parts.append(f"{field.name}={_ALL if _covers_all(value) else repr(value)}")
    over_time = "" if schedule is None else f", {schedule}"
    return f"{pattern.TYPE}({', '.join(parts)}){over_time}"


def _covers_all(size: Any) -> bool:
    """True for a size that is meant to be larger than any map."""
    return isinstance(size, int) and size >= 1 << 20
