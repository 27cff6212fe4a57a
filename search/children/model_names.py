"""Names of sites that do not depend on how many layers Keras has named before."""

import re
from collections.abc import Iterable

import keras

from tf_autodropout.layers.keras_internals import all_layers


def stable_names(model: keras.Model, names: Iterable[str]) -> dict[str, str]:
    """Returns names to what they would be in a new process: `batch_normalization_24` may be `batch_normalization`.

    Names that Keras gave are numbered anew, in the order of the network; names that the user gave stay.

    Args:
        model: The model without patterns.
        names: Names of sites, blocks and stages, in the order of the network.
    """
    automatic = {_snake(type(layer).__name__) for layer in all_layers(model, include_self=True)}
    parts: dict[tuple[str, str], str] = {}  # of the parent and the part to the new part
    counts: dict[tuple[str, str], int] = {}
    stable: dict[str, str] = {}
    for name in names:
        path = ""
        for part in name.split("/"):
            base = re.sub(r"_\d+$", "", part)
            if (path, part) not in parts:
                place = counts.get((path, base), 0)
                numbered = f"{base}_{place}" if place else base
                parts[path, part] = numbered if base in automatic else part
                counts[path, base] = place + (base in automatic)
            path = f"{path}/{parts[path, part]}" if path else parts[path, part]
        stable[name] = path
    return stable


def _snake(name: str) -> str:
    """As Keras names a layer for its class."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
