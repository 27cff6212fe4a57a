"""A PatternSet carried to another depth and resolution of the same family of networks."""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tf_autodropout.patterns.checks import shown
from tf_autodropout.patterns.pattern import Pattern
from tf_autodropout.patterns.pattern_set import PatternSet
from tf_autodropout.patterns.site import Site

_SHOWN = 8


class _Kind(NamedTuple):
    """What sites have in common that stand for each other, from block to block and from network to network."""

    stage: str
    role: str
    pattern: type[Pattern]


def transfer(patterns: PatternSet, source: Sequence[Site], target: Sequence[Site]) -> PatternSet:
    """Carries a PatternSet from the network it was made for to a deeper, wider or larger one of its family.

    A site of the target takes the pattern of the site of the source that has the same role (the words of its
    name that do not begin all names of its block) in the same stage and at the same place among the blocks.
    Where a stage of the target has more blocks, the last one of the source serves the rest. Size and stride
    are scaled by the ratio of the smaller sides of the two maps, or of the lengths of the two sequences, as
    `PatternSet.scale` does.

    Args:
        patterns: Patterns at sites of the source; sites that it does not name have none to carry.
        source: Sites of the network the set was made for, in the order of the network.
        target: Sites of the network to carry it to, in the order of the network.

    Returns:
        The set for the target. Its provenance is that of `patterns` with the shapes of the target's `sites`
        and, under `transfers`, the range of the factors and the sites of the source that were left out since
        the target has fewer blocks.

    Raises:
        TypeError: `patterns` is no PatternSet, `source` or `target` holds something else than sites, or a
            pattern is of the wrong kind for its site.
        ValueError: a pattern at a site that the source lacks; a site of the target, or one with a pattern,
            without counterpart in the other network.

    Example:
        >>> import tf_autodropout as tad
        >>> found = tad.PatternSet({"stage3_block1_bn2": tad.ConvPattern(size=2)})
        >>> small, large = tad.models.wide_resnet(10, 1), tad.models.wide_resnet(16, 2, (64, 64, 3))
        >>> carried = tad.transfer(found, tad.sites(small).as_sites(), tad.sites(large).as_sites())
        >>> {site: pattern.size for site, pattern in carried.items()}
        {'stage3_block1_bn2': 4, 'stage3_block2_bn2': 4}

    Reference:
        Pham and Le, AutoDropout, AAAI 2021: sizes and strides in proportion, for EfficientNet. How the sites
        of networks of unlike depth are matched is ours.
    """
    if not isinstance(patterns, PatternSet):
        raise TypeError(f"Expected 'patterns' to be a PatternSet. Received: {shown(patterns)}")
    sources, targets = _by_kind("source", source), _by_kind("target", target)
    _check(patterns, sources, targets)
    carried: dict[str, Pattern] = {}
    used: set[str] = set()
    factors: set[float] = set()
    for kind, sites in targets.items():
        for place, site in enumerate(sites):
            origin = sources[kind][min(place, len(sources[kind]) - 1)]
            used.add(origin.name)
            if origin.name in patterns:
                factor = min(site.shape[:-1]) / min(origin.shape[:-1])
                carried[site.name] = patterns[origin.name].scale(factor)
                factors.add(factor)
    notes = patterns.provenance
    notes["sites"] = {site.name: list(site.shape) for site in target}
    note = {
        "from_sites": len(source),
        "to_sites": len(target),
        "scaled_by": [min(factors), max(factors)] if factors else [],
        "left_out": [name for name in patterns if name not in used],
    }
    notes["transfers"] = [*notes.get("transfers", []), note]
    return PatternSet({site.name: carried[site.name] for site in target if site.name in carried}, notes)


def _by_kind(argument: str, sites: Sequence[Site]) -> dict[_Kind, list[Site]]:
    """Returns the sites of each kind in the order of the network: as many as there are blocks that have one."""
    blocks: dict[tuple[str, str], list[str]] = {}
    for site in sites if isinstance(sites, Iterable) else (sites,):
        if not isinstance(site, Site):
            raise TypeError(
                f"Expected '{argument}' to be a sequence of sites, as tad.sites(model).as_sites(). "
                f"Received: {shown(site)}"
            )
        blocks.setdefault((site.stage, site.block), []).append(site.name)
    kinds: dict[_Kind, list[Site]] = {}
    for site in sites:
        heads = zip(*(name.split("_")[:-1] for name in blocks[site.stage, site.block]), strict=False)
        shared = len(list(itertools.takewhile(lambda words: len(set(words)) == 1, heads)))
        role = "_".join(site.name.split("_")[shared:])
        kinds.setdefault(_Kind(site.stage, role, site.kind), []).append(site)
    return kinds


def _check(patterns: PatternSet, sources: dict[_Kind, list[Site]], targets: dict[_Kind, list[Site]]) -> None:
    """Raises unless every pattern fits its site, and sites and patterns have their counterparts."""
    known = {site.name: site for sites in sources.values() for site in sites}
    if lacking := [name for name in patterns if name not in known]:
        raise ValueError(
            f"{len(lacking)} of {len(patterns)} sites of 'patterns' are not in 'source': {_some(lacking)}. "
            f"Its sites: {_some(known)}"
        )
    for name, pattern in patterns.items():
        if not isinstance(pattern, known[name].kind):
            raise TypeError(f"Site '{name}' needs a {known[name].kind.__name__}. Received: {type(pattern).__name__}")
    orphans = [site.name for kind, sites in targets.items() if kind not in sources for site in sites]
    lost = [
        site.name for kind, sites in sources.items() if kind not in targets for site in sites if site.name in patterns
    ]
    for argument, names, other in (("target", orphans, "source"), ("source", lost, "target")):
        if names:
            raise ValueError(
                f"{len(names)} sites of '{argument}' have no counterpart, of the same stage and role, in '{other}': "
                f"{_some(names)}"
            )


def _some(names: Iterable[str]) -> str:
    some = list(names)
    return ", ".join(some[:_SHOWN]) + (", ..." if len(some) > _SHOWN else "")
