"""What the patterns of maps have in common, whatever they drop there."""

from typing import ClassVar

from tf_autodropout.patterns.pattern import Pattern


class MapPattern(Pattern):
    """A pattern on `(N, T, C)`, `(N, H, W, C)` or `(N, D, H, W, C)`, in either data format."""

    RANKS: ClassVar[tuple[int, ...]] = (3, 4, 5)
    LAYOUT: ClassVar[str] = "(N, T, C), (N, H, W, C) or (N, D, H, W, C)"
