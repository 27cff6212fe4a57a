"""Pictures of patterns: several draws, the keep ratio, the drop probability of each cell."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tf_autodropout.masks import check_sizes, keep_mask
from tf_autodropout.patterns import ConvPattern, Pattern, PatternSet

_MARGINAL_DRAWS, _MOST_SHOWN = 1024, 256
_EMPTY_ROW = 0.3  # height of a site without pattern, as a share of the others'


def plot(
    pattern: Pattern | PatternSet,
    shape: Sequence[int] | Mapping[str, Sequence[int]],
    draws: int = 5,
    seed: int = 0,
) -> Figure:
    """Draws masks of a pattern, or one row of masks for each site of a PatternSet.

    Black cells are dropped, white cells are kept. For a `ConvPattern` a picture is the map of one
    example and channel; for a `TransformerPattern` it is one example, a token a row and a feature a
    column. The last picture of a row is the drop probability of each cell over 1024
    draws, their mean in middle grey. A site without pattern is named, without pictures.

    Args:
        pattern: `ConvPattern`, `TransformerPattern` or `PatternSet`.
        shape: Shape of one example, `(H, W, C)` or `(T, C)`; for a PatternSet a mapping from
            site to shape.
        draws: Number of masks a row, 1 to 256.
        seed: Seeds the masks.

    Returns:
        matplotlib `Figure`; `figure.savefig("masks.png")` writes it.

    Raises:
        TypeError: `pattern` is neither.
        ValueError: a shape of the wrong rank or without cells, a site without a shape, `draws` out of range.

    Example:
        >>> import tf_autodropout as tad
        >>> figure = tad.visualize.plot(tad.ConvPattern(size=3, rotate=30), shape=(16, 16, 8))
        >>> len(figure.axes)
        6
    """
    if not isinstance(pattern, Pattern | PatternSet):
        raise TypeError(f"Expected 'pattern' to be a pattern or a PatternSet. Received: pattern={pattern!r}")
    if not isinstance(draws, int) or not 1 <= draws <= _MOST_SHOWN:
        raise ValueError(f"Invalid value for 'draws'. Expected 1 to {_MOST_SHOWN}. Received: draws={draws}")
    rows = _rows(pattern, shape)
    heights = [_EMPTY_ROW if one.is_identity and len(rows) > 1 else 1.0 for _, one, _ in rows]
    figure = Figure(figsize=(1.5 + 1.5 * (draws + 1), 1.7 * sum(heights) + 0.3), layout="constrained")
    grid = figure.subplots(len(rows), draws + 1, squeeze=False, height_ratios=heights)
    for index, (axes, height, (site, one, size)) in enumerate(zip(grid, heights, rows, strict=True)):
        if height > _EMPTY_ROW:
            _draw_row(axes, one, size, (seed, index))
        else:
            for panel in axes:
                panel.set_axis_off()
        caption = f"{site}\n{summary(one)}" if site else summary(one)
        axes[0].annotate(
            caption, (0, 0.5), (-18, 0), "axes fraction", "offset points", fontsize=7.5, ha="right", va="center"
        )
    return figure


def _rows(pattern: Pattern | PatternSet, shape: Any) -> list[tuple[str, Pattern, tuple[int, ...]]]:
    if not isinstance(pattern, PatternSet):
        rows = [("", pattern, check_sizes(shape))]
    else:
        if not isinstance(shape, Mapping):
            raise ValueError(f"Expected 'shape' to map each site to its shape. Received: shape={shape!r}")
        if missing := [site for site in pattern if site not in shape]:
            raise ValueError(f"Expected a shape for each site. Received: none for '{missing[0]}'")
        rows = [(site, one, check_sizes(shape[site])) for site, one in pattern.items()]
    for site, one, size in rows:
        rank = 3 if isinstance(one, ConvPattern) else 2
        if len(size) != rank or min(size) < 1:
            kind = "(H, W, C)" if rank == 3 else "(T, C)"
            raise ValueError(f"Expected a shape {kind} for {one.TYPE} {site}. Received: shape={size!r}")
    if not rows:
        raise ValueError("Expected a PatternSet with at least one site.")
    return rows


def _draw_row(axes: Sequence[Any], pattern: Pattern, size: tuple[int, ...], seed: tuple[int, int]) -> None:
    masks = _masks(pattern, size, seed)  # (draws, rows, columns)
    *panels, last = axes
    # A map has square cells; tokens and features have no common scale.
    style: dict[str, Any] = {"vmin": 0, "vmax": 1, "interpolation": "nearest"}
    style["aspect"] = "equal" if isinstance(pattern, ConvPattern) else "auto"
    for panel, mask in zip(panels, masks, strict=False):
        panel.imshow(mask, cmap="gray", **style)
        panel.set_title(f"keep {mask.mean():.0%}", fontsize=8, pad=3)
    marginal = 1.0 - masks.mean(0)
    # The mean is middle grey: what differs from cell to cell is seen at any rate.
    last.imshow(marginal, cmap="gray_r", **style | {"vmax": max(2 * marginal.mean(), 1e-9)})
    last.set_title(f"P(drop) {marginal.min():.2f}–{marginal.max():.2f}", fontsize=8, pad=3)
    for panel in axes:
        panel.set_xticks([])
        panel.set_yticks([])
    rows_are, columns_are = ("row", "column") if isinstance(pattern, ConvPattern) else ("token", "feature")
    axes[0].set_ylabel(f"← {rows_are}", fontsize=6, labelpad=2, color="0.35")
    axes[0].set_xlabel(f"{columns_are} →", fontsize=6, labelpad=2, color="0.35")


def _masks(pattern: Pattern, size: tuple[int, ...], seed: tuple[int, int]) -> np.ndarray:
    if isinstance(pattern, ConvPattern):
        h, w, _ = size
        shape: tuple[int, ...] = (_MARGINAL_DRAWS, h, w, 1)
    else:
        shape = (_MARGINAL_DRAWS, *size)
    mask = np.broadcast_to(keep_mask(pattern, shape, seed).numpy(), shape)
    return mask[..., 0] if isinstance(pattern, ConvPattern) else mask


def summary(pattern: Pattern) -> str:
    """Describes a pattern in a few short lines, as captions and tables need it."""
    if pattern.is_identity:
        return "no pattern"
    return "\n".join(pattern.summary())
