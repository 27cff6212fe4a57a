"""What the best PatternSet is compared with, in one place for every task: the classics and their rates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tf_autodropout.patterns import ConvPattern, Pattern, PatternSet, Site, TransformerPattern, members
from tf_autodropout.patterns.extent import portion
from tf_autodropout.search.core import Opponent

# The usual rates first: a small budget tries these.
RATES = (0.1, 0.2, 0.05, 0.3, 0.15, 0.4, 0.025, 0.25, 0.5, 0.6)
_USUAL = ("softmax", "output", "ffn")  # where Transformers have their dropout
_ENDS = ("output", "ffn")  # what ends their residual branches
_BLOCK = 4  # of a block, as a part of the map's smaller side
_ALL = "all"
_MOST_ROLES = 8  # beyond that sites of one stage share a rate


@dataclass(frozen=True)
class Classic:
    """A classic dropout whose rates are to be tuned.

    Args:
        name: What the table calls it.
        roles: Sites that share a rate, by the name of their role.
        pattern: The pattern of a site at a rate.
        ramp_up: Whether its rate rises from nothing while training.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.tasks.opponents import classics_for
        >>> dropout = classics_for(tad.sites(tad.models.transformer_lm(1000, 32)).as_sites())[0]
        >>> dropout.at({role: 0.1 for role in dropout.roles}).name
        'Dropout(0.1)'
    """

    name: str
    roles: Mapping[str, tuple[Site, ...]]
    pattern: Callable[[Site, float], Pattern]
    ramp_up: bool = False

    def at(self, rates: Mapping[str, float]) -> Opponent:
        """Returns it with a rate for each role; one rate is told once, several in the order of the roles."""
        told = [f"{rates[role]:g}" for role in self.roles]
        name = f"{self.name}({told[0] if len(set(told)) == 1 else '/'.join(told)})"
        patterns = {
            site.name: self.pattern(site, rates[role])
            for role, sites in self.roles.items()
            for site in sites
            if rates[role] > 0
        }
        return Opponent(name, PatternSet(patterns), self.ramp_up)

    def everywhere(self, rate: float) -> Opponent:
        """Returns it with one rate."""
        return self.at(dict.fromkeys(self.roles, rate))


def classics_for(sites: Sequence[Site], branch_ends: Sequence[str] = (), any_pattern: bool = False) -> list[Classic]:
    """Returns the classics that fit, the best known first.

    On tokens: Dropout, Word Dropout and Variational Dropout, in Transformer layers where these have their dropout, and
    DropPath at the ends of their residual branches. On maps: Dropout, Spatial Dropout, DropBlock with blocks of a
    quarter of the map and its ramp-up, and DropPath with the linear rule of Stochastic Depth. A role is the name of a
    token site, the stage of a map. A search adds them to a task's own lines; a task need not know of them, but may have
    two attributes: `any_opponent`, True if its `test` trains opponents that do not `fit` its space, and `branch_ends`.

    Args:
        sites: The sites of the network.
        branch_ends: Sites on maps that end a residual branch, in the order of the network; none for no DropPath there.
        any_pattern: Whether the task can train patterns of other kinds than those of its sites: on maps without it
            there is no Dropout and no DropBlock.

    Reference:
        Huang et al., Deep Networks with Stochastic Depth, ECCV 2016, Equation 4; Ghiasi et al., DropBlock, NeurIPS
        2018, Section 3; for the others see `tad.members`.
    """
    maps = [site for site in sites if site.kind.ON_MAPS]
    tokens = [site for site in sites if not site.kind.ON_MAPS]
    usual = [site for site in tokens if site.name in _USUAL] or tokens
    ends = [site for site in maps if site.name in branch_ends]
    within = ends or maps  # a Wide ResNet has its Dropout inside the branches
    found = []
    if dropout := _by_name(usual) | (_by_stage(within) if any_pattern else {}):
        found.append(Classic("Dropout", dropout, _dropout))
    if usual:
        found.append(Classic("Word Dropout", _by_name(usual), lambda site, rate: members.word_dropout(rate)))
        found.append(Classic("Variational Dropout", _by_name(usual), lambda s, rate: members.variational_dropout(rate)))
    if last := [site for site in usual if site.name in _ENDS]:
        kind = TransformerPattern
        found.append(Classic("DropPath", _by_name(last), lambda site, rate: members.drop_path(rate, kind)))
    if maps:
        found.append(Classic("Spatial Dropout", _by_stage(maps), lambda site, rate: members.spatial_dropout(rate)))
    if maps and any_pattern:
        found.append(Classic("DropBlock", _by_stage(maps), _drop_block, ramp_up=True))
    if ends:
        depth = {site.name: (place + 1) / len(ends) for place, site in enumerate(ends)}
        name = "DropPath" if not last else "DropPath on maps"
        found.append(Classic(name, {_ALL: tuple(ends)}, lambda s, rate: members.drop_path(rate * depth[s.name])))
    return found


def known_patterns(sites: Sequence[Site]) -> list[PatternSet]:
    """Returns what a search may begin with: no dropout, each classic at its usual rate, and on maps blocks of an eighth
    and of a quarter in each channel.

    Args:
        sites: The sites of the network.
    """
    maps = [site for site in sites if site.kind.ON_MAPS]
    blocks = [
        {site.name: ConvPattern(size=portion(1 / part, min(site.sizes))) for site in maps}
        for part in (2 * _BLOCK, _BLOCK)
    ]
    classics = [classic.everywhere(RATES[0]).patterns for classic in classics_for(sites)]
    return list(dict.fromkeys([PatternSet({}), *classics, *(PatternSet(block) for block in blocks if maps)]))


def _dropout(site: Site, rate: float) -> Pattern:
    """On maps a DropBlock of single cells, which is Dropout."""
    return members.drop_block(1, rate) if site.kind.ON_MAPS else members.dropout(rate)


def _drop_block(site: Site, rate: float) -> Pattern:
    return members.drop_block(max(1, min(site.sizes) // _BLOCK), rate)


def _by_name(sites: Sequence[Site]) -> dict[str, tuple[Site, ...]]:
    return {site.name: (site,) for site in sites} if len(sites) <= _MOST_ROLES else _by_stage(sites)


def _by_stage(sites: Sequence[Site]) -> dict[str, tuple[Site, ...]]:
    stages = dict.fromkeys(site.stage for site in sites)
    return {stage: tuple(site for site in sites if site.stage == stage) for stage in stages}
