"""Which site gets which pattern: a pattern, a PatternSet, a preset or a mapping with globs, matched with a model."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from tf_autodropout import presets
from tf_autodropout.patterns import ConvPattern, Pattern, TransformerPattern
from tf_autodropout.surgery.site_table import ModelSite

_SHOWN = 8


def choose(rows: Sequence[ModelSite], patterns: Any) -> dict[str, Pattern]:
    """Returns the pattern of each site that gets one.

    Args:
        rows: The sites of a model.
        patterns: One pattern, for all sites that it fits; the name of a preset; or a mapping. Its keys are names of
            sites, kinds (`ffn`) or globs (`stage3_*`). A site is given the pattern of its name if there is one, else of
            the first key that matches it.

    Returns:
        Site name to pattern.

    Raises:
        TypeError: `patterns` is none of these, or a pattern is not of its site's kind.
        ValueError: a key that matches nothing, an unknown preset.
    """
    if isinstance(patterns, str):
        patterns = presets.load(patterns)
    if isinstance(patterns, ConvPattern | TransformerPattern):
        patterns = {"*": patterns}
    if not isinstance(patterns, Mapping):
        raise TypeError(
            "Expected 'patterns' to be a ConvPattern, a TransformerPattern, a PatternSet, the name of a preset or a "
            f"mapping of sites, kinds or globs to patterns. Received: {patterns!r}"
        )
    for key, pattern in patterns.items():
        if not isinstance(key, str):
            raise TypeError(f"Expected the keys of 'patterns' to be texts. Received: {key!r}")
        if not isinstance(pattern, ConvPattern | TransformerPattern):
            raise TypeError(f"Expected a ConvPattern or TransformerPattern at '{key}'. Received: {pattern!r}")
    if not rows:
        raise ValueError("The model has no site that a pattern can go to; `tad.sites(model)` tells why.")
    chosen: dict[str, Pattern] = {}
    matched: set[str] = set()
    # An exact name comes before a kind or a glob, whatever the order.
    for exact in (True, False):
        for key, pattern in patterns.items():
            fits = [row for row in rows if (row.name == key if exact else _matches(row, key))]
            if not fits or (not exact and key in {row.name for row in rows}):
                continue
            right = [row for row in fits if isinstance(pattern, row.pattern_type)]
            if not right:
                raise TypeError(
                    f"Site '{fits[0].name}' needs a {fits[0].pattern_type.__name__}. "
                    f"Received: {type(pattern).__name__} (key '{key}')"
                )
            matched.add(key)
            for row in right:
                chosen.setdefault(row.name, pattern)
    if unknown := [key for key in patterns if key not in matched]:
        raise ValueError(
            f"{len(unknown)} of {len(patterns)} keys of 'patterns' match no site of this model: {_some(unknown)}. "
            f"Its sites: {_some([row.name for row in rows])}; kinds: {', '.join(dict.fromkeys(r.kind for r in rows))}"
        )
    return chosen


def _matches(row: ModelSite, key: str) -> bool:
    return row.kind == key or fnmatch.fnmatchcase(row.name, key)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
