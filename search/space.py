"""What the controller decides: tokens for each group of sites, and how they become a PatternSet.

The grids are ours: the paper's are in an appendix that is not public. Sizes and strides of
ConvNets are fractions of the map's smaller side, so that one decision fits sites of different
resolution; a fraction above zero is at least one cell.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tf_autodropout.patterns import ConvPattern, Pattern, PatternSet, Site, TransformerPattern

SPACE_VERSION = 2  # 2: the phase of a TransformerPattern's blocks is uniform (1: the first tokens were dropped less)
GRANULARITIES = ("layer", "block", "stage", "network")

# Fig. 3's eight tokens. Sizes and strides: fractions of the map's smaller side.
CONV_GRID: dict[str, tuple[Any, ...]] = {
    "size": (0.0, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2),
    "stride": (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2),
    "repeat": (1, 2, 3, 4),
    "rotate": (0.0, 15.0, 30.0, 45.0, 60.0, 75.0),
    "shear_x": (0.0, 0.25, 0.5, 0.75),
    "shear_y": (0.0, 0.25, 0.5, 0.75),
    "share_c": (False, True),
    "residual": (False, True),
}
# Fig. 4's tokens and a rate. Sizes and strides: tokens; "all" is the length of the sequence.
TRANSFORMER_GRID: dict[str, tuple[Any, ...]] = {
    "size": (0, 1, 2, 4, 8, "all"),
    "stride": (0, 1, 2, 4, 8),
    "share_t": (False, True),
    "share_c": (False, True),
    "rate": (0.05, 0.1, 0.2, 0.3, 0.4),
}


_OF_PLANES = ("rotate", "shear_x", "shear_y")  # maps of one axis cannot be turned


@dataclass(frozen=True)
class Decision:
    """One token of the sequence: which value of `values` for `token` at `group`."""

    group: str
    token: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class SearchSpace:
    """The sequences of tokens that stand for PatternSets.

    Args:
        sites: The sites of the child.
        granularity: `"layer"` decides for each site, `"block"`, `"stage"` and `"network"` for all
            sites of one block, one stage or the whole network together; sites of different kinds are apart.

    Raises:
        ValueError: no sites, equal names, an unknown granularity.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.space import SearchSpace
        >>> space = SearchSpace(tad.sites(tad.models.transformer_lm(1000, 32)).as_sites())
        >>> len(space.decisions)
        35
        >>> space.decode([1, 0, 0, 0, 2] + [0] * 30)["query"]
        TransformerPattern(size=1, stride=0, share_t=False, share_c=False, rate=0.2)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figures 3 and 4; `rate`, the grids and the coarser
        granularities are ours.
    """

    sites: tuple[Site, ...]
    granularity: str = "layer"

    def __post_init__(self) -> None:
        if self.granularity not in GRANULARITIES:
            raise ValueError(
                f"Invalid value for 'granularity'. Expected one of {GRANULARITIES}. Received: {self.granularity!r}"
            )
        if not self.sites:
            raise ValueError("Expected 'sites' to be one or more sites.")
        if len({site.name for site in self.sites}) != len(self.sites):
            raise ValueError("Expected the names of 'sites' to differ.")

    @cached_property
    def grids(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """Kind of site to its grid, token name to values."""
        return {_kind(site): _grid(site) for site in self.sites}

    @property
    def grid(self) -> dict[str, tuple[Any, ...]]:
        """The grid of a space of one kind of site; of several, that of the first."""
        return _grid(self.sites[0])

    @cached_property
    def groups(self) -> dict[str, tuple[Site, ...]]:
        """Group name to its sites, in the order of the network."""
        groups: dict[str, tuple[Site, ...]] = {}
        for site in self.sites:
            name = {"layer": site.name, "block": site.block, "stage": site.stage, "network": "network"}[
                self.granularity
            ]
            if len(self.grids) > 1 and self.granularity != "layer":
                name = f"{name} {_kind(site)}".strip()
            groups[name] = (*groups.get(name, ()), site)
        return groups

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """The tokens in the order in which the controller writes them."""
        return tuple(
            Decision(group, token, values)
            for group, sites in self.groups.items()
            for token, values in _grid(sites[0]).items()
        )

    @cached_property
    def vocabulary_sizes(self) -> tuple[int, ...]:
        """Number of values of each decision."""
        return tuple(len(decision.values) for decision in self.decisions)

    def decode(self, tokens: Sequence[int]) -> PatternSet:
        """Turns one index per decision into a PatternSet.

        Raises:
            ValueError: the wrong number of tokens, or an index outside its decision's values.
        """
        if len(tokens) != len(self.decisions):
            raise ValueError(f"Expected {len(self.decisions)} tokens. Received: {len(tokens)}")
        chosen: dict[str, dict[str, Any]] = {}
        for token, decision in zip(tokens, self.decisions, strict=True):
            if not 0 <= token < len(decision.values):
                raise ValueError(
                    f"Expected 0 <= token < {len(decision.values)} for '{decision.token}' of '{decision.group}'. "
                    f"Received: {token}"
                )
            chosen.setdefault(decision.group, {})[decision.token] = decision.values[token]
        return PatternSet(
            {site.name: _pattern(site, chosen[group]) for group, sites in self.groups.items() for site in sites}
        )

    def takes(self, patterns: Mapping[str, Pattern]) -> bool:
        """Whether all patterns are at sites of their kind."""
        kinds = {site.name: site.kind for site in self.sites}
        return all(isinstance(pattern, kinds.get(site, ())) for site, pattern in patterns.items())

    def encode(self, patterns: Mapping[str, Pattern]) -> tuple[int, ...] | None:
        """Returns tokens that `decode` turns into patterns that drop the same; None if there are none.

        Args:
            patterns: Site to pattern; sites left out have none.
        """
        tokens: list[int] = []
        for sites in self.groups.values():
            found = self._encoded(sites, [patterns.get(site.name, site.kind()) for site in sites])
            if found is None:
                return None
            tokens += found
        return tuple(tokens)

    def _encoded(self, sites: Sequence[Site], patterns: Sequence[Pattern]) -> list[int] | None:
        """The tokens of one group: those that, each by itself, give the first site what its pattern has."""
        grid, wanted = _grid(sites[0]), [of_length(p, site) for p, site in zip(patterns, sites, strict=True)]
        chosen = {token: values[0] for token, values in grid.items()}
        for token, values in grid.items() if not wanted[0].is_identity else ():
            made = [getattr(_pattern(sites[0], chosen | {token: value}), token) for value in values]
            if getattr(wanted[0], token, None) not in made:
                return None
            chosen[token] = values[made.index(getattr(wanted[0], token))]
        for site, pattern in zip(sites, wanted, strict=True):
            made_here = _pattern(site, chosen)
            if made_here != pattern and not (made_here.is_identity and pattern.is_identity):
                return None
        return [values.index(chosen[token]) for token, values in grid.items()]

    def draws(self, seed: int) -> Iterator[PatternSet]:
        """Returns endlessly many PatternSets, each token of each drawn uniformly.

        Args:
            seed: Any int.
        """
        rng = np.random.default_rng([seed & 0xFFFFFFFF, 3])
        while True:
            yield self.decode([int(rng.integers(size)) for size in self.vocabulary_sizes])

    def describe(self) -> dict[str, Any]:
        """Returns what identifies the space, as JSON types: two runs agree only if these do."""
        described: dict[str, Any] = {
            "version": SPACE_VERSION,
            "granularity": self.granularity,
            "kind": self.sites[0].kind.__name__,
            "sites": {site.name: list(site.shape) for site in self.sites},
            "grid": {token: list(values) for token, values in self.grid.items()},
        }
        if len(self.grids) == 1:
            return described
        return described | {
            "kind": "mixed",
            "kinds": {site.name: _kind(site) for site in self.sites},
            "grid": {
                f"{kind} {token}": list(values) for kind, grid in self.grids.items() for token, values in grid.items()
            },
        }


def _kind(site: Site) -> str:
    """What tells sites apart that cannot share a decision."""
    axes = len(site.shape) - 1
    return site.kind.__name__ + (f" {axes}D" if site.kind is ConvPattern and axes != 2 else "")


def _grid(site: Site) -> dict[str, tuple[Any, ...]]:
    if site.kind is not ConvPattern:
        return TRANSFORMER_GRID
    if len(site.shape) > 2:
        return CONV_GRID
    return {token: values for token, values in CONV_GRID.items() if token not in _OF_PLANES}


def _pattern(site: Site, values: dict[str, Any]) -> ConvPattern | TransformerPattern:
    if site.kind is ConvPattern:
        side = min(site.shape[:-1])
        return ConvPattern(**(values | {name: cells(values[name], side) for name in ("size", "stride")}))
    return TransformerPattern(**(values | {"size": site.shape[0] if values["size"] == "all" else values["size"]}))


def of_length(pattern: Pattern, site: Site) -> Pattern:
    """A pattern over the whole sequence with the length that a space writes for it."""
    if isinstance(pattern, TransformerPattern) and pattern.size >= site.shape[0]:
        return replace(pattern, size=site.shape[0])
    return pattern


def cells(fraction: float, side: int) -> int:
    """Returns the cells of a fraction of a side, half up; at least one unless the fraction is zero."""
    return max(1, math.floor(fraction * side + 0.5)) if fraction else 0
