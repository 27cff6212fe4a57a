"""The dropout pattern of a Transformer site (paper, Fig. 4)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from tf_autodropout.patterns.checks import (
    LONGEST,
    check_bool,
    check_factor,
    check_int,
    check_rate,
    invalid,
    scaled_length,
)
from tf_autodropout.patterns.extent import described
from tf_autodropout.patterns.pattern import DROP_PATH, Pattern


@dataclass(frozen=True)
class TransformerPattern(Pattern):
    """Blocks of affected tokens, with untouched tokens between them, on `(N, T, C)`.

    Blocks of `size` affected tokens alternate with `stride` untouched ones through the whole sequence. Their
    phase, which each example draws uniformly in `0 ... size + stride - 1`, is the number of tokens by which the
    first block begins before the sequence: so every token is affected with the same probability,
    `size / (size + stride)`. For `size >= T` one block covers all. Each affected token is dropped with
    probability `rate`. A tensor `(N, C)` is one token an example.

    Args:
        size: Tokens per block. 0 means no pattern: the identity.
        stride: Untouched tokens between two blocks, at least 0.
        share_t: True makes one draw for a whole block, False one for each token.
        share_c: True makes one draw for all features, False one for each feature.
        rate: Probability that an affected token is dropped. The paper gives no value; ours.

    Raises:
        ValueError: a value outside these ranges.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.TransformerPattern(size=1, stride=0, rate=0.2)       # Dropout(0.2)
        TransformerPattern(size=1, stride=0, share_t=False, share_c=False, rate=0.2)

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figure 4. `stride` is the number of skipped tokens, as
        in the text (the figure's caption reads a stride of 1 as two).
    """

    TYPE: ClassVar[str] = "TransformerPattern"
    RANKS: ClassVar[tuple[int, ...]] = (2, 3)
    ANY_LARGER: ClassVar[bool] = True
    LAYOUT: ClassVar[str] = "of rank 2 or more, (N, C) or (N, T, C)"
    # Fig. 4's tokens and a rate; the values are ours. Sizes and strides: tokens; "all" is the length of the sequence.
    GRID: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "size": (0, 1, 2, 4, 8, "all"),
        "stride": (0, 1, 2, 4, 8),
        "share_t": (False, True),
        "share_c": (False, True),
        "rate": (0.05, 0.1, 0.2, 0.3, 0.4),
    }

    size: int = 0
    stride: int = 0
    share_t: bool = False
    share_c: bool = False
    rate: float = 0.1

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "size": check_int("size", self.size, 0),
            "stride": check_int("stride", self.stride, 0),
            "share_t": check_bool("share_t", self.share_t),
            "share_c": check_bool("share_c", self.share_c),
            "rate": check_rate("rate", self.rate),
        }
        if checked["size"] + checked["stride"] > LONGEST:
            raise invalid("size", f"size + stride <= {LONGEST}", self.size)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def decided(cls, values: Mapping[str, Any], sizes: tuple[int, ...]) -> Self:
        return cls(**{**values, "size": sizes[0] if values["size"] == "all" else values["size"]})

    def within(self, sizes: tuple[int, ...]) -> Self:
        return replace(self, size=sizes[0]) if self.covers(sizes) else self

    def covers(self, sizes: tuple[int, ...]) -> bool:
        return self.size >= sizes[0]

    def classic(self, sizes: tuple[int, ...]) -> str:
        if self.share_t and self.covers(sizes):
            return DROP_PATH if self.share_c else "Variational Dropout"
        if self.stride or (self.share_t and self.size > 1):
            return "runs of tokens"
        return "Word Dropout" if self.share_c else "Dropout"

    def share(self, sizes: tuple[int, ...]) -> float:
        affected = 1.0 if self.covers(sizes) else self.size / max(1, self.size + self.stride)
        return affected * self.rate

    def grain(self, axes: int) -> int:
        return min(self.size, self.stride or self.size) if self.share_t else 1

    def scale(self, factor: float) -> "TransformerPattern":
        """Returns the pattern for sequences `factor` times as long: size and stride in proportion."""
        factor = check_factor(factor)
        return replace(self, size=scaled_length(self.size, factor), stride=scaled_length(self.stride, factor))

    def summary(self, axes: int = 2) -> tuple[str, ...]:
        flags = [name.replace("_", " ") for name in ("share_t", "share_c") if getattr(self, name)]
        lines = (f"size {described(self.size)} stride {self.stride}", f"rate {self.rate:g}")
        return (*lines, *([", ".join(flags)] if flags else []))
