"""How much a pattern drops, nearly: one number that models of the reward understand."""

from tf_autodropout.patterns import Pattern, Site


def dropped_share(site: Site, pattern: Pattern) -> float:
    """Returns about the share of a site's cells or tokens that a pattern drops.

    Args:
        site: Of the network.
        pattern: Of the site's kind, without fractions.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.children.share import dropped_share
        >>> site = tad.sites(tad.models.transformer_lm(1000, 32)).as_sites()[0]
        >>> dropped_share(site, tad.TransformerPattern(size=2, stride=2, rate=0.4))
        0.2
    """
    return 0.0 if pattern.is_identity else pattern.share(site.sizes)
