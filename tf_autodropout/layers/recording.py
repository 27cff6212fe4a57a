"""Recording: an observer sees what arrives at every pattern layer, wherever in a model it is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Observer = Callable[[Any, Any], Any]  # takes the layer and its inputs
_LOCAL = threading.local()


@contextmanager
def recording(observer: Observer) -> Iterator[None]:
    """Shows the observer every call of a pattern layer inside, training or not, in this thread.

    Args:
        observer: Function of a `PatternDropout` and its inputs.
    """
    before = current_observer()
    _LOCAL.observer = observer
    try:
        yield
    finally:
        _LOCAL.observer = before


def current_observer() -> Observer | None:
    """Returns the observer of this thread, or None."""
    return getattr(_LOCAL, "observer", None)
