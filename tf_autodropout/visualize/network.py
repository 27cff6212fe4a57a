"""`network`: the patterns of a model, or a PatternSet, over a drawing of the network."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from tf_autodropout.patterns import Pattern, PatternSet
from tf_autodropout.visualize.plot import places_of
from tf_autodropout.visualize.sheet import KEPT, MASKS
from tf_autodropout.visualize.telling import Place

_LARGEST, _SMALLEST, _BETWEEN = 1.5, 0.62, 0.5  # inches: sides of a map, and between two
_CARDS, _SHIFT = 3, 0.055  # a map is drawn as so many channels, one behind the other
_ROW = 8  # sites in a row


def network(
    pattern: PatternSet | keras.Model, shape: Mapping[str, Sequence[int]] | None = None, seed: int = 0
) -> Figure:
    """Draws a network from left to right, a stack of maps or tokens for each site, and on it a mask of its pattern.

    Stacks are the larger the more cells a site has; dark cells are dropped. A site without pattern is a light stack.
    Below are the site's name, its shape, the share that is dropped and the pattern.

    Args:
        pattern: A `PatternSet`, or a model with patterns.
        shape: Of a PatternSet: site to shape of one example, channels last, in the order of the network. Sites that the
            set does not name are drawn without pattern. A model knows its own, but for sizes that it leaves open.
        seed: Seeds the masks.

    Returns:
        matplotlib `Figure`.

    Raises:
        TypeError: `pattern` is neither.
        ValueError: a site without a shape, a shape of the wrong rank.

    Example:
        >>> import tf_autodropout as tad
        >>> found = tad.PatternSet({"first": tad.ConvPattern(size=4), "last": tad.ConvPattern(size=2)})
        >>> figure = tad.visualize.network(found, {"first": (16, 16, 8), "last": (8, 8, 16)})
        >>> len(figure.axes)
        1
    """
    if not isinstance(pattern, PatternSet | keras.Model):
        raise TypeError(f"Expected 'pattern' to be a PatternSet or a model. Received: pattern={pattern!r}")
    if isinstance(pattern, PatternSet) and isinstance(shape, Mapping):
        # In the order of the network, and what has no pattern too.
        kinds = {site: type(one) for site, one in pattern.items()}
        usual: Any = next(iter(kinds.values()), None)
        if usual is not None:
            named: dict[str, Pattern] = {site: pattern.get(site, usual()) for site in shape}
            pattern = PatternSet(named | dict(pattern))
    places = places_of(pattern, shape)
    rows = [places[start : start + _ROW] for start in range(0, len(places), _ROW)]
    widths = [sum(_side(place, places) + _BETWEEN for place in row) for row in rows]
    width, height = max(max(widths), 3.0) + 0.3, _LARGEST + 1.15
    figure = Figure(figsize=(width, height * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height * len(rows)))
    axes.set_axis_off()
    for number, row in enumerate(rows):
        _row(axes, row, places, (len(rows) - number - 1) * height, seed + number * _ROW, number < len(rows) - 1)
    return figure


def _row(axes: Axes, row: Sequence[Place], places: Sequence[Place], bottom: float, seed: int, goes_on: bool) -> None:
    left, middle = 0.3, bottom + 1.0 + _LARGEST / 2
    for index, place in enumerate(row):
        side = _side(place, places)
        centre = left + side / 2
        _stack(axes, place, (left, middle - side / 2), side, seed + index)
        lines = [f"{'×'.join(map(str, place.shape))}"]
        if not place.pattern.is_identity:
            lines += [f"drops {float(place.probability.mean()):.0%}", *place.pattern.summary()]
        name = place.label.partition("\n")[0]
        name = name if len(name) < 15 else name.replace("_", "_\n", 1)
        down = 0.12 * (1 + name.count("\n"))
        axes.text(centre, bottom + 0.93, name, ha="center", va="top", fontsize=6.5, weight="bold")
        axes.text(
            centre,
            bottom + 0.9 - down,
            "\n".join(lines),
            ha="center",
            va="top",
            fontsize=5.5,
            color="0.3",
            linespacing=1.25,
        )
        left += side
        if index < len(row) - 1 or goes_on:
            style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 8, "color": "0.35", "linewidth": 0.9}
            axes.add_patch(FancyArrowPatch((left + 0.16, middle), (left + _BETWEEN - 0.04, middle), **style))
        left += _BETWEEN


def _stack(axes: Axes, place: Place, corner: tuple[float, float], side: float, seed: int) -> None:
    """Channels one behind the other, the first one with its mask."""
    x, y = corner
    for card in range(_CARDS - 1, -1, -1):
        shift = card * _SHIFT
        box = Rectangle((x + shift, y + shift), side, side, facecolor=KEPT, edgecolor="0.6", linewidth=0.6)
        axes.add_patch(box)
    if place.pattern.is_identity:
        return
    (mask,) = place.masks(1, (seed, 0))
    picture = place.view.picture(mask, place.view.origin(mask == 0))
    extent = (x, x + side, y, y + side)
    axes.imshow(picture, cmap=MASKS, vmin=0, vmax=1, extent=extent, interpolation="nearest", zorder=3)
    axes.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor="0.35", linewidth=0.6, zorder=4))
    axes.set_aspect("equal")


def _side(place: Place, places: Sequence[Place]) -> float:
    """Inches of the side of a stack: by the logarithm of the map's side."""
    sides = [math.log2(max(one.sizes[-1], 1) + 1) for one in places]
    low, high, own = min(sides), max(sides), math.log2(max(place.sizes[-1], 1) + 1)
    return _SMALLEST + (_LARGEST - _SMALLEST) * ((own - low) / (high - low) if high > low else 0.6)
