"""Puts pattern layers into a model, in place."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import keras

from tf_autodropout.layers import PatternDropout, site_seed
from tf_autodropout.layers.adoption import adopt, inner_layers
from tf_autodropout.layers.patterned import OUTPUT
from tf_autodropout.patterns import Pattern, Schedule, pattern_from_dict, pattern_to_dict
from tf_autodropout.surgery.edit import insert_after, insert_on_skip, refresh
from tf_autodropout.surgery.places import Place, all_places


@dataclass(frozen=True)
class Insertion:
    """What goes to one place of a model.

    Args:
        site: Name of the site on the output of a layer, the key of a PatternSet.
        patterns: Site inside the layer to pattern; `""` for its output.
        seed: Seeds the masks.
        mutable: See `PatternDropout`.
        token_axis: See `PatternDropout`.
        data_format: See `PatternDropout`.
        schedule: See `PatternDropout`.
    """

    site: str
    patterns: Mapping[str, Pattern]
    seed: int
    mutable: bool
    token_axis: int = 1
    data_format: str = "channels_last"
    schedule: Schedule | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        patterns = {site: pattern_to_dict(pattern) for site, pattern in self.patterns.items()}
        schedule = None if self.schedule is None else self.schedule.to_dict()
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return own | {"patterns": patterns, "schedule": schedule}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Insertion":
        """Makes what `to_dict` has written."""
        patterns = {site: pattern_from_dict(one, f"site '{site}'") for site, one in fields["patterns"].items()}
        schedule = fields.get("schedule")
        schedule = None if schedule is None else Schedule.from_dict(schedule, "insertion")
        return cls(**{**fields, "patterns": patterns, "schedule": schedule})


@dataclass(frozen=True)
class Done:
    """What was put to one place.

    Args:
        layer: The layer of the place.
        pattern_layers: The pattern layers that are there now.
        is_hidden: True for a layer that Python code calls.
    """

    layer: Any
    pattern_layers: list[PatternDropout]
    is_hidden: bool


def apply(model: keras.Model, plan: Mapping[str, Insertion]) -> dict[str, Done]:
    """Puts pattern layers into a model and what is inside it, in place.

    Args:
        model: A model of our own: nobody else may hold it.
        plan: Key of a place to what goes there.

    Returns:
        Key of a place to what is there now.

    Raises:
        ValueError: a place that the model does not have.
    """
    places = [place for place in all_places(model) if place.key in plan]
    if lacking := plan.keys() - {place.key for place in places}:
        raise ValueError(
            f"Model '{model.name}': {len(lacking)} of {len(plan)} places for patterns are not in it, the first at "
            f"'{sorted(lacking)[0]}'. Does {type(model).__name__} come back from its config as it was?"
        )
    done = {place.key: Done(place.layer, [], place.owner is None) for place in places}
    edited: dict[int, keras.Model] = {}
    skips: list[tuple[Place, Insertion]] = []
    for place in places:
        insertion = plan[place.key]
        pattern = insertion.patterns.get(OUTPUT)
        if place.is_skip:
            skips.append((place, insertion))
        elif pattern is not None and place.owner is not None:
            layer = _layer(place, insertion, "main")
            insert_after(place.owner, place.layer, layer)
            done[place.key].pattern_layers.append(layer)
            if place.addition is not None and (insertion.mutable or pattern.residual):
                skips.append((place, insertion))
        else:
            where = {"site": insertion.site, "token_axis": insertion.token_axis, "data_format": insertion.data_format}
            adopt(place.layer, insertion.patterns, insertion.seed, insertion.mutable, insertion.schedule, **where)
            made = inner_layers(place.layer).values()
            done[place.key].pattern_layers.extend(layer for layers in made for layer in layers)
        if place.owner is not None:
            edited[id(place.owner)] = place.owner
    for place, insertion in skips:  # when all else is there: a skip connection may end with a batch norm of its own
        layer = _layer(place, insertion, "skip")
        insert_on_skip(place.addition, layer)  # type: ignore[arg-type]
        done[place.key].pattern_layers.append(layer)
    for owner in edited.values():
        refresh(owner)
    return done


def _layer(place: Place, insertion: Insertion, where: str) -> PatternDropout:
    policy = getattr(place.layer, "dtype_policy", None) or place.owner.dtype_policy  # type: ignore[union-attr]
    return PatternDropout(
        insertion.patterns[OUTPUT],
        seed=site_seed(insertion.seed, where),
        data_format=insertion.data_format,
        token_axis=insertion.token_axis,
        site=insertion.site,
        on_skip=where == "skip",
        mutable=insertion.mutable,
        schedule=insertion.schedule,
        dtype=policy,
        name=f"{place.layer.name}_pattern_{where}",
    )
