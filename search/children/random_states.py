"""The random states of Python, NumPy and TensorFlow, set for a trial."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
from tensorflow.python.eager import context  # for want of a public name, see below


def set_random_states(seed: int) -> None:
    """Seeds Python and NumPy, and with them Keras' initializers and the layers that are made from now on."""
    random.seed(seed & 0x7FFFFFFF)
    np.random.seed(seed & 0x7FFFFFFF)


@contextlib.contextmanager
def random_states(seed: int) -> Iterator[None]:
    """Seeds Python, NumPy and, within the block, the operations of TensorFlow that are made in it, such as `shuffle`.

    `tf.random.set_seed` would do, but makes TensorFlow forget all that it has compiled: 10 s a trial of a small BERT.
    So here is what it does beside that.
    """
    set_random_states(seed)
    state = context.context()
    before = state._seed, getattr(state, "_rng", None)
    state._seed, state._rng = seed & 0x7FFFFFFF, random.Random(seed & 0x7FFFFFFF)
    try:
        yield
    finally:
        state._seed, state._rng = before
