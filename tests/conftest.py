"""Shared by all tests: a quiet TensorFlow, and Keras' random state fixed before each test."""

import os
import signal

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of jobs that a shell has put in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _fixed_random_state() -> None:
    import keras
    from keras.src.backend.common import global_state

    # Keras enters its name scope before TensorFlow refuses the name: the scope would stay open for every later test.
    if scopes := global_state.get_global_attribute("name_scope_stack"):
        scopes.clear()
    keras.utils.set_random_seed(0)
