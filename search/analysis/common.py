"""What the best PatternSets of a run have in common, and which classics their patterns resemble."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tf_autodropout.patterns import Pattern, PatternSet, Site
from tf_autodropout.search.space import SearchSpace


@dataclass(frozen=True)
class Common:
    """What happens at one group of sites.

    Args:
        group: Name of the group.
        best: Share of the best PatternSets that drop something there.
        all: Share of all PatternSets that do.
        resembles: The classic that most patterns of the best resemble, with their share; empty without patterns.
    """

    group: str
    best: float
    all: float
    resembles: str


def resembles(pattern: Pattern, site: Site) -> str:
    """Returns the classic whose structure a pattern has.

    Args:
        pattern: At the site.
        site: Its shape says what covers everything.

    Returns:
        Of maps `"DropPath"` (everything), `"Spatial Dropout"` (whole channels), `"DropBlock"` (one block), `"several
        blocks"`; of tokens `"Dropout"` (entries), `"Word Dropout"` (tokens), `"Variational Dropout"` (features, the
        same at all tokens), `"DropPath"`, `"runs of tokens"`; `"nothing"` for the identity.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.analysis.common import resembles
        >>> resembles(tad.members.variational_dropout(0.2), tad.sites(tad.models.transformer_lm(50, 8)).as_sites()[0])
        'Variational Dropout'
    """
    return "nothing" if pattern.is_identity else pattern.classic(site.sizes)


def in_common(best: Sequence[PatternSet], others: Sequence[PatternSet], space: SearchSpace) -> list[Common]:
    """Compares the best PatternSets with all of a run, group by group.

    Args:
        best: The PatternSets with the highest rewards.
        others: All that have a reward.
        space: Of the search.
    """
    rows = []
    for group, (site, *_) in space.groups.items():
        there = [one[site.name] for one in best if site.name in one and not one[site.name].is_identity]
        everywhere = [one for one in others if site.name in one and not one[site.name].is_identity]
        names = Counter(resembles(pattern, site) for pattern in there)
        name, count = names.most_common(1)[0] if names else ("", 0)
        share = f"{name} ({count / len(there):.0%})" if there else ""
        rows.append(Common(group, len(there) / max(1, len(best)), len(everywhere) / max(1, len(others)), share))
    return rows
