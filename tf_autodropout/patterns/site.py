"""A named place in a network where a pattern may go."""

from dataclasses import dataclass

from tf_autodropout.patterns.conv_pattern import ConvPattern
from tf_autodropout.patterns.pattern import Pattern
from tf_autodropout.patterns.transformer_pattern import TransformerPattern


@dataclass(frozen=True)
class Site:
    """A place where a pattern may go.

    Args:
        name: The key of a `PatternSet`.
        kind: The class of the patterns that fit.
        shape: Shape of one example there: `(H, W, C)` for a ConvNet, `(T, C)` for a Transformer.
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

    def __post_init__(self) -> None:
        rank = {ConvPattern: 3, TransformerPattern: 2}.get(self.kind)
        if rank is None:
            raise TypeError(f"Expected 'kind' to be ConvPattern or TransformerPattern. Received: {self.kind!r}")
        if len(self.shape) != rank or min(self.shape) < 1:
            raise ValueError(f"Expected {rank} positive sizes at site '{self.name}'. Received: shape={self.shape!r}")
