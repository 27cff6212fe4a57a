"""The presets: a JSON file each, beside this one, named for the preset.

Their keys fit any depth of a family: kinds of sites (`ffn`) for Transformers, globs (`*`) for ConvNets. `regularize`
takes the name of a preset. None of them is the paper's.
"""

from importlib.resources import files

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import invalid

_SUFFIX = ".json"


def names() -> tuple[str, ...]:
    """Returns the names of the presets, sorted.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.presets.names()[0]
        'convnet-spatial-0.1'
    """
    shelf = files("tf_autodropout.presets")
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in shelf.iterdir() if file.name.endswith(_SUFFIX)))


def load(name: str) -> PatternSet:
    """Returns a preset; its `provenance` tells where it comes from and what was measured with it.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: no such preset.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.presets.load("transformer-dropout-0.1")["ffn"]
        TransformerPattern(size=1, stride=0, share_t=False, share_c=False, rate=0.1)
    """
    if name not in names():
        raise invalid("name", f"one of {', '.join(names())}", name)
    file = files("tf_autodropout.presets") / f"{name}{_SUFFIX}"
    return PatternSet.from_json(file.read_text(encoding="utf-8"), where=f"preset '{name}'")
