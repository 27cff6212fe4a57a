"""`Place`: a pattern on tensors of one shape, its drop probability, and draws of it that show something."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import keras
import numpy as np

from tf_autodropout.masks import drop_probability, keep_mask
from tf_autodropout.patterns import Pattern
from tf_autodropout.patterns.extent import described
from tf_autodropout.visualize.view import View

_CELLS_AT_ONCE, _CELLS_IN_ALL = 2**20, 2**25
_DRAWS_AT_ONCE, _DRAWS_IN_ALL = 256, 2048
_MOST_COLUMNS = 64  # features of a token are alike: more are neither shown nor drawn
_COMMON = 0.995  # what acts more often than this acts always, to the eye


@dataclass(frozen=True)
class Place:
    """A pattern on tensors of one shape.

    Args:
        label: Name of the site; may be empty.
        pattern: The pattern.
        shape: Shape of one example, channels last: `(T, C)`, `(H, W, C)` or `(D, H, W, C)`.
        notes: More lines for the caption.
        names: Of the axes of a picture, if they are tokens and features in other words.
    """

    label: str
    pattern: Pattern
    shape: tuple[int, ...]
    notes: tuple[str, ...] = ()
    names: tuple[str, str] = ("token", "feature")

    @property
    def is_table(self) -> bool:
        """True if a picture has a token a row and a feature a column; else it is the map of one channel."""
        return len(self.shape) == 2

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the map, or the number of tokens."""
        return self.shape[:-1]

    @cached_property
    def drawn(self) -> tuple[int, ...]:
        """Shape of what is drawn and shown of one example: a map, or tokens by as many features as are shown."""
        if not self.is_table:
            return self.sizes
        most = max(min(_MOST_COLUMNS, _CELLS_AT_ONCE // self.shape[0]), 1)
        return (self.shape[0], min(self.shape[1], most))

    @cached_property
    def resolved(self) -> Pattern:
        """The pattern with all lengths in cells."""
        return self.pattern.resolve(self.sizes)

    @cached_property
    def view(self) -> View:
        """How pictures of this place are made."""
        grain = (self.resolved.grain(len(self.sizes)),) * len(self.sizes)
        return View.of(self.drawn, (*grain, 1) if self.is_table else grain, square=not self.is_table)

    @cached_property
    def probability(self) -> np.ndarray:
        """The drop probability of each cell; a scalar where it is the same for all."""
        chances = drop_probability(self.pattern, self.sizes)
        if np.ptp(chances) < 1e-9:
            return np.asarray(chances.flat[0])
        return np.broadcast_to(chances[:, None], self.drawn) if self.is_table else chances

    @property
    def caption(self) -> str:
        """The pattern in words, how often it acts, and what is not shown."""
        if self.pattern.is_identity:
            return "no pattern"
        lines = list(self.pattern.summary(len(self.sizes)))
        if self.pattern.has_fractions:
            lines.append(f"here {described(self.resolved.sizes(len(self.sizes)))}")
        chance, what = acts(self.resolved, self.sizes)
        if chance < _COMMON:
            lines.append(f"acts in {100 * chance:.3g} % of {what}")
        if self.is_table and self.drawn[1] < self.shape[1]:
            lines.append(f"{self.drawn[1]} of {self.shape[1]} {self.names[1]}s")
        return "\n".join([*lines, *self.view.notes, *self.notes])

    def masks(self, draws: int, seed: tuple[int, int]) -> Iterator[np.ndarray]:
        """Draws masks, arrays of zeros and ones of the shape `drawn`, 1 = keep, in which something is dropped.

        Where too few are found within a bounded search, the last ones drop nothing.
        """
        pattern = self._if_applied()
        cells = math.prod(self.drawn)
        at_once = min(max(_CELLS_AT_ONCE // cells, 1), _DRAWS_AT_ONCE)
        rounds = max(min(_CELLS_IN_ALL // (cells * at_once), _DRAWS_IN_ALL // at_once), draws)
        found = 0
        for number in range(rounds):
            # The first masks are few: most patterns need no more.
            batch = min(at_once, draws) if number == 0 else at_once
            shape = (batch, *self.drawn) if self.is_table else (batch, *self.drawn, 1)
            mask = keep_mask(pattern, shape, (seed[0], seed[1] * _DRAWS_IN_ALL + number))
            mask = keras.ops.convert_to_numpy(mask)
            mask = np.broadcast_to(mask, (batch, *mask.shape[1:-1], shape[-1]))
            mask = np.broadcast_to(mask, shape).reshape(batch, *self.drawn)
            for one in mask:
                if found < draws and not one.all():
                    found += 1
                    yield one
            if found == draws or pattern.is_identity:
                break
        yield from [np.broadcast_to(np.float32(1), self.drawn)] * (draws - found)

    def _if_applied(self) -> Pattern:
        """The pattern, given that it is applied, where a picture is one draw of that: what is drawn then, exactly."""
        one = self.resolved
        alone = not self.is_table or one.share_c
        whole = alone and one.all_or_none(self.sizes) and not one.is_identity
        return replace(one, rate=1.0) if whole else one  # type: ignore[type-var]


def acts(pattern: Pattern, sizes: tuple[int, ...]) -> tuple[float, str]:
    """Returns how often a pattern is applied at all, and to what; 1 where that has no meaning."""
    what = "examples" if pattern.share_c else "maps" if len(sizes) > 1 else "channels"
    return (1.0 if pattern.is_identity else pattern.chance(sizes)), what
