"""Where batch, map axes and channels are in the shape of a tensor."""

from typing import Any, NamedTuple

import numpy as np

from tf_autodropout.masks.backend import Tensor, xp
from tf_autodropout.patterns.checks import invalid

DATA_FORMATS = ("channels_last", "channels_first")


class MapLayout(NamedTuple):
    """The axes of a tensor of maps.

    Args:
        n: Number of examples, an int or a scalar tensor.
        sizes: Sizes of the map, one to three, ints or scalar tensors.
        c: Number of channels.
        axes: The axes of the map in the tensor.
        channel_axis: The axis of the channels.
    """

    n: Any
    sizes: tuple[Any, ...]
    c: Any
    axes: tuple[int, ...]
    channel_axis: int

    @staticmethod
    def check(data_format: Any) -> None:
        """Raises `ValueError` unless a data format is one of the two."""
        if not isinstance(data_format, str) or data_format not in DATA_FORMATS:
            raise invalid("data_format", f"one of {DATA_FORMATS}", data_format)

    @classmethod
    def of(cls, shape: tuple[Any, ...], data_format: str) -> "MapLayout":
        """Reads a shape in the order of a data format."""
        rank = len(shape)
        channel_axis = 1 if data_format == "channels_first" else rank - 1
        axes = tuple(axis for axis in range(1, rank) if axis != channel_axis)
        return cls(shape[0], tuple(shape[axis] for axis in axes), shape[channel_axis], axes, channel_axis)

    def per_map(self, x: Tensor) -> Tensor:
        """(N, C or 1) -> broadcasts over the axes of the map."""
        if x.shape[1] is None:
            n, c = xp.unstack(xp.shape(x))
            return xp.reshape(x, self._shape({0: n, self.channel_axis: c}))
        return xp.reshape(x, self._shape({0: -1, self.channel_axis: x.shape[1]}))

    def along(self, axis: int, c: int) -> list[Any]:
        """The shape in which (N, size, C) or (N, C, size), as the channels are, broadcasts over the other axes."""
        return self._shape({0: -1, self.axes[axis]: self.sizes[axis], self.channel_axis: c})

    def on_axis(self, x: Any, axis: int) -> Any:
        """Numbers along one axis of the map, an array or a tensor -> broadcasts over all else."""
        return _reshape(x, self._shape({self.axes[axis]: -1}))

    def on_plane(self, x: Any) -> Any:
        """(H, W), an array or a tensor -> broadcasts over all but the last two axes of the map."""
        h, w = x.shape if None not in x.shape else xp.unstack(xp.shape(x))
        return _reshape(x, self._shape({self.axes[-2]: h, self.axes[-1]: w}))

    def _shape(self, sizes: dict[int, Any]) -> list[Any]:
        return [sizes.get(axis, 1) for axis in range(len(self.axes) + 2)]


def _reshape(x: Any, shape: list[Any]) -> Any:
    return x.reshape(shape) if isinstance(x, np.ndarray) else xp.reshape(x, shape)
