"""What the best PatternSet is compared with, made from the kinds of the sites."""

from collections.abc import Callable, Sequence

from tf_autodropout.patterns import ConvPattern, Pattern, PatternSet, Site, TransformerPattern, members
from tf_autodropout.search.core import Opponent

_USUAL = ("softmax", "output", "ffn")  # where Transformers have their dropout
_BLOCK = 4  # of a block, as a part of the map's smaller side


def opponents_for(sites: Sequence[Site]) -> list[Opponent]:
    """Returns no dropout and the classics that fit: on maps Spatial Dropout and one block a channel, on tokens Dropout,
    Variational Dropout and Word Dropout, in Transformer layers where these have their dropout.

    Args:
        sites: The sites of the network.
    """
    maps = [site for site in sites if site.kind is ConvPattern]
    tokens = [site for site in sites if site.kind is TransformerPattern]
    tokens = [site for site in tokens if site.name in _USUAL] or tokens

    def everywhere(name: str, places: Sequence[Site], pattern: Callable[[Site], Pattern]) -> list[Opponent]:
        return [Opponent(name, PatternSet({site.name: pattern(site) for site in places}))] if places else []

    found = [Opponent("no dropout", PatternSet({}))]
    for rate in (0.1, 0.2):
        found += everywhere(f"Spatial Dropout({rate:g})", maps, lambda site, rate=rate: members.spatial_dropout(rate))  # type: ignore[misc]
        found += everywhere(f"Dropout({rate:g})", tokens, lambda site, rate=rate: members.dropout(rate))  # type: ignore[misc]
    found += everywhere("one block a channel", maps, lambda site: ConvPattern(max(1, min(site.shape[:-1]) // _BLOCK)))
    found += everywhere("Variational Dropout(0.2)", tokens, lambda site: members.variational_dropout(0.2))
    found += everywhere("Word Dropout(0.1)", tokens, lambda site: members.word_dropout(0.1))
    return found
