"""`--patterns`: a PatternSet from a file, a preset or a run, carried to the network of a recipe."""

from collections.abc import Sequence
from pathlib import Path

from tf_autodropout import presets
from tf_autodropout.layers import TRANSFORMER_SITES
from tf_autodropout.patterns import PatternSet, Site, transfer
from tf_autodropout.patterns.checks import invalid

_BEST = "best.json"


def load_patterns(source: str) -> PatternSet:
    """Reads a PatternSet.

    Args:
        source: A JSON file, the directory of a run (its `best.json`), or the name of a preset.

    Raises:
        ValueError: none of these, or a file that is no PatternSet.
    """
    path = Path(source)
    if path.is_dir():
        path = path / _BEST
        if not path.is_file():
            raise invalid("patterns", f"a directory of a run with {_BEST}", source)
    if path.is_file():
        return PatternSet.load(path)
    if source in presets.names():
        return presets.load(source)
    raise invalid("patterns", f"a file, the directory of a run, or a preset: {', '.join(presets.names())}", source)


def carry(patterns: PatternSet, target: Sequence[Site]) -> PatternSet:
    """Makes a PatternSet fit a network: by role in Transformers, by stage, role and block in ConvNets.

    A set whose keys are the roles of Transformers goes to every Transformer as it is: its sizes are tokens. A set
    that a search has found on a ConvNet says in its provenance which sites with which shapes it was made for; from
    there `tad.transfer` carries it, sizes in proportion. A set without shapes, such as a preset with globs, must
    name sites or kinds that the network has.

    Args:
        patterns: Found on a proxy.
        target: `tad.sites(network).as_sites()` of the network to train.

    Returns:
        The set for the network.

    Raises:
        ValueError: sites without counterpart.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.recipes.carrying import carry
        >>> small, large = (tad.sites(tad.models.wide_resnet(*size)).as_sites() for size in [(10, 1), (16, 2)])
        >>> shapes = {site.name: list(site.shape) for site in small}
        >>> found = tad.PatternSet({"stage3_block1_bn2": tad.ConvPattern(size=2)}, {"sites": shapes})
        >>> sorted(carry(found, large))
        ['stage3_block1_bn2', 'stage3_block2_bn2']
    """
    if patterns.keys() <= set(TRANSFORMER_SITES):
        return patterns
    shapes = patterns.provenance.get("sites")
    names = {site.name: site for site in target}
    if not isinstance(shapes, dict) or all(
        name in shapes and tuple(shapes[name]) == site.shape for name, site in names.items()
    ):
        return patterns
    source = [
        Site(name, names[name].kind if name in names else type(pattern), tuple(shape), *_block_and_stage(name))
        for name, shape in shapes.items()
        for pattern in [patterns.get(name) or next(iter(patterns.values()))]
    ]
    renamed = [Site(site.name, site.kind, site.shape, *_block_and_stage(site.name)) for site in target]
    return transfer(patterns, source, renamed)


def _block_and_stage(name: str) -> tuple[str, str]:
    """Of a site of our builders: `stage1_block2_bn1` is in block `stage1_block2` of `stage1`, `stem_bn` in `stem`."""
    parts = name.split("_")
    if len(parts) > 2 and parts[0].startswith("stage") and parts[1].startswith("block"):
        return "_".join(parts[:2]), parts[0]
    return parts[0], parts[0]
