"""The two queues of the paper's search: what is out, and what is back and not yet learned from."""

from collections.abc import Iterable

from tf_autodropout.search.trial import Trial


class UnfinishedQueue:
    """Trials that wait for training or are being trained, at most C of them.

    Args:
        capacity: C, at least 1.
        trials: What is out already.

    Raises:
        ValueError: a capacity below 1.
    """

    def __init__(self, capacity: int, trials: Iterable[Trial] = ()) -> None:
        if capacity < 1:
            raise ValueError(f"Invalid value for 'capacity'. Expected >= 1. Received: capacity={capacity}")
        self._capacity = capacity
        self._trials = {trial.number: trial for trial in trials}

    @property
    def room(self) -> int:
        """How many trials may be added."""
        return max(0, self._capacity - len(self._trials))

    def add(self, trial: Trial) -> None:
        """Adds a trial, or puts back one that is to be tried again."""
        self._trials[trial.number] = trial

    def pop(self, number: int) -> Trial | None:
        """Takes a trial out; None if it is not there (it finished before)."""
        return self._trials.pop(number, None)

    def __len__(self) -> int:
        return len(self._trials)


class FinishedQueue:
    """Trials with rewards, flushed M at a time.

    Args:
        batch: M, at least 1.
        trials: What is finished and not yet learned from, oldest first.

    Raises:
        ValueError: a batch below 1.
    """

    def __init__(self, batch: int, trials: Iterable[Trial] = ()) -> None:
        if batch < 1:
            raise ValueError(f"Invalid value for 'batch'. Expected >= 1. Received: batch={batch}")
        self._batch = batch
        self._trials = list(trials)

    def add(self, trial: Trial) -> None:
        """Adds a trial that has a reward."""
        self._trials.append(trial)

    def flush(self) -> list[Trial] | None:
        """Takes out the M oldest trials; None while there are fewer."""
        if len(self._trials) < self._batch:
            return None
        taken, self._trials = self._trials[: self._batch], self._trials[self._batch :]
        return taken
