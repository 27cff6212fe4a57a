"""The variations of a found PatternSet that say which of its parts it owes its lead to."""

from collections import Counter
from dataclasses import replace
from typing import Any

from tf_autodropout.patterns import Pattern, PatternSet, Site
from tf_autodropout.search.core import NO_DROPOUT
from tf_autodropout.search.space import SearchSpace

FOUND, NONE, MOVED, UNIFORM, WITHOUT = "as found", NO_DROPOUT, "moved by one group", "uniform", "without"


def variations(patterns: PatternSet, space: SearchSpace) -> dict[str, PatternSet]:
    """Returns the set itself and its variations by name.

    Args:
        patterns: What a search has found.
        space: Of that search; its groups are the sites that share a decision.

    Returns:
        `as found`; `no dropout`; `without GROUP` for each group that drops something, all others as they were;
        `moved by one group`: each group has the patterns of the one before it of its kind, the first those of the
        last, with sizes in proportion to the maps; `uniform`: the pattern that most sites have, at all sites of its
        kind. Those that equal another one are left out.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.analysis.variations import variations
        >>> from tf_autodropout.search.space import SearchSpace
        >>> space = SearchSpace(tad.sites(tad.models.transformer_lm(50, 8)).as_sites())
        >>> found = tad.PatternSet({"ffn": tad.members.dropout(0.1), "key": tad.members.word_dropout(0.2)})
        >>> list(variations(found, space))
        ['as found', 'no dropout', 'without key', 'without ffn', 'moved by one group', 'uniform']

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, the qualitative analyses of what was found; the variations are ours.
    """
    acting = {name: pattern for name, pattern in patterns.items() if not pattern.is_identity}
    found = {FOUND: dict(patterns), NONE: {}}
    for group, sites in space.groups.items():
        names = {site.name for site in sites}
        if names & acting.keys():
            found[f"{WITHOUT} {group}"] = {name: one for name, one in patterns.items() if name not in names}
    found[MOVED] = _moved(acting, space)
    found[UNIFORM] = _uniform(acting, space)
    different: dict[str, PatternSet] = {}
    for name, one in found.items():
        made = PatternSet({site: pattern for site, pattern in one.items() if not pattern.is_identity})
        if made not in different.values():
            different[name] = made
    return different


def _moved(acting: dict[str, Pattern], space: SearchSpace) -> dict[str, Pattern]:
    groups = list(space.groups.values())
    moved: dict[str, Pattern] = {}
    for place, sites in enumerate(groups):
        same_kind = [other for other in (*groups[place:], *groups[:place]) if other[0].kind is sites[0].kind]
        for number, site in enumerate(sites):
            before = same_kind[-1]
            origin = before[min(number, len(before) - 1)]
            if origin.name in acting:
                moved[site.name] = acting[origin.name].scale(_side(site) / _side(origin))
    return moved


def _uniform(acting: dict[str, Pattern], space: SearchSpace) -> dict[str, Pattern]:
    """Patterns are told apart as shares of their maps: one decision has another size in cells at each resolution."""
    by_name = {site.name: site for site in space.sites}
    uniform: dict[str, Pattern] = {}
    for kind in {site.kind for site in space.sites}:
        own = [(_shape(one, by_name[name]), name) for name, one in acting.items() if by_name[name].kind is kind]
        if not own:
            continue
        most = Counter(shape for shape, _ in own).most_common(1)[0][0]
        origin = next(name for shape, name in own if shape == most)
        for site in space.sites:
            if site.kind is kind:
                uniform[site.name] = acting[origin].scale(_side(site) / _side(by_name[origin]))
    return uniform


def _side(site: Site) -> int:
    return min(site.sizes)


def _shape(pattern: Pattern, site: Site) -> Any:
    return replace(pattern, size=1) if pattern.size else pattern, _share(pattern, site)  # type: ignore


def _share(pattern: Pattern, site: Site) -> Any:
    return round(pattern.size / _side(site), 1) if isinstance(pattern.size, int) else pattern.size
