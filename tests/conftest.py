"""Shared by all tests: a quiet TensorFlow, and Keras' random state fixed before each test."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow


@pytest.fixture(autouse=True)
def _fixed_random_state() -> None:
    import keras

    keras.utils.set_random_seed(0)
