"""Pictures of patterns: several draws, the keep ratio, the drop probability of each cell."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from matplotlib.figure import Figure

from tf_autodropout.masks import check_sizes
from tf_autodropout.patterns import Pattern, PatternSet
from tf_autodropout.visualize.sheet import draw_mask, draw_probability, label_axes, new_sheet
from tf_autodropout.visualize.telling import Place
from tf_autodropout.visualize.visits import visit

_MOST_DRAWS = 256


def plot(
    pattern: Pattern | PatternSet | keras.Model,
    shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    draws: int = 5,
    seed: int = 0,
) -> Figure:
    """Draws masks of a pattern, or one row of masks for each site of a PatternSet or of a model.

    Dark cells are dropped, light cells are kept. A picture is the map of one example and channel, of three axes as
    slices along the depth; or one example of tokens, a token a row and a feature a column. The draws are ones that
    drop something, where a bounded search finds such; the caption says how often the pattern acts at all. The last
    panel is the exact drop probability, a number where all cells have the same. Of arrays too large for a picture
    means over boxes of cells are shown, or a window; the caption says which. A site without pattern is named only.

    Args:
        pattern: A pattern, a `PatternSet`, or a model with patterns.
        shape: Shape of one example, channels last: `(T, C)`, `(H, W, C)` or `(D, H, W, C)`. For a PatternSet a mapping
            from site to shape. A model knows its own, but for sizes that it leaves open: these are 32, or what a
            mapping from site to shape says.
        draws: Number of masks a row, 1 to 256.
        seed: Seeds the masks.

    Returns:
        matplotlib `Figure`; `figure.savefig("masks.png")` writes it.

    Raises:
        TypeError: `pattern` is none of these.
        ValueError: a shape of the wrong rank or without cells, a site without a shape, `draws` out of range, a model
            without patterns.

    Example:
        >>> import tf_autodropout as tad
        >>> figure = tad.visualize.plot(tad.ConvPattern(size=3, rotate=30), shape=(16, 16, 8))
        >>> len(figure.axes)
        6
    """
    check_draws(draws)
    places = places_of(pattern, shape)
    empty = [place.pattern.is_identity and len(places) > 1 for place in places]
    figure, grid = new_sheet(places, draws + 1, empty)
    for index, (axes, place, none) in enumerate(zip(grid, places, empty, strict=True)):
        if none:
            continue
        *panels, last = axes
        for panel, mask in zip(panels, place.masks(draws, (seed, index)), strict=True):
            draw_mask(panel, place, mask)
        draw_probability(last, place)
        label_axes(axes[0], place)
    return figure


def check_draws(draws: int) -> None:
    """Raises `ValueError` unless so many draws fit into a row."""
    if isinstance(draws, bool) or not isinstance(draws, int) or not 1 <= draws <= _MOST_DRAWS:
        raise ValueError(f"Invalid value for 'draws'. Expected 1 to {_MOST_DRAWS}. Received: draws={draws}")


def summary(pattern: Pattern) -> str:
    """Describes a pattern in a few short lines, as captions and tables need it."""
    if pattern.is_identity:
        return "no pattern"
    return "\n".join(pattern.summary())


def places_of(pattern: Any, shape: Any) -> list[Place]:
    """Returns the rows of a picture; see `plot`."""
    if isinstance(pattern, Pattern):
        return [_place("", pattern, shape)]
    if isinstance(pattern, keras.Model):
        if not isinstance(shape, Mapping | None):
            raise ValueError(f"Expected 'shape' of a model to map sites to shapes. Received: shape={shape!r}")
        visits, given = visit(pattern), dict(shape or {})
        if unknown := given.keys() - {one.site for one in visits}:
            raise ValueError(f"Model '{pattern.name}' has no site with a pattern named {sorted(unknown)[0]!r}")
        for one in visits:
            if one.site in given:
                _place(one.site, one.pattern, given[one.site])
        return [one.place(check_sizes(given[one.site]) if one.site in given else None) for one in visits]
    if not isinstance(pattern, PatternSet):
        raise TypeError(f"Expected 'pattern' to be a pattern, a PatternSet or a model. Received: pattern={pattern!r}")
    if not isinstance(shape, Mapping):
        raise ValueError(f"Expected 'shape' to map each site to its shape. Received: shape={shape!r}")
    if missing := [site for site in pattern if site not in shape]:
        raise ValueError(f"Expected a shape for each site. Received: none for '{missing[0]}'")
    if not pattern:
        raise ValueError("Expected a PatternSet with at least one site.")
    return [_place(site, one, shape[site]) for site, one in pattern.items()]


def _place(site: str, pattern: Pattern, shape: Any) -> Place:
    sizes = check_sizes(shape)
    ranks = pattern.example_ranks()
    if len(sizes) not in ranks or min(sizes) < 1:
        kind = "(T, C), (H, W, C) or (D, H, W, C)" if len(ranks) > 1 else "(T, C)"
        where = f" at site '{site}'" if site else ""
        raise ValueError(f"Expected a shape {kind} for {pattern.TYPE}{where}. Received: shape={shape!r}")
    pattern.check_rank(len(sizes) + 1)
    return Place(site, pattern, sizes, names=pattern.AXIS_NAMES)
