"""What tasks and engines answer is checked where it arrives: what cannot be used fails the attempt with its reason."""

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tf_autodropout.search.core import (
    INVALID_REWARD,
    LEARNING_CURVE,
    RUNG_REWARDS,
    STOPPED_AT,
    Outcome,
    Result,
    Scoring,
    Status,
    Training,
)

LONGEST_REASON = 2000  # characters
LARGEST_METRICS = 1 << 24  # bytes, about, as JSON
_DEEPEST = 32
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # without them equal errors are equal


def failed(number: int, reason: str) -> Outcome:
    """Returns the outcome of a training that came to nothing."""
    return Outcome(number, Status.FAILED, None, {"error": reason})


def readable(text: str, longest: int = LONGEST_REASON) -> str:
    """Returns a text that every terminal, file and data base takes, and that is not long."""
    short = text[:longest] + (" ..." if len(text) > longest else "")
    shown = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in short)
    return _ADDRESS.sub("", "".join(shown))


def reason_of(error: BaseException, kind: bool = True) -> str:
    """Returns what an exception says, whatever it is.

    Args:
        error: Of which even the text may raise.
        kind: Whether to say its class first.
    """
    try:
        said = str(error)
    except BaseException as another:
        said = f"its text raises {type(another).__name__}"
    return readable(f"{type(error).__name__}: {said[: LONGEST_REASON + 1]}" if kind else said)


def outcome_of(number: int, work: Training | Scoring, result: Any, seconds: float) -> Outcome:
    """Returns the outcome for what a task returned.

    Args:
        number: Of the call.
        work: What the task was asked for.
        result: What it returned, which may be anything.
        seconds: That it took.

    Raises:
        ValueError: it cannot be used.
    """
    if not isinstance(result, Result):
        raise ValueError(f"Expected the task to return a Result. Received: {_shown(result)}")
    reward = _number(result.reward, "the reward")
    metrics = _Plain()(result.metrics, "metrics")
    if not isinstance(metrics, dict):
        raise ValueError(f"Expected metrics by name. Received: {_shown(metrics)}")
    if "error" in metrics:
        raise ValueError("Expected no metric 'error': that is the reason of a training that failed")
    stopped = bool(result.stopped)
    rungs = work.rungs if isinstance(work, Training) else ()
    if stopped and not (rungs and STOPPED_AT in metrics):
        raise ValueError(f"Expected a training that ends early to have been given rungs and to tell '{STOPPED_AT}'")
    if len(metrics.get(RUNG_REWARDS) or ()) > len(rungs):
        raise ValueError(f"Expected as many '{RUNG_REWARDS}' as rungs at most")
    if isinstance(work, Scoring):
        for name in ("valid", "test"):
            _number(metrics.get(name), f"the metric '{name}'")
    status = Status.STOPPED if stopped else Status.FINISHED
    return checked(Outcome(number, status, reward, metrics | {"seconds": seconds}))


def checked(outcome: Any) -> Outcome:
    """Returns an outcome that can be stored: an invalid one if the reward is not finite, a failed one with the reason
    if it cannot be used.

    Args:
        outcome: What an engine gave.

    Raises:
        TypeError: it is no `Outcome`: a mistake of the engine's.
    """
    if not isinstance(outcome, Outcome):
        raise TypeError(f"Expected an Outcome of the engine's 'next'. Received: {_shown(outcome)}")
    try:
        metrics = _Plain()(outcome.metrics, "metrics")
        if outcome.status is Status.FAILED:
            reason = metrics.get("error", "no reason given")
            return replace(outcome, reward=None, metrics=metrics | {"error": readable(_text(reason))})
        _check_known(metrics)
        reward = _number(outcome.reward, "the reward")
        if outcome.status is Status.INVALID or not math.isfinite(reward):
            metrics = {"error": f"reward is {outcome.reward}"} | metrics
            return replace(outcome, status=Status.INVALID, reward=INVALID_REWARD, metrics=metrics)
        if outcome.status not in (Status.FINISHED, Status.STOPPED):
            raise ValueError(f"Expected a final status. Received: {_shown(outcome.status)}")
        if reward < INVALID_REWARD:
            raise ValueError(
                f"Expected a reward >= 0, which is what a diverged training counts as. Received: {reward:g}"
            )
    except ValueError as error:
        return replace(failed(outcome.number, reason_of(error, kind=False)), worker=outcome.worker)
    return replace(outcome, reward=reward, metrics=metrics)


def _check_known(metrics: Mapping[str, Any]) -> None:
    """The metrics that this package reads are of the kind that it expects."""
    for name in (LEARNING_CURVE, RUNG_REWARDS):
        values = metrics.get(name, [])
        if not isinstance(values, list):
            raise ValueError(f"Expected a list as metric '{name}'. Received: {_shown(values)}")
        for value in values:
            if not math.isfinite(_number(value, f"the metric '{name}'")) and name == RUNG_REWARDS:
                raise ValueError(f"Expected finite numbers as metric '{name}'. Received: {value}")
    if not 0 <= _number(metrics.get(STOPPED_AT, 0), f"the metric '{STOPPED_AT}'") <= 1:
        raise ValueError(f"Expected a share of the steps as metric '{STOPPED_AT}'. Received: {metrics[STOPPED_AT]}")
    _text(metrics.get("error", ""))


def _number(value: Any, name: str) -> float:
    """A number, also one of NumPy or TensorFlow."""
    try:
        if not isinstance(value, str | bytes | bytearray) and not tuple(getattr(value, "shape", ())):
            return float(value)
    except Exception:  # a class of the task's own may raise anything
        pass
    raise ValueError(f"Expected {name} to be a number. Received: {_shown(value)}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"Expected a text as metric 'error'. Received: {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    try:
        return f"{readable(reprlib.repr(value), 80)} ({type(value).__name__})"
    except Exception:
        return f"an object of class {type(value).__name__}"


class _Plain:
    """Turns metrics into JSON types of Python's own, those of NumPy and TensorFlow too; refuses anything else."""

    def __init__(self) -> None:
        self._left = LARGEST_METRICS

    def __call__(self, value: Any, where: str, depth: int = 0) -> Any:
        self._take(24, where)
        if depth > _DEEPEST:
            raise ValueError(f"Expected metrics that are nested at most {_DEEPEST} deep")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int):
            if value.bit_length() > 63:  # more than TensorBoard and Parquet hold
                raise ValueError(f"Expected an integer of 64 bits in {where}. Received: {_shown(value)}")
            return int(value)
        if isinstance(value, str):
            self._take(len(value) if value.isascii() else 6 * len(value), where)
            return value.encode("utf-8", "backslashreplace").decode()
        if isinstance(value, list | tuple):
            return [self(item, where, depth + 1) for item in value]
        if isinstance(value, Mapping):
            return {self._key(key, where): self(item, f"metric '{key}'", depth + 1) for key, item in value.items()}
        return self(self._array(value, where), where, depth + 1)

    def _key(self, key: Any, where: str) -> str:
        if not isinstance(key, str):
            raise ValueError(f"Expected texts as names in {where}. Received: {_shown(key)}")
        return self(key, where)

    def _array(self, value: Any, where: str) -> Any:
        """What an array or a tensor holds, as a list or a number."""
        if hasattr(value, "numpy"):
            value = value.numpy()
        if not hasattr(value, "tolist"):
            raise ValueError(f"Expected JSON types in {where}. Received: {_shown(value)}")
        if getattr(value, "nbytes", 0) > self._left:
            self._take(value.nbytes, where)
        return value.tolist()

    def _take(self, size: int, where: str) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError(f"Expected metrics of at most {LARGEST_METRICS >> 20} MiB. They are larger, in {where}")
