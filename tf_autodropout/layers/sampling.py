"""Monte Carlo sampling: patterns act although the model is not in training."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

_SPREAD = 0x9E3779B9  # 2^32 by the golden ratio: multiples are far from each other
_LOCAL = threading.local()


class Sample(NamedTuple):
    """The sample that is being computed.

    Args:
        seed: Integer that seeds all samples.
        number: Number of this sample, an integer or a scalar tensor.
    """

    seed: int
    number: Any

    @property
    def offset(self) -> int:
        """What is added to the seed of a layer, an int32: so that other seeds give other masks."""
        word = self.seed * _SPREAD & 0xFFFFFFFF
        return word - 2**32 if word >= 2**31 else word


@contextmanager
def sampling(sample: Sample) -> Iterator[None]:
    """Lets the pattern layers that are called inside act, at full strength, with masks of this sample."""
    before = current_sample()
    _LOCAL.sample = sample
    try:
        yield
    finally:
        _LOCAL.sample = before


def current_sample() -> Sample | None:
    """Returns the sample that is being computed in this thread, or None."""
    return getattr(_LOCAL, "sample", None)
