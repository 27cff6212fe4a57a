"""The sheet of panels that all pictures are: a row for each place, with a caption at its left."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from tf_autodropout.patterns.checks import printable
from tf_autodropout.visualize.telling import Place

_PANEL, _GAP, _TITLE, _LABEL, _SCALE, _EDGE = 1.4, 0.12, 0.23, 0.2, 0.45, 0.1  # inches
_EMPTY = 0.45  # height of a row without pictures
_CAPTION, _LINE = 8.0, 1.3  # points, and the distance of lines in sizes of the type
_DROPPED, KEPT, _BETWEEN = "#1d2a44", "#f7f5f0", "#8fb8de"
MASKS = LinearSegmentedColormap.from_list("masks", [_DROPPED, KEPT]).with_extremes(bad=_BETWEEN)
_CHANCES = LinearSegmentedColormap.from_list("chances", [KEPT, "#f2a65a", "#a63d00"]).with_extremes(bad=_BETWEEN)
_DARK = 0.6  # of the scale of chances: from here on its text is light
_MARK = (0.91, 0.22, 0.15)  # a dropped cell on an activation
_MARK_ALPHA = 0.82


def new_sheet(places: Sequence[Place], columns: int, empty: Sequence[bool], footer: str = "") -> tuple[Figure, Any]:
    """Returns a figure with captions, and its axes, (rows, columns).

    Args:
        places: What the rows are of.
        columns: Panels of a row.
        empty: True for a row without panels.
        footer: A line below all.
    """
    captions = [place.caption for place in places]
    left = _EDGE + max(map(_width, [*(place.label for place in places), *captions])) + 2 * _GAP + 0.08
    width = left + columns * (_PANEL + _GAP) + _SCALE
    heights = [
        _EMPTY if none else _row_height(place, text) for place, text, none in zip(places, captions, empty, strict=True)
    ]
    height = sum(heights) + _EDGE + (0.3 if footer else 0)
    figure = Figure(figsize=(width, height))
    grid, top = [], height - _EDGE / 2
    for place, caption, none, row in zip(places, captions, empty, heights, strict=True):
        bottom = top - (_EMPTY if none else _TITLE + _PANEL)
        side = _EMPTY / 2 if none else _PANEL
        row_of_axes = [
            figure.add_axes(
                (
                    (left + column * (_PANEL + _GAP)) / width,
                    bottom / height,
                    _PANEL / width,
                    side / height,
                )
            )
            for column in range(columns)
        ]
        for axes in row_of_axes:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_anchor("N")
            for spine in axes.spines.values():
                spine.set(linewidth=0.6, color="0.45")
            if none:
                axes.set_axis_off()
        _write_caption(row_of_axes[0], place.label, caption, shift=-_CAPTION * 2.1 if place.is_table else -_CAPTION)
        grid.append(row_of_axes)
        top -= row
    if footer:
        figure.text(
            _EDGE / width, 0.1 / height, _literal(footer), fontsize=_CAPTION, va="bottom", ha="left", color="0.25"
        )
    return figure, grid


def draw_mask(axes: Axes, place: Place, mask: np.ndarray) -> None:
    """Dark where cells are dropped; the title is the share of the cells that is kept."""
    picture = place.view.picture(mask, place.view.origin(mask == 0))
    axes.imshow(picture, cmap=MASKS, vmin=0, vmax=1, **_style(place))
    _title(axes, f"keep {_percent(float(mask.mean()))}")


def draw_activation(axes: Axes, place: Place, activation: np.ndarray, mask: np.ndarray | None = None) -> None:
    """An activation in grey, and the cells that a mask drops on it in red."""
    origin = place.view.origin(np.zeros(place.drawn, bool) if mask is None else mask == 0)
    low, high = np.percentile(activation, (1, 99))
    picture = place.view.picture(activation, origin)
    axes.set_facecolor(_BETWEEN)
    axes.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), **_style(place))
    if mask is not None:
        dropped = np.nan_to_num(1 - place.view.picture(mask, origin))
        marks = np.empty((*dropped.shape, 4))
        marks[..., :3], marks[..., 3] = _MARK, _MARK_ALPHA * dropped
        axes.imshow(marks, **_style(place))
        _title(axes, f"keep {_percent(float(mask.mean()))}")


def draw_probability(axes: Axes, place: Place) -> None:
    """The exact drop probability: a number where it is the same for all cells, else a picture with a scale."""
    chances = place.probability
    if chances.ndim == 0:
        chance = float(chances)
        _title(axes, "P(drop)")
        _frame(axes, place)
        axes.set_facecolor(_CHANCES(chance))
        ink = "white" if chance > _DARK else "0.1"
        style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{chance:.3g}", (0.5, 0.5), (0, -2), va="bottom", fontsize=12, color=ink, **style)
        axes.annotate("everywhere", (0.5, 0.5), (0, -5), va="top", fontsize=6.5, color=ink, **style)
        return
    low, high = float(chances.min()), float(chances.max())
    _title(axes, f"P(drop) {low:.2g}–{high:.2g}")
    picture = place.view.picture(chances, (0,) * chances.ndim)
    image = axes.imshow(picture, cmap=_CHANCES, vmin=0, vmax=high, **_style(place))
    scale = axes.figure.colorbar(image, cax=axes.inset_axes((1.05, 0, 0.06, 1)), ticks=[0, high])
    scale.ax.set_yticklabels(["0", f"{high:.2g}"], fontsize=6.5)
    scale.ax.tick_params(length=2, pad=1.5, width=0.5)
    scale.outline.set(linewidth=0.5, edgecolor="0.45")


def label_axes(axes: Axes, place: Place) -> None:
    """Names the axes of a row's first panel."""
    style: dict[str, Any] = {"fontsize": 6.5, "labelpad": 2, "color": "0.35"}
    if place.is_table:
        axes.set_ylabel(f"← {place.names[0]}", **style)
        axes.set_xlabel(f"{place.names[1]} →", **style)
    elif len(place.sizes) == 3:
        shown = place.view.window[0]
        axes.set_xlabel(f"{shown} slices along depth", **style)


def _style(place: Place) -> dict[str, Any]:
    # A map has square cells; tokens and features have no common scale.
    return {"interpolation": "nearest", "aspect": "auto" if place.is_table else "equal"}


def _frame(axes: Axes, place: Place) -> None:
    """The panel of a number has the frame of the pictures beside it."""
    if not place.is_table:
        h, w = place.view.picture(np.broadcast_to(np.float32(0), place.drawn), (0,) * len(place.drawn)).shape
        axes.set_box_aspect(h / w)


def _percent(share: float) -> str:
    """Never 100 % where something is dropped, nor 0 % where something is kept."""
    for digits in (0, 1, 2, 3):
        text = f"{share:.{digits}%}"
        if share in (0, 1) or float(text[:-1]) not in (0, 100):
            break
    return text


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=8, pad=3)


def _row_height(place: Place, caption: str) -> float:
    lines = len(caption.splitlines()) + len(place.label.splitlines())
    labelled = place.is_table or len(place.sizes) == 3
    return max(_TITLE + _PANEL + (_LABEL if labelled else _GAP), _TITLE + lines * _CAPTION * _LINE / 72 + _GAP)


def _write_caption(axes: Axes, label: str, caption: str, shift: float) -> None:
    """The label in bold and the caption below it, level with the top of the panel."""
    style: dict[str, Any] = {
        "xycoords": "axes fraction", "textcoords": "offset points", "fontsize": _CAPTION, "ha": "right", "va": "top",
        "linespacing": _LINE * 0.9,
    }  # fmt: skip
    down = 0.0
    if label:
        axes.annotate(_literal(label), (0, 1), (shift, 0), weight="bold", **style)
        down = len(label.splitlines()) * _CAPTION * _LINE
    axes.annotate(_literal(caption), (0, 1), (shift, -down), color="0.25", **style)


def _literal(text: str) -> str:
    """A name as it is: matplotlib takes what is between two dollar signs for a formula."""
    return printable(text).replace("$", r"\$")


def _width(text: str) -> float:
    """Width of a text of several lines in bold, in inches."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(weight="bold")
    return (
        max(
            (
                TextPath((0, 0), _literal(line), size=_CAPTION, prop=font).get_extents().width
                for line in text.splitlines()
                if line
            ),
            default=0.0,
        )
        / 72
    )
