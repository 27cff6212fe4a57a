"""Puts pattern layers into a model, in place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tf_autodropout.layers import PatternDropout, site_seed
from tf_autodropout.layers.adoption import adopt
from tf_autodropout.patterns import Pattern, pattern_from_dict, pattern_to_dict
from tf_autodropout.surgery.edit import insert_after, insert_on_skip, refresh
from tf_autodropout.surgery.places import Place, find_places


@dataclass(frozen=True)
class Insertion:
    """What goes to one place of a model.

    Args:
        site: Name of the site of a batch norm, the key of a PatternSet.
        patterns: Site inside the layer to pattern; `""` for a batch norm.
        seed: Seeds the masks.
        mutable: See `PatternDropout`.
    """

    site: str
    patterns: Mapping[str, Pattern]
    seed: int
    mutable: bool

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        patterns = {site: pattern_to_dict(pattern) for site, pattern in self.patterns.items()}
        return {"site": self.site, "patterns": patterns, "seed": self.seed, "mutable": self.mutable}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Insertion":
        """Makes what `to_dict` has written."""
        patterns = {site: pattern_from_dict(one, f"site '{site}'") for site, one in fields["patterns"].items()}
        return cls(fields["site"], patterns, fields["seed"], fields["mutable"])


def apply(model: keras.Model, plan: Mapping[str, Insertion]) -> None:
    """Puts pattern layers into a model and the models inside it, in place.

    Args:
        model: A model of our own: nobody else may hold it.
        plan: Path of a place to what goes there.
    """
    places = [place for place in find_places(model)[0] if place.path in plan]
    edited: dict[int, keras.Model] = {}
    for place in places:
        insertion = plan[place.path]
        if place.is_batch_norm:
            insert_after(place.owner, place.layer, _layer(place, insertion, "main"))
            edited[id(place.owner)] = place.owner
        else:
            adopt(place.layer, insertion.patterns, insertion.seed, insertion.mutable)
    for place in places:  # when all else is there: a skip connection may end with a batch norm of its own
        insertion = plan[place.path]
        if place.addition is not None and (insertion.mutable or getattr(insertion.patterns[""], "residual", False)):
            insert_on_skip(place.addition, _layer(place, insertion, "skip"))
    for owner in edited.values():
        refresh(owner)


def _layer(place: Place, insertion: Insertion, where: str) -> PatternDropout:
    return PatternDropout(
        insertion.patterns[""],
        seed=site_seed(insertion.seed, where),
        data_format="channels_first" if place.layer.axis == 1 else "channels_last",
        site=insertion.site,
        on_skip=where == "skip",
        mutable=insertion.mutable,
        dtype=place.layer.dtype_policy,
        name=f"{place.layer.name}_pattern_{where}",
    )
