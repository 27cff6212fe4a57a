"""How strong a pattern is at each step of training."""

from dataclasses import dataclass
from typing import Any, ClassVar

from tf_autodropout.patterns.checks import check_int, check_rate, invalid
from tf_autodropout.patterns.document import Document, DocumentError, check_fields

_LAST_STEP = 2**31 - 1  # steps are counted in int32


@dataclass(frozen=True)
class Schedule(Document):
    """A factor of a pattern's `rate`, a function of the step: constant, then a straight line, then constant.

    The factor is `first` before step `begin`, `last` from step `end` on, and goes in a straight line from one to the
    other between them. With `begin == end` it is switched at that step. `Schedule.ramp_up`, `ramp_down`, `early` and
    `late` make the usual ones.

    A step is a training call of the layer that has the schedule, counted by the layer itself; the count is saved
    with the model's weights.

    Args:
        first: Factor before step `begin`, 0 to 1.
        last: Factor from step `end` on, 0 to 1.
        begin: First step of the line, at least 0; the first step of a training is 0.
        end: First step after the line, at least `begin`.

    Raises:
        ValueError: a value outside these ranges.

    Example:
        >>> import tf_autodropout as tad
        >>> layer = tad.PatternDropout(tad.members.drop_block(7), schedule=tad.Schedule.ramp_up(10_000))
        >>> [tad.Schedule.ramp_up(10)(step) for step in (0, 5, 10, 15)]
        [0.0, 0.5, 1.0, 1.0]

    Reference:
        Ghiasi et al., DropBlock, NeurIPS 2018, Section 3: a ramp up. Liu et al., Dropout Reduces Underfitting, ICML
        2023: early and late dropout. Morerio et al., Curriculum Dropout, ICCV 2017: dropout that grows.
    """

    TYPE: ClassVar[str] = "Schedule"

    first: float = 0.0
    last: float = 1.0
    begin: int = 0
    end: int = 0

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "first": check_rate("first", self.first),
            "last": check_rate("last", self.last),
            "begin": check_int("begin", self.begin, 0),
            "end": check_int("end", self.end, 0),
        }
        if not checked["begin"] <= checked["end"] <= _LAST_STEP:
            raise invalid("end", f"begin <= end <= {_LAST_STEP}", self.end)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def ramp_up(cls, steps: int) -> "Schedule":
        """Returns a ramp from nothing at the first step to full strength after `steps` steps: DropBlock's own."""
        return cls(0.0, 1.0, 0, check_int("steps", steps, 1))

    @classmethod
    def ramp_down(cls, steps: int) -> "Schedule":
        """Returns a ramp from full strength at the first step to nothing after `steps` steps."""
        return cls(1.0, 0.0, 0, check_int("steps", steps, 1))

    @classmethod
    def early(cls, steps: int) -> "Schedule":
        """Returns full strength for the first `steps` steps, then nothing: against underfitting."""
        steps = check_int("steps", steps, 1)
        return cls(1.0, 0.0, steps, steps)

    @classmethod
    def late(cls, steps: int) -> "Schedule":
        """Returns nothing for the first `steps` steps, then full strength."""
        steps = check_int("steps", steps, 1)
        return cls(0.0, 1.0, steps, steps)

    def __call__(self, step: int) -> float:
        """Returns the factor at a step."""
        if step >= self.end:
            return self.last
        done = max(step - self.begin, 0) / max(self.end - self.begin, 1)
        return self.first + (self.last - self.first) * done

    @property
    def peak(self) -> float:
        """The largest factor of all steps."""
        return max(self.first, self.last)

    def __str__(self) -> str:
        if self.begin == self.end:
            return f"rate × {self.first:g}, from step {self.begin} on × {self.last:g}"
        return f"rate × {self.first:g} to {self.last:g} in steps {self.begin} to {self.end}"

    def to_dict(self) -> dict[str, Any]:
        return {"first": self.first, "last": self.last, "begin": self.begin, "end": self.end}

    @classmethod
    def from_dict(cls, fields: dict[str, Any], where: str = "document") -> "Schedule":
        check_fields(fields, {"first", "last", "begin", "end"}, where)
        try:
            return cls(**fields)
        except ValueError as error:
            raise DocumentError(f"{where}: {error}") from None
