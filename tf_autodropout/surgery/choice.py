"""Which site gets which pattern: a pattern, a PatternSet, a preset or a mapping, matched with a model."""

import fnmatch
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tf_autodropout import presets
from tf_autodropout.layers.site_layers import SCORES
from tf_autodropout.patterns import Pattern
from tf_autodropout.patterns.checks import check_rate, shown
from tf_autodropout.patterns.strength import map_pattern, token_pattern
from tf_autodropout.surgery.site_table import ModelSite

_SHOWN = 8


def choose(rows: Sequence[ModelSite], patterns: Any, layers: Mapping[str, Any] | None = None) -> dict[str, Pattern]:
    """Returns the pattern of each site that gets one.

    Args:
        rows: All sites of a model, recommended or not.
        patterns: One pattern, for all recommended sites that it fits; a number, the share to drop, for which each site
            gets the default pattern of its kind; the name of a preset; or a mapping to patterns and numbers. Its keys
            are names of sites, kinds (`ffn`), globs (`stage3_*`) or classes of layers (`keras.layers.Conv2D`). A site
            is given the pattern of its name if there is one, else of the first key that matches it. Kinds and globs
            match recommended sites, and others where they match none of these.
        layers: Name of a site to the layer there, for keys that are classes.

    Returns:
        Site name to pattern.

    Raises:
        TypeError: `patterns` is none of these, or a pattern is not of its site's kind.
        ValueError: a key that matches nothing, an unknown preset.
    """
    if isinstance(patterns, str):
        patterns = presets.load(patterns)
    if isinstance(patterns, Pattern) or _is_number(patterns):
        patterns = {"*": patterns}
    if not isinstance(patterns, Mapping):
        raise TypeError(
            "Expected 'patterns' to be a pattern, the share to drop, a PatternSet, the name of a preset or a mapping "
            f"of sites, kinds, globs or classes of layers to patterns. Received: {shown(patterns)}"
        )
    for key, pattern in patterns.items():
        if not isinstance(key, str) and not _is_layer_class(key):
            raise TypeError(f"Expected the keys of 'patterns' to be texts or classes of layers. Received: {shown(key)}")
        if _is_number(pattern):
            check_rate("strength", pattern)
        elif not isinstance(pattern, Pattern):
            raise TypeError(f"Expected a pattern or the share to drop at '{key}'. Received: {shown(pattern)}")
    recommended = [row for row in rows if row.recommended]
    if not rows:
        raise ValueError("The model has no site that a pattern can go to; `tad.sites(model)` tells why.")
    if not recommended and "*" in patterns:
        raise ValueError(
            "The model has no site that a pattern is recommended at. `tad.sites(model, every=True)` lists the outputs "
            "of all layers; name those to drop."
        )
    names = {row.name for row in rows}
    chosen: dict[str, Pattern] = {}
    matched: list[Any] = []
    # An exact name comes before a kind, a glob or a class, whatever the order.
    for exact in (True, False):
        for key, pattern in patterns.items():
            if exact != (key in names):
                continue
            matches = _matcher(key, layers or {}, exact)
            fits = [row for row in recommended if matches(row)] or [row for row in rows if matches(row)]
            if _is_layer_class(key):
                fits = [row for row in rows if matches(row)]
            if not fits:
                continue
            right = [row for row in fits if row.pattern_types and _is_number(pattern)] or [
                row for row in fits if isinstance(pattern, row.pattern_types)
            ]
            if not right:
                raise TypeError(_misfit(fits[0], pattern, key))
            matched.append(key)
            for row in right:
                chosen.setdefault(row.name, _default(row, pattern) if _is_number(pattern) else pattern)
    if unknown := [key if isinstance(key, str) else key.__name__ for key in patterns if key not in matched]:
        there = recommended or rows
        raise ValueError(
            f"{len(unknown)} of {len(patterns)} keys of 'patterns' match no site of this model: {_some(unknown)}. "
            f"Its sites: {_some([row.name for row in there])}; kinds: {', '.join(dict.fromkeys(r.kind for r in there))}"
        )
    return chosen


def _is_number(pattern: Any) -> bool:
    return isinstance(pattern, numbers.Real) and not isinstance(pattern, bool)


def _default(row: ModelSite, strength: float) -> Pattern:
    """The pattern that drops a share at a site, see `tf_autodropout.patterns.strength`."""
    if row.pattern_type.ON_MAPS:
        return map_pattern(strength, row.shape[:-1])
    return token_pattern(strength, row.kind, is_sequence=len(row.shape) == 2)


def _matcher(key: Any, layers: Mapping[str, Any], exact: bool) -> Callable[[ModelSite], bool]:
    if exact:
        return lambda row: row.name == key
    if _is_layer_class(key):
        return lambda row: isinstance(layers.get(row.name), key) and row.kind != SCORES
    return lambda row: row.kind == key or fnmatch.fnmatchcase(row.name, key)


def _is_layer_class(key: Any) -> bool:
    return isinstance(key, type) and issubclass(key, keras.layers.Layer)


def _misfit(row: ModelSite, pattern: Pattern, key: Any) -> str:
    if not row.pattern_types:
        return (
            f"Site '{row.name}' has a tensor (N, {', '.join(map(str, row.shape))}), which no pattern fits (key '{key}')"
        )
    wanted = " or ".join(f"a {one.__name__}" for one in row.pattern_types)
    return f"Site '{row.name}' needs {wanted}. Received: {type(pattern).__name__} (key '{key}')"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
