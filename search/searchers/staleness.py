"""How old the suggestions of a batch are, for the log."""

from collections.abc import Sequence

from tf_autodropout.search.core import Trial


def staleness(trials: Sequence[Trial], version: int) -> dict[str, float]:
    """Returns mean and largest staleness: the updates since each trial was suggested.

    Args:
        trials: The batch of an update.
        version: Number of updates before this one.
    """
    updates = [version - trial.suggestion.version for trial in trials]
    return {"mean_staleness": sum(updates) / len(updates), "largest_staleness": max(updates)}
