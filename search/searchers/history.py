"""What a searcher that learns from all trials keeps: their tokens and rewards."""

import io
from collections.abc import Sequence

import numpy as np

from tf_autodropout.search.core import Trial


class History:
    """Tokens and rewards of the trials that a searcher has learned from, oldest first.

    Args:
        length: Tokens per trial, L.
        keep: Number of trials kept, the newest ones; None for all.
    """

    def __init__(self, length: int, keep: int | None = None) -> None:
        self._keep = keep
        self.tokens = np.zeros((0, length), np.int16)  # (n, L)
        self.rewards = np.zeros(0)  # (n,)

    def add(self, trials: Sequence[Trial]) -> None:
        """Adds trials with rewards."""
        tokens = [trial.suggestion.tokens for trial in trials]
        rewards = [trial.reward for trial in trials if trial.reward is not None]
        total = len(self) + len(rewards)
        start = 0 if self._keep is None else max(0, total - self._keep)
        self.tokens = np.concatenate([self.tokens, np.array(tokens, np.int16)])[start:]
        self.rewards = np.concatenate([self.rewards, np.array(rewards, float)])[start:]

    def state(self) -> bytes:
        """Returns everything, to go on with elsewhere; the same bytes for the same trials."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, tokens=self.tokens, rewards=self.rewards)
        return buffer.getvalue()

    def restore(self, state: bytes | None) -> None:
        """Goes back to what `state` returned; None or nothing: to the beginning."""
        if not state:
            self.tokens, self.rewards = self.tokens[:0], self.rewards[:0]
            return
        with np.load(io.BytesIO(state)) as arrays:
            self.tokens, self.rewards = arrays["tokens"], arrays["rewards"]

    def __len__(self) -> int:
        return len(self.rewards)
