"""The pattern layers inside a layer that has several sites."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tf_autodropout.layers.keras_internals import (
    masked_softmax,
    scaled_queries,
    sublayers,
    unlocked,
    with_own_dropout,
)
from tf_autodropout.layers.pattern_dropout import PatternDropout
from tf_autodropout.patterns import PatternSet, Schedule, TransformerPattern, patterns_for
from tf_autodropout.patterns.seeding import site_seed

ATTENTION_SITES = ("query", "key", "value", "softmax", "output")
TRANSFORMER_SITES = (*ATTENTION_SITES, "ffn", "residual")
SCORES = "scores"  # before the softmax, not among the paper's sites: it is there where a pattern names it
_KEY_AXIS = 3  # the tokens of attention scores and probabilities (N, heads, queries, keys)


def read_patterns(patterns: Any, sites: Sequence[str], where: str) -> PatternSet:
    """Returns the patterns of a layer from its constructor's argument or from its config.

    Raises:
        ValueError: a site that the layer does not have.
        TypeError: a pattern of another kind.
    """
    if isinstance(patterns, Mapping) and not isinstance(patterns, PatternSet) and "type" in patterns:
        patterns = PatternSet.from_dict({k: v for k, v in patterns.items() if k != "type"}, where)
    return patterns_for(sites, TransformerPattern, patterns)


def read_schedule(schedule: Any, where: str) -> Schedule | None:
    """Returns the schedule of a layer from its constructor's argument or from its config."""
    return Schedule.from_dict(schedule, where) if isinstance(schedule, dict) else schedule


def site_layers(
    patterns: Mapping[str, Any],
    sites: Sequence[str],
    seed: int,
    mutable: bool,
    dtype: Any,
    schedule: Schedule | None = None,
    part: str = "",
) -> dict[str, PatternDropout]:
    """Makes a pattern layer for each site.

    Args:
        patterns: Site to `TransformerPattern`; sites left out drop nothing, and `scores` has no layer then.
        sites: Names of the sites.
        seed: Integer from which each site derives its own seed.
        mutable: See `PatternDropout`.
        dtype: Dtype policy of the layers.
        schedule: See `PatternDropout`.
        part: Name of the part of the layer, where it has a site more than once.
    """
    prefix = f"{part}_" if part else ""
    return {
        site: PatternDropout(
            patterns.get(site, TransformerPattern()),
            seed=site_seed(seed, *filter(None, (part, site))),
            token_axis=_KEY_AXIS if site in ("softmax", SCORES) else 1,
            site=site,
            mutable=mutable,
            schedule=schedule,
            before_softmax=site == SCORES,
            dtype=dtype,
            name=f"{prefix}{site}_pattern",
        )
        for site in sites
        if site != SCORES or site in patterns
    }


def hold(layer: keras.layers.Layer, pattern_layers: dict[str, PatternDropout]) -> None:
    """Makes pattern layers the first sublayers of a layer, be it built or not: the order of variables is the same."""
    with unlocked(layer):
        layer.pattern_layers = pattern_layers
    sublayers(layer).sort(key=lambda one: not isinstance(one, PatternDropout))


def sites_config(layer: Any, layers: Mapping[str, PatternDropout]) -> dict[str, Any]:
    """Returns what a layer with sites inside adds to its config, as it is now: `assign` may have come.

    Args:
        layer: The layer.
        layers: Site to pattern layer; of several at one site any, for they are alike.
    """
    now = {site: one.pattern for site, one in layers.items()}
    none = TransformerPattern()
    kept = {site: one for site, one in now.items() if site in layer.patterns or one != none}
    schedule = next(iter(layers.values())).schedule
    return {
        "patterns": {"type": "PatternSet"} | PatternSet(kept).to_dict(),
        "pattern_seed": layer.pattern_seed,
        "mutable": layer.mutable,
        "schedule": None if schedule is None else schedule.to_dict(),
    }


def attend(
    attention: keras.layers.MultiHeadAttention,
    drop: Mapping[str, PatternDropout],
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    training: bool | None,
) -> tuple[Any, Any]:
    """Scaled dot-product attention with its sites but `output`, which comes after the output projection.

    Args:
        attention: The layer whose head size, softmax and dropout are used.
        drop: The pattern layers.
        query: Projected queries `(N, T, heads, dim)`.
        key: Projected keys.
        value: Projected values.
        attention_mask: As for `keras.layers.MultiHeadAttention`.
        training: Python boolean.

    Returns:
        Context `(N, T, heads, dim)` and attention probabilities `(N, heads, queries, keys)`.
    """
    query = drop["query"](query, training=training)  # (N, T, heads, dim)
    key = drop["key"](key, training=training)
    value = drop["value"](value, training=training)
    scores = ops.einsum("nqhd,nkhd->nhqk", scaled_queries(attention, query), key)
    if SCORES in drop:
        scores = drop[SCORES](scores, training=training)
    probabilities = masked_softmax(attention, scores, attention_mask)  # (N, heads, queries, keys)
    probabilities = drop["softmax"](probabilities, training=training)
    probabilities = with_own_dropout(attention, probabilities, training)
    return ops.einsum("nhqk,nkhd->nqhd", probabilities, value), probabilities
