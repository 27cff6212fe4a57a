"""`show`: what the patterns of a model do to the maps of real inputs."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tf_autodropout.visualize.plot import check_draws
from tf_autodropout.visualize.sheet import draw_activation, draw_mask, draw_probability, label_axes, new_sheet
from tf_autodropout.visualize.visits import Visit, visit

_MOST_ROWS = 12
_EXAMPLES = 8  # of the batch; the rest could tell no more


def show(
    model: keras.Model,
    images: Any = None,
    sites: str | Sequence[str] | None = None,
    draws: int = 4,
    seed: int = 0,
) -> Figure:
    """Shows each site of a model that has a pattern: its masks on the maps that arrive there.

    A row is a site: the activation of one channel of one example, the one that varies most; draws of the mask laid
    over it, dropped cells in red, with the share of the cells that is kept; and the exact drop probability. Of tokens
    one example is shown, a token a row and a feature a column. Layers inside other layers are shown as well. Draws
    and captions are those of `tad.visualize.plot`.

    Args:
        model: Keras model with patterns, what `tad.regularize` returns or an own one.
        images: A batch of its inputs, images or whatever the model takes; the first 8 examples are looked at. None
            shows masks alone, as `tad.visualize.plot` does.
        sites: Name or glob of sites, or several. Default: up to 12 sites, spread evenly through the network.
        draws: Number of masks a row, 1 to 256.
        seed: Seeds the masks.

    Returns:
        matplotlib `Figure`; a notebook shows it, `figure.savefig("patterns.png")` writes it.

    Raises:
        TypeError: not a Keras model.
        ValueError: a model without patterns, inputs that do not fit the model, a glob that no site fits, `draws` out of
            range.

    Example:
        >>> import keras, numpy as np, tf_autodropout as tad
        >>> image = keras.Input((16, 16, 3))
        >>> x = keras.layers.Conv2D(4, 3, name="conv")(image)
        >>> x = tad.PatternDropout(tad.ConvPattern(size="1/4"), site="conv")(x)
        >>> figure = tad.show(keras.Model(image, x), images=np.random.default_rng(0).random((2, 16, 16, 3)))
        >>> len(figure.axes)
        6
    """
    check_draws(draws)
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected 'model' to be a Keras model. Received: model={model!r}")
    if images is not None:
        _check_inputs(model, images)
        images = keras.tree.map_structure(lambda one: keras.ops.convert_to_tensor(one)[:_EXAMPLES], images)
    visits, footer = _choose(visit(model, images, _most_varied), sites, model)
    places = [one.place() for one in visits]
    with_maps = images is not None
    figure, grid = new_sheet(places, draws + 1 + with_maps, [False] * len(places), footer)
    for index, (axes, place, one) in enumerate(zip(grid, places, visits, strict=True)):
        panels, activation = axes[with_maps:-1], one.activation
        masks = place.masks(draws, (seed, index))
        if activation is None:
            if with_maps:
                axes[0].set_axis_off()
            for panel, mask in zip(panels, masks, strict=True):
                draw_mask(panel, place, mask)
        else:
            activation = activation[:, : place.drawn[1]] if place.is_table else activation
            draw_activation(axes[0], place, activation)
            axes[0].set_title("activation", fontsize=8, pad=3)
            for panel, mask in zip(panels, masks, strict=True):
                draw_activation(panel, place, activation, mask)
        draw_probability(axes[-1], place)
        label_axes(axes[0], place)
    return figure


def _most_varied(x: np.ndarray, tokens: bool) -> np.ndarray:
    """(N, ..., C) -> the map of the channel, or the tokens of the example, that varies most."""
    if tokens:
        return x[np.argmax(x.std((1, 2)))]
    spread = x.std(tuple(range(1, x.ndim - 1)))  # (N, C)
    example, channel = np.unravel_index(np.argmax(spread), spread.shape)
    return x[example, ..., channel].copy()


def _choose(visits: list[Visit], sites: str | Sequence[str] | None, model: keras.Model) -> tuple[list[Visit], str]:
    """The visits to show, and what to say of the others."""
    if sites is not None:
        globs = [sites] if isinstance(sites, str) else list(sites)
        chosen = [one for one in visits if any(fnmatch.fnmatchcase(one.site, glob) for glob in globs)]
        if not chosen:
            names = ", ".join(dict.fromkeys(one.site for one in visits[:10]))
            raise ValueError(f"No site with a pattern of model '{model.name}' fits sites={sites!r}. Sites: {names}")
        return chosen, ""
    if len(visits) <= _MOST_ROWS:
        return visits, ""
    numbers = np.linspace(0, len(visits) - 1, _MOST_ROWS).round().astype(int)
    return [visits[number] for number in numbers], (
        f"{_MOST_ROWS} of {len(visits)} sites; {len(visits) - _MOST_ROWS} more have a pattern: "
        "sites='*' shows all, a glob a part."
    )


def _check_inputs(model: keras.Model, inputs: Any) -> None:
    """Raises unless the inputs fit what the model says it takes."""
    try:
        wanted = model.input
    except (AttributeError, ValueError):  # a subclassed model does not tell
        return
    if isinstance(wanted, Mapping) and isinstance(inputs, Mapping):
        if missing := [name for name in wanted if name not in inputs]:
            raise ValueError(
                f"Invalid value for 'images'. Expected the inputs {list(wanted)}. Received: no {missing[0]!r}"
            )
        pairs = [(wanted[name], inputs[name]) for name in wanted]
    else:
        wanted, given = keras.tree.flatten(wanted), [inputs] if hasattr(inputs, "shape") else keras.tree.flatten(inputs)
        if len(wanted) != len(given):
            raise ValueError(f"Invalid value for 'images'. Expected {len(wanted)} input(s). Received: {len(given)}")
        pairs = list(zip(wanted, given, strict=True))
    for symbol, one in pairs:
        expected, shape = tuple(symbol.shape), tuple(getattr(one, "shape", ()))
        fits = len(expected) == len(shape) and 0 not in shape
        if not fits or any(size not in (None, there) for size, there in zip(expected[1:], shape[1:], strict=True)):
            text = ", ".join(["N", *("any" if size is None else str(size) for size in expected[1:])])
            raise ValueError(f"Invalid value for 'images'. Expected a batch of shape ({text}). Received: shape={shape}")
