"""`Figures`: how a search stands, in numbers that a line of progress shows."""

import itertools
import statistics
import time
from collections import deque
from collections.abc import Callable

from tf_autodropout.search.core import INPUT_SHARE, Status, Trial

_RECENT = 64  # trials that tell the speed: the first one, which compiles, drops out
_LEVELS = "▁▂▃▄▅▆▇█"


class Figures:
    """Trials done, best, baseline, speed, share of input.

    Args:
        total: Trials of the whole run.
        clock: Seconds.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self._clock = total, clock
        self.done = 0
        self.best: float | None = None
        self.baseline: float | None = None
        self.input_share: float | None = None
        self._rewards: list[float] = []
        self._began = clock()
        self._times: deque[float] = deque([self._began], maxlen=_RECENT + 1)

    def begin(self, done: int, best: float | None, baseline: float | None) -> None:
        """Takes over from an earlier session; its trials tell nothing of this one's speed."""
        self.done, self.best, self.baseline = done, best, baseline
        self._began = self._clock()
        self._times.clear()
        self._times.append(self._began)

    def add(self, trial: Trial) -> None:
        """Counts a trial that is final."""
        self.done += 1
        self._times.append(self._clock())
        if trial.status is Status.FINISHED and trial.reward is not None:
            self._rewards.append(trial.reward)
            self.best = trial.reward if self.best is None else max(self.best, trial.reward)
        self.input_share = trial.metrics.get(INPUT_SHARE, self.input_share)

    @property
    def elapsed(self) -> float:
        """Seconds of this session until now, or until the last trial."""
        return (self._times[-1] if self.done >= self.total else self._clock()) - self._began

    @property
    def an_hour(self) -> float | None:
        """Trials an hour of late; None before the first one."""
        passed = (self._times[-1] if self.done >= self.total else self._clock()) - self._times[0]
        return 3600 * (len(self._times) - 1) / passed if len(self._times) > 1 and passed > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds that the other trials will take at this speed; None before the first one."""
        speed = self.an_hour
        return None if speed is None else 3600 * max(0, self.total - self.done) / speed

    def sparkline(self, width: int) -> str:
        """The rewards of this session from the lowest to the highest level; means of equal parts if there are more.

        Args:
            width: Characters at most.

        Example:
            >>> from tf_autodropout.search.terminal.figures import Figures
            >>> Figures(4).sparkline(8)
            ''
        """
        rewards = list(self._rewards)
        count = min(width, len(rewards))
        ends = [round(place * len(rewards) / count) for place in range(count + 1)] if count else []
        means = [statistics.fmean(rewards[a:b]) for a, b in itertools.pairwise(ends)]
        if not means:
            return ""
        low, span = min(means), max(means) - min(means)
        top = len(_LEVELS) - 1
        return "".join(_LEVELS[round(top * (mean - low) / span) if span else top // 2] for mean in means)


def span(seconds: float) -> str:
    """Writes a time with two digits.

    Example:
        >>> from tf_autodropout.search.terminal.figures import span
        >>> [span(seconds) for seconds in (8, 600, 8000, 400_000)]
        ['8 s', '10 min', '2.2 h', '4.6 days']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
