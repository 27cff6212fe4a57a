"""A named place in a network where a pattern may go."""

import numbers
from dataclasses import dataclass

from tf_autodropout.patterns.checks import LONGEST, check_site_name, shown
from tf_autodropout.patterns.kinds import SEARCHED
from tf_autodropout.patterns.pattern import Pattern


@dataclass(frozen=True)
class Site:
    """A place where a pattern may go.

    Args:
        name: The key of a `PatternSet`.
        kind: The class of the patterns that fit.
        shape: Shape of one example there: `(H, W, C)`, `(T, C)` or `(D, H, W, C)` for a ConvNet, `(T, C)` for a
            Transformer.
        block: Name of the block or part of the network the site belongs to.
        stage: Name of the stage, a run of blocks.

    Example:
        >>> from tf_autodropout.patterns import ConvPattern, Site
        >>> Site("final_bn", ConvPattern, (8, 8, 64), block="final", stage="stage3").shape
        (8, 8, 64)
    """

    name: str
    kind: type[Pattern]
    shape: tuple[int, ...]
    block: str
    stage: str

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the map, or the number of tokens."""
        return self.kind.sizes_of(self.shape)

    def __post_init__(self) -> None:
        check_site_name(self.name)
        if not any(self.kind is kind for kind in SEARCHED.values()):
            raise TypeError(f"Expected 'kind' to be {' or '.join(SEARCHED)}. Received: {shown(self.kind)}")
        ranks = self.kind.example_ranks()
        sizes = self.shape if isinstance(self.shape, tuple | list) else ()
        whole = all(isinstance(size, numbers.Integral) and not isinstance(size, bool) for size in sizes)
        if len(sizes) not in ranks or not whole or not 1 <= min(sizes) <= max(sizes) <= LONGEST:
            among = " or ".join(map(str, ranks))
            raise ValueError(
                f"Expected {among} positive sizes at site '{self.name}'. Received: shape={shown(self.shape)}"
            )
