"""`View`: how an array of cells, of any size, becomes a picture that can be read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOST, _MOST_IN_SLICE, _MOST_SLICES = 96, 48, 16  # cells of a picture along an axis
_VISIBLE = 3  # pixels that the shortest run of a pattern must have, where cells are averaged
Cells = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """What of an array is shown: all of it, means over equal boxes of it, or a window.

    Args:
        sizes: Sizes of the array: two, or three for a volume, which is shown as slices along its first axis.
        box: Cells of a pixel along each axis.
        window: Cells shown along each axis.
    """

    sizes: Cells
    box: Cells
    window: Cells

    @classmethod
    def of(cls, sizes: Sequence[int], grain: Sequence[int], square: bool) -> "View":
        """Chooses the view of an array.

        Args:
            sizes: Sizes of the array.
            grain: Length of the shortest run of equal cells along each axis: as long as that is some pixels, cells
                are averaged, else a window is shown.
            square: True where the last two axes have one scale.
        """
        most = [_MOST_SLICES, _MOST_IN_SLICE, _MOST_IN_SLICE] if len(sizes) == 3 else [_MOST] * len(sizes)
        box = [math.ceil(size / limit) for size, limit in zip(sizes, most, strict=True)]
        if len(sizes) == 3:
            box[0] = 1
        if square:
            box[-2:] = [max(box[-2:])] * 2
        fine = [run < _VISIBLE * side for side, run in zip(box, grain, strict=True)]
        if square:
            fine[-2:] = [any(fine[-2:])] * 2
        box = [1 if windowed else side for side, windowed in zip(box, fine, strict=True)]
        window = [min(size, limit * side) for size, side, limit in zip(sizes, box, most, strict=True)]
        return cls(tuple(sizes), tuple(box), tuple(window))

    @property
    def notes(self) -> tuple[str, ...]:
        """Says what is not shown as it is."""
        notes = []
        if self.window != self.sizes:
            text = "×".join(map(str, self.window))
            notes.append(f"seen: {text} of {'×'.join(map(str, self.sizes))}")
        if max(self.box) > 1:
            notes.append(f"a pixel: {'×'.join(map(str, self.box))} cells")
        return tuple(notes)

    def origin(self, dropped: np.ndarray) -> Cells:
        """Returns where the window begins: at the first cell, or where something is dropped if nothing is there."""
        start = (0,) * len(self.sizes)
        if self.window == self.sizes or dropped[self._slices(start)].any() or not dropped.any():
            return start
        places = np.flatnonzero(dropped)
        middle = np.unravel_index(places[len(places) // 2], dropped.shape)
        return tuple(
            int(min(max(place - shown // 2, 0), size - shown))
            for place, shown, size in zip(middle, self.window, self.sizes, strict=True)
        )

    def picture(self, array: np.ndarray, origin: Cells) -> np.ndarray:
        """Returns the picture of an array: 2-D, float32; not a number in the gaps between slices."""
        part: np.ndarray = array[self._slices(origin)].astype(np.float32)
        for axis, side in enumerate(self.box):
            if side > 1:
                starts = np.arange(0, part.shape[axis], side)
                counts = np.diff(np.append(starts, part.shape[axis]))
                shape = [-1 if other == axis else 1 for other in range(part.ndim)]
                part = np.add.reduceat(part, starts, axis) / counts.reshape(shape)
        return part if part.ndim == 2 else _mosaic(part)

    def _slices(self, origin: Cells) -> tuple[slice, ...]:
        return tuple(slice(start, start + shown) for start, shown in zip(origin, self.window, strict=True))


def _mosaic(slices: np.ndarray) -> np.ndarray:
    """(D, H, W) -> the slices side by side, in reading order, with a thin gap between them."""
    d, h, w = slices.shape
    columns = min(d, max(1, round(math.sqrt(d * h / w))))
    rows = math.ceil(d / columns)
    gap = max(1, round(min(h, w) / 12))
    picture = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap), np.nan, np.float32)
    for number, one in enumerate(slices):
        top, left = number // columns * (h + gap), number % columns * (w + gap)
        picture[top : top + h, left : left + w] = one
    return picture
