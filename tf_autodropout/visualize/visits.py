"""What arrives at the pattern layers of a model, the hidden ones included."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tf_autodropout.layers import PatternDropout
from tf_autodropout.layers.recording import recording
from tf_autodropout.masks.backend import xp
from tf_autodropout.masks.layout import MapLayout
from tf_autodropout.patterns import Pattern
from tf_autodropout.surgery.objects import OBJECTS
from tf_autodropout.visualize.telling import Place

_UNKNOWN = 32  # stands for a size that the model leaves open
Look = Callable[[np.ndarray, bool], np.ndarray]  # of activations, channels or features last, and if they are tokens


@dataclass
class Visit:
    """A site of a model that has a pattern, as a call of the model found it.

    Args:
        site: Its name.
        pattern: Its pattern, as it acts there.
        shape: Shape of one example, channels last, or tokens by features; None for a size that is not known.
        layer: The first layer there with this pattern and shape.
        twins: Number of layers there with this pattern and shape.
        activation: What `look` made of the inputs.
    """

    site: str
    pattern: Pattern
    shape: tuple[int | None, ...]
    layer: PatternDropout
    twins: int = 1
    activation: np.ndarray | None = None

    def place(self, shape: tuple[int, ...] | None = None) -> Place:
        """Returns the visit as a row of a picture; sizes that are not known are 32 unless a shape is given."""
        known = shape or tuple(_UNKNOWN if size is None else int(size) for size in self.shape)
        text = "×".join(f"?={size}" if open_ is None and not shape else str(size) for open_, size in zip(
            self.shape if not shape else known, known, strict=True))  # fmt: skip
        notes = [f"{self.twins} layers alike"] if self.twins > 1 else []
        if (schedule := self.layer.schedule) is not None:
            notes.append(f"schedule ×{schedule.first:g} to ×{schedule.last:g}")
        heads = not self.pattern.ON_MAPS and self.layer.token_axis != 1
        names = ("key", "head and query") if heads else self.pattern.AXIS_NAMES
        return Place(f"{self.site}\n{text}", self.pattern, known, tuple(notes), names)


def visit(model: keras.Model, inputs: Any = None, look: Look | None = None) -> list[Visit]:
    """Calls a model, not in training, and returns its sites with a pattern in the order of the call.

    Args:
        model: Any Keras model.
        inputs: What it is called with; None traces it without computing anything, for the shapes.
        look: Takes from the activations what is kept.

    Raises:
        TypeError: not a Keras model.
        ValueError: no site has a pattern, or a model without inputs to trace it with.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected 'model' to be a Keras model. Received: model={model!r}")
    found: dict[tuple[str, Pattern, tuple[int | None, ...]], Visit] = {}
    seen: set[int] = set()

    def observe(layer: PatternDropout, x: Any) -> None:
        if id(layer) in seen:  # a layer may be called more than once
            return
        seen.add(id(layer))
        pattern = layer.pattern
        if pattern.is_identity or (layer.on_skip and not pattern.residual):
            return
        x = _tokens_or_channels_last(layer, pattern, x)
        key = (layer.site, pattern, tuple(x.shape[1:]))
        if key in found:
            found[key].twins += 1
            return
        found[key] = Visit(layer.site, pattern, tuple(x.shape[1:]), layer)
        if look is not None and xp.has_values(x):  # not where a model traces a part of itself
            found[key].activation = look(np.asarray(keras.ops.convert_to_numpy(x), np.float32), len(x.shape) == 3)

    with recording(observe):
        if inputs is None:
            _trace(model)
        else:
            model(inputs, training=False)
    if not found:
        raise ValueError(
            f"Model '{model.name}' has no site with a pattern. Expected one that tad.regularize returns, or that holds "
            "tad.PatternDropout layers."
        )
    return list(found.values())


def _tokens_or_channels_last(layer: PatternDropout, pattern: Pattern, x: Any) -> Any:
    rank = len(x.shape)
    if pattern.ON_MAPS:
        layout = MapLayout.of(tuple(x.shape), layer.data_format)
        return keras.ops.transpose(x, (0, *layout.axes, layout.channel_axis))
    if rank == 2:  # one token an example
        return keras.ops.expand_dims(x, 1)
    if layer.token_axis != 1 or rank > 3:
        x = keras.ops.moveaxis(x, layer.token_axis, 1)
        sizes = tuple(x.shape)
        if None in sizes[2:]:
            return keras.KerasTensor((sizes[0], sizes[1], None), keras.backend.standardize_dtype(x.dtype))
        return keras.ops.reshape(x, (-1, sizes[1] or keras.ops.shape(x)[1], int(np.prod(sizes[2:]))))
    return x


def _trace(model: keras.Model) -> None:
    """Calls a model on symbols."""
    try:
        structure = model.input
    except (AttributeError, ValueError):
        structure = None
    if structure is None:
        raise ValueError(
            f"Model '{model.name}' does not tell the shape of its inputs: give a batch, tad.show(model, x)."
        )
    OBJECTS.call_on_symbols(lambda inputs: model(inputs, training=False), structure)
