"""Ctrl-C is never lost."""

import signal
import sys
import threading
from collections.abc import Callable

import pytest

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import Outcome, Result, Status, Training
from tf_autodropout.search.engines.attempt import attempt
from tf_autodropout.search.terminal.interrupt import Interrupt


def test_an_interrupt_that_was_swallowed_comes_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupt = Interrupt()
    try:
        interrupt.check()  # nothing was asked for
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        for event in (interrupt.check, interrupt.close, lambda: interrupt.updated(1, {})):
            with pytest.raises(KeyboardInterrupt):
                event()
    finally:
        interrupt.restore()
    assert signal.getsignal(signal.SIGINT) is before


class Answers:
    """A task whose training does something."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def train(self, patterns: PatternSet, seed: int) -> object:
        return self._act()


def tried(act: Callable[[], object]) -> Outcome:
    return attempt(Answers(act), 1, Training(PatternSet({}), 0))  # type: ignore[arg-type]


def signalled(number: int, then: Callable[[], object] = lambda: Result(1.0)) -> Callable[[], object]:
    def act() -> object:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            then()
            raise
        return then()

    return act


def fails() -> None:
    raise RuntimeError("a library makes this of Ctrl-C")


def test_ctrl_c_ends_a_search_where_what_a_child_raises_ends_its_attempt() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert tried(lambda: Result(0.5)).reward == 0.5
    with pytest.raises(KeyboardInterrupt):
        tried(signalled(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        tried(signalled(signal.SIGINT, fails))
    assert signal.getsignal(signal.SIGINT) is before
    for error in (KeyboardInterrupt, SystemExit):
        outcome = tried(lambda error=error: sys.exit() if error is SystemExit else _raise(error))
        assert (outcome.status, error.__name__ in outcome.metrics["error"]) == (Status.FAILED, True)


def _raise(error: type[BaseException]) -> None:
    raise error


def test_a_handler_of_another_signal_may_end_a_search_too() -> None:
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    try:
        with pytest.raises(SystemExit, match="143"):
            tried(signalled(signal.SIGTERM))
        signal.signal(signal.SIGTERM, lambda number, frame: None)  # one that only takes notice
        assert tried(signalled(signal.SIGTERM)).status is Status.FINISHED
        assert "RuntimeError" in tried(signalled(signal.SIGTERM, fails)).metrics["error"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_handler_that_a_child_sets_stays_and_other_threads_have_none() -> None:
    before = signal.getsignal(signal.SIGTERM)
    own = lambda number, frame: None  # noqa: E731
    try:
        tried(lambda: signal.signal(signal.SIGINT, own) and Result(1.0))
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, before)
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(tried(lambda: _raise(KeyboardInterrupt))))
    thread.start()
    thread.join()
    assert found[0].status is Status.FAILED
