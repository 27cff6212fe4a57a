"""`regularize`: patterns put into a copy of a model."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers import pattern_layers, site_seed
from tf_autodropout.layers.adoption import inner_sites
from tf_autodropout.patterns import ConvPattern, Pattern
from tf_autodropout.patterns.checks import check_bool, check_int
from tf_autodropout.surgery.apply import Insertion, apply
from tf_autodropout.surgery.choice import choose
from tf_autodropout.surgery.copying import copy_model
from tf_autodropout.surgery.discovery import check_model
from tf_autodropout.surgery.equality import check_same_inference
from tf_autodropout.surgery.places import Place, find_places
from tf_autodropout.surgery.rebuilding import keep_class


def regularize(
    model: keras.Model,
    patterns: Pattern | Mapping[str, Pattern] | str,
    seed: int = 0,
    mutable: bool = False,
) -> keras.Model:
    """Returns a copy of a model with dropout patterns at its sites; `tad.sites` of it shows what is where.

    Weights are copied, inference gives the same bits, and `model` is not touched. A Sequential stays Sequential;
    backbones and tasks of KerasHub and keras-cv get a subclass of their class (`pyramid_outputs`, `generate`,
    `ImageClassifier(backbone=...)` work). The copy saves with its patterns, in all formats of Keras, and loads in
    another process by `tad.load_model`. If `model` is compiled, so is the copy, with the state of its optimizer.

    Args:
        model: Sequential or Functional model, nested ones and those of keras.applications, KerasHub and keras-cv
            included.
        patterns: One pattern, for all sites that it fits; a `PatternSet`; the name of a preset; or a mapping whose keys
            are names of sites, kinds (`ffn`) or globs (`stage3_*`). `tad.sites(model)` lists names and kinds. A
            `ConvPattern` with `residual=True` acts on the skip connection of the block as well, where there is one.
        seed: Each site derives its own seed from this one.
        mutable: Put a pattern layer at every site, with values in variables that `PatternDropout.assign` changes under
            a compiled step. A search works on such a model.

    Returns:
        The regularized copy.

    Raises:
        TypeError: not a model, not a pattern, a pattern of the wrong kind for a site.
        ValueError: a model that is not built, is subclassed, has patterns already or has no sites; a key that matches
            no site; an unknown preset; a layer whose copy computes something else.

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
    copy = copy_model(model)
    apply(copy, plan)
    keep_class(copy, plan)
    check_same_inference(copy, model)
    return copy


def regularize_in_place(
    model: keras.Model, patterns: Pattern | Mapping[str, Pattern] | str, seed: int = 0, mutable: bool = False
) -> keras.Model:
    """Does what `regularize` does to a model itself: for builders, whose new model nobody else holds.

    Args:
        model: A plain Functional model.
        patterns: See `regularize`.
        seed: See `regularize`.
        mutable: See `regularize`.

    Returns:
        `model`.
    """
    apply(model, _plan(model, patterns, seed, mutable))
    return model


def _plan(model: keras.Model, patterns: Any, seed: int, mutable: bool) -> dict[str, Insertion]:
    """Checks everything and returns what goes where."""
    check_model(model)
    seed, mutable = check_int("seed", seed, 0), check_bool("mutable", mutable)
    if pattern_layers(model):
        raise ValueError(
            f"Model '{model.name}' has pattern layers already. Take them out first, "
            "tad.regularize(tad.strip(model), patterns), or give the patterns to the builder that made it."
        )
    places, _ = find_places(model)
    chosen = choose([site for place in places for site in place.sites()], patterns)
    return {place.path: one for place in places if (one := _insertion(place, chosen, seed, mutable))}


def _insertion(place: Place, chosen: Mapping[str, Pattern], seed: int, mutable: bool) -> Insertion | None:
    """What goes to a place; None for nothing."""
    if place.is_batch_norm:
        none: dict[str, Pattern] = {"": ConvPattern()} if mutable else {}
        patterns = {"": chosen[place.name]} if place.name in chosen else none
    else:
        names = {f"{place.name}/{kind}": kind for kind in inner_sites(place.layer)}
        patterns = {kind: chosen[name] for name, kind in names.items() if name in chosen}
    if not mutable and all(pattern.is_identity for pattern in patterns.values()):
        return None
    return Insertion(place.name, patterns, site_seed(seed, place.path), mutable)
