"""`regularize`: patterns put into a copy of a model."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers import TRANSFORMER_SITES, pattern_layers, site_seed
from tf_autodropout.layers.pattern_dropout import check_schedule
from tf_autodropout.layers.patterned import OUTPUT
from tf_autodropout.layers.site_layers import SCORES
from tf_autodropout.patterns import Pattern, Schedule
from tf_autodropout.patterns.checks import check_bool, check_int, check_rate
from tf_autodropout.surgery.apply import Done, Insertion, apply
from tf_autodropout.surgery.choice import choose
from tf_autodropout.surgery.copying import copy_model
from tf_autodropout.surgery.depth import DepthRule
from tf_autodropout.surgery.discovery import check_model
from tf_autodropout.surgery.equality import check_same_inference
from tf_autodropout.surgery.places import Place
from tf_autodropout.surgery.rebuilding import keep_class
from tf_autodropout.surgery.removal import acting_layers
from tf_autodropout.surgery.silence import refuse_silence
from tf_autodropout.surgery.survey import survey


def regularize(
    model: keras.Model,
    patterns: Pattern | float | Mapping[Any, Pattern | float] | DepthRule | str | None = None,
    seed: int = 0,
    mutable: bool = False,
    in_place: bool = False,
    *,
    strength: float | None = None,
    schedule: Schedule | None = None,
) -> keras.Model:
    """Returns a copy of a model with dropout patterns at its sites; `tad.sites` of it shows what is where.

    Weights are copied, inference gives the same bits, and `model` is not touched. A Sequential stays Sequential;
    backbones and tasks of KerasHub and keras-cv get a subclass of their class (`pyramid_outputs`, `generate`,
    `ImageClassifier(backbone=...)` work). The copy saves with its patterns, in all formats of Keras, and loads in
    another process by `tad.load_model`. If `model` is compiled, so is the copy, with the state of its optimizer.

    Args:
        model: Any Keras model that is built: Sequential, Functional or subclassed.
        patterns: One pattern, for all recommended sites that it fits; a `PatternSet`; the name of a preset; what
            `tad.by_depth` returns; a number, which is a strength; or a mapping to patterns and numbers, whose keys are
            names of sites, kinds (`ffn`), globs (`stage3_*`) or classes of layers (`keras.layers.Conv2D`, wherever they
            are). `tad.sites(model)` lists names and kinds, `tad.sites(model, every=True)` those of all layers. A
            `ConvPattern` with `residual=True` acts on the skip connection of the block as well, where there is one in
            the graph of the model.
        seed: Each site derives its own seed from this one.
        mutable: Put a pattern layer at every site, with values in variables that `PatternDropout.assign` changes under
            a compiled step. A search works on such a model.
        in_place: Put the patterns into `model` itself, for one that nobody else holds. Compile it afterwards: a step
            that is compiled already stays as it is.
        strength: In place of `patterns`, for who does not want to choose: the share to drop at every recommended site,
            0 to 1. A map gets in each channel one block that covers about this share, tokens get Word Dropout, query,
            key and residual Dropout.
        schedule: How strong the patterns are at each step, see `tad.Schedule`. None: always at full strength.

    Returns:
        The regularized copy, or `model` itself.

    Raises:
        TypeError: not a model, not a pattern, a pattern of the wrong kind for a site, not a schedule.
        ValueError: a model that is not built, has patterns already or has no sites; a key that matches no site; an
            unknown preset; a pattern that would drop everything at a site, at every step; patterns and a strength, or
            neither; a layer whose copy computes something else.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> image = keras.Input((32, 32, 3))
        >>> x = keras.layers.Conv2D(8, 3, name="conv")(image)
        >>> plain = keras.Model(image, keras.layers.BatchNormalization(name="bn")(x))
        >>> model = tad.regularize(plain, tad.ConvPattern(size=4, stride=2, repeat=2))
        >>> tad.sites(model)[0].pattern.size
        4
        >>> gentle = tad.regularize(plain, strength=0.1, schedule=tad.Schedule.ramp_up(1000))

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Section "Experiments": found patterns are dropped into training pipelines.
    """
    if (patterns is None) == (strength is None):
        raise ValueError(
            f"Expected either 'patterns' or 'strength'. Received: patterns={patterns!r}, strength={strength!r}"
        )
    if strength is not None:
        patterns = check_rate("strength", strength)
    plan = _plan(model, patterns, seed, mutable, check_schedule(schedule))
    copy = model if in_place else copy_model(model)
    done = apply(copy, plan)
    keep_class(copy, plan, done)
    _check(copy, done)
    if not in_place:
        check_same_inference(copy, model)
    return copy


def _plan(
    model: keras.Model, patterns: Any, seed: int, mutable: bool, schedule: Schedule | None
) -> dict[str, Insertion]:
    """Checks everything and returns what goes where."""
    check_model(model)
    seed, mutable = check_int("seed", seed, 0), check_bool("mutable", mutable)
    if acting_layers(model):
        raise ValueError(
            f"Model '{model.name}' has pattern layers already. Take them out first, "
            "tad.regularize(tad.strip(model), patterns), or give the patterns to the builder that made it."
        )
    rows = list(survey(model).rows())
    table = [site for site, _ in rows]
    if isinstance(patterns, DepthRule):
        patterns = patterns.resolve(table)
    chosen = choose(table, patterns, {site.name: place.layer for site, place in rows})
    refuse_silence([(site, chosen[site.name]) for site in table if site.name in chosen], schedule)
    at: dict[str, Place] = {}
    chosen_at: dict[str, dict[str, Pattern]] = {}
    for site, place in rows:
        pattern = chosen.get(site.name)
        if pattern is None and mutable and site.recommended and site.pattern_types:
            pattern = site.pattern_type()
        if pattern is not None:
            at[place.key] = place
            inside = place.inside or site.kind == SCORES
            chosen_at.setdefault(place.key, {})[site.kind if inside else OUTPUT] = pattern
    return {
        key: _insertion(at[key], here, seed, mutable, schedule)
        for key, here in chosen_at.items()
        if mutable or not all(pattern.is_identity for pattern in here.values())
    }


def _insertion(
    place: Place, patterns: Mapping[str, Pattern], seed: int, mutable: bool, schedule: Schedule | None
) -> Insertion:
    name = place.path if place.owner is not None else place.key
    site = place.kind if place.kind in TRANSFORMER_SITES else place.name
    return Insertion(site, patterns, site_seed(seed, name), mutable, place.token_axis, place.data_format, schedule)


def _check(model: keras.Model, done: Mapping[str, Done]) -> None:
    """Raises unless all that was planned is in the model."""
    there = {id(layer) for layers in pattern_layers(model).values() for layer in layers}
    layers = {key: one.pattern_layers for key, one in done.items()}
    if lost := [key for key, here in layers.items() if not here or any(id(one) not in there for one in here)]:
        raise ValueError(
            f"Model '{model.name}': patterns were put at {len(done)} places, and {len(lost)} of them are not among its "
            f"layers, the first at '{lost[0]}'. Its class does not track them; please report this."
        )
