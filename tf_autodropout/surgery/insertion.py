"""`regularize`: patterns put into a copy of a model."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers import TRANSFORMER_SITES, pattern_layers, site_seed
from tf_autodropout.layers.patterned import OUTPUT
from tf_autodropout.patterns import Pattern
from tf_autodropout.patterns.checks import check_bool, check_int
from tf_autodropout.surgery.apply import Done, Insertion, apply
from tf_autodropout.surgery.choice import choose
from tf_autodropout.surgery.copying import copy_model
from tf_autodropout.surgery.discovery import check_model
from tf_autodropout.surgery.equality import check_same_inference
from tf_autodropout.surgery.places import Place
from tf_autodropout.surgery.rebuilding import keep_class
from tf_autodropout.surgery.removal import acting_layers
from tf_autodropout.surgery.survey import survey


def regularize(
    model: keras.Model,
    patterns: Pattern | Mapping[Any, Pattern] | str,
    seed: int = 0,
    mutable: bool = False,
    in_place: bool = False,
) -> keras.Model:
    """Returns a copy of a model with dropout patterns at its sites; `tad.sites` of it shows what is where.

    Weights are copied, inference gives the same bits, and `model` is not touched. A Sequential stays Sequential;
    backbones and tasks of KerasHub and keras-cv get a subclass of their class (`pyramid_outputs`, `generate`,
    `ImageClassifier(backbone=...)` work). The copy saves with its patterns, in all formats of Keras, and loads in
    another process by `tad.load_model`. If `model` is compiled, so is the copy, with the state of its optimizer.

    Args:
        model: Any Keras model that is built: Sequential, Functional or subclassed.
        patterns: One pattern, for all recommended sites that it fits; a `PatternSet`; the name of a preset; or a
            mapping whose keys are names of sites, kinds (`ffn`), globs (`stage3_*`) or classes of layers
            (`keras.layers.Conv2D`, wherever they are). `tad.sites(model)` lists names and kinds,
            `tad.sites(model, every=True)` those of all layers. A `ConvPattern` with `residual=True` acts on the skip
            connection of the block as well, where there is one in the graph of the model.
        seed: Each site derives its own seed from this one.
        mutable: Put a pattern layer at every site, with values in variables that `PatternDropout.assign` changes under
            a compiled step. A search works on such a model.
        in_place: Put the patterns into `model` itself, for one that nobody else holds. Compile it afterwards: a step
            that is compiled already stays as it is.

    Returns:
        The regularized copy, or `model` itself.

    Raises:
        TypeError: not a model, not a pattern, a pattern of the wrong kind for a site.
        ValueError: a model that is not built, has patterns already or has no sites; a key that matches no site; an
            unknown preset; a layer whose copy computes something else.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> image = keras.Input((32, 32, 3))
        >>> x = keras.layers.Conv2D(8, 3, name="conv")(image)
        >>> plain = keras.Model(image, keras.layers.BatchNormalization(name="bn")(x))
        >>> model = tad.regularize(plain, tad.ConvPattern(size=4, stride=2, repeat=2))
        >>> tad.sites(model)[0].pattern.size
        4

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Section "Experiments": found patterns are dropped into training pipelines.
    """
    plan = _plan(model, patterns, seed, mutable)
    copy = model if in_place else copy_model(model)
    done = apply(copy, plan)
    keep_class(copy, plan, done)
    _check(copy, done)
    if not in_place:
        check_same_inference(copy, model)
    return copy


def _plan(model: keras.Model, patterns: Any, seed: int, mutable: bool) -> dict[str, Insertion]:
    """Checks everything and returns what goes where."""
    check_model(model)
    seed, mutable = check_int("seed", seed, 0), check_bool("mutable", mutable)
    if acting_layers(model):
        raise ValueError(
            f"Model '{model.name}' has pattern layers already. Take them out first, "
            "tad.regularize(tad.strip(model), patterns), or give the patterns to the builder that made it."
        )
    rows = list(survey(model).rows())
    chosen = choose([site for site, _ in rows], patterns, {site.name: place.layer for site, place in rows})
    at: dict[str, Place] = {}
    chosen_at: dict[str, dict[str, Pattern]] = {}
    for site, place in rows:
        pattern = chosen.get(site.name)
        if pattern is None and mutable and site.recommended and site.pattern_types:
            pattern = site.pattern_type()
        if pattern is not None:
            at[place.key] = place
            chosen_at.setdefault(place.key, {})[site.kind if place.inside else OUTPUT] = pattern
    return {
        key: _insertion(at[key], here, seed, mutable)
        for key, here in chosen_at.items()
        if mutable or not all(pattern.is_identity for pattern in here.values())
    }


def _insertion(place: Place, patterns: Mapping[str, Pattern], seed: int, mutable: bool) -> Insertion:
    name = place.path if place.owner is not None else place.key
    site = place.kind if place.kind in TRANSFORMER_SITES else place.name
    return Insertion(site, patterns, site_seed(seed, name), mutable, place.token_axis, place.data_format)


def _check(model: keras.Model, done: Mapping[str, Done]) -> None:
    """Raises unless all that was planned is in the model."""
    there = {id(layer) for layers in pattern_layers(model).values() for layer in layers}
    layers = {key: one.pattern_layers for key, one in done.items()}
    if lost := [key for key, here in layers.items() if not here or any(id(one) not in there for one in here)]:
        raise ValueError(
            f"Model '{model.name}': patterns were put at {len(done)} places, and {len(lost)} of them are not among its "
            f"layers, the first at '{lost[0]}'. Its class does not track them; please report this."
        )
