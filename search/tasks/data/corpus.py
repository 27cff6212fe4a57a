"""A text as token ids."""

from dataclasses import dataclass

import numpy as np

UNKNOWN = 0  # id of all words without an id of their own


@dataclass(frozen=True)
class Corpus:
    """Token ids of three splits that share no text.

    Id 0 stands for all words without an id of their own. It is read and scored like any other token.

    Args:
        train: int32 `(tokens,)`.
        valid: int32 `(tokens,)`.
        test: int32 `(tokens,)`.
        vocabulary_size: Ids are `0 ... vocabulary_size - 1`.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary_size: int
