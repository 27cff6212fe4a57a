"""Ctrl-C is never lost."""

import signal

import pytest

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
