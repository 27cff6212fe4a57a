"""Compiles a small function with XLA inside an ordinary TensorFlow graph.

In graph mode every op is a pass over memory, and drawing a mask takes a dozen ops. Compiled, they are one
pass. Inside a function that is compiled as a whole, nothing changes.
"""

import functools
import platform
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_autodropout.version import version_of

_KEPT = 512


def fused(function: Callable[..., Any], shape: tf.TensorShape) -> Callable[..., Any]:
    """Returns `function`, compiled where that is possible and pays.

    It is not compiled in eager mode, where it would be compiled anew at each call; with sizes unknown
    but for the batch, where it would be compiled for each new size; on a TPU, where everything is compiled
    already; and where XLA does not serve the device: a Mac's GPU, the processor beside a TPU.

    The same function is compiled once for each signature, wherever it is called: layers alike share it. What it
    returns says its shape in the graph: TensorFlow's optimizer does not look into a compiled function, and leaves
    powers, sums and fusions behind a tensor of unknown shape as they are.

    Args:
        function: Function of tensors that captures none.
        shape: Static shape of the tensor that it works on.
    """
    if tf.executing_eagerly() or None in shape[1:] or not _compiles():
        return function
    return _compiled(function)


@functools.lru_cache(_KEPT)
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> Any:
        return tf.nest.map_structure(lambda one: tf.ensure_shape(one, one.shape), compiled(*tensors))

    return call


def _compiles() -> bool:
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy) or _is_built_for_tpus():
        return False
    return platform.system() != "Darwin" or not tf.config.list_logical_devices("GPU")


@functools.cache
def _is_built_for_tpus() -> bool:
    """True for the package tensorflow-tpu: its XLA does not serve the processor of the machine."""
    return version_of("tensorflow-tpu") is not None
