"""Shared by all tests: a quiet TensorFlow, XLA that compiles fast, and Keras' random state fixed before each test."""

import os
import signal

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of jobs that a shell has put in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

_FAST_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def pytest_configure(config: pytest.Config) -> None:
    """The default tests want code that is made fast, not fast code; `-m slow` is compiled as users have it."""
    if config.getoption("markexpr") == "not slow":
        os.environ.setdefault("XLA_FLAGS", _FAST_TO_COMPILE)


@pytest.fixture(autouse=True)
def _fixed_random_state() -> None:
    import keras
    from keras.src.backend.common import global_state

    # Keras enters its name scope before TensorFlow refuses the name: the scope would stay open for every later test.
    if scopes := global_state.get_global_attribute("name_scope_stack"):
        scopes.clear()
    keras.utils.set_random_seed(0)
