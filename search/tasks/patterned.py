"""A user's own model with a PatternSet in it, not in variables."""

from collections.abc import Sequence
from typing import Any

import keras

from tf_autodropout.patterns import PatternSet, Schedule
from tf_autodropout.search.children.model_child import ModelChild
from tf_autodropout.search.children.own_dropout import own_dropout
from tf_autodropout.search.tasks.model_sites import ModelSites
from tf_autodropout.surgery import regularize


def patterned(
    plain: keras.Model,
    patterns: PatternSet,
    sites: Any,
    keep_dropout: bool,
    seed: int = 0,
    schedule: Schedule | None = None,
    weights: Sequence[Any] | None = None,
) -> ModelChild:
    """Returns a model with patterns, as a child that `reset` puts back to its start; the patterns stay.

    Args:
        plain: Compiled, without patterns; it is changed in place.
        patterns: By the search's names of the sites, of any kind that fits.
        sites: See `ModelTask`.
        keep_dropout: See `ModelTask`.
        seed: Seeds the masks.
        schedule: Of all patterns.
        weights: To begin with; None for those of the model.
    """
    own_dropout(plain, keep_dropout)
    variables, own = list(plain.weights), ModelSites(plain, sites).own_names
    chosen = {own.get(site, site): pattern for site, pattern in patterns.items() if not pattern.is_identity}
    for variable, value in zip(variables, weights or (), strict=bool(weights)):
        variable.assign(value)
    model = regularize(plain, chosen, seed, schedule=schedule, in_place=True) if chosen else plain
    return ModelChild(model, variables, own)
