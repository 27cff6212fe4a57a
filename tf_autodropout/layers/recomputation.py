"""One draw for a call and its recomputation: `tf.recompute_grad` and `keras.remat` run a block twice.

The second run, in the backward pass, would read a random state that the first has moved on, and draw another mask: the
loss would belong to one mask and the gradient to another. TensorFlow tells a function neither that it runs again nor
for which call. Its own frames know both: the block's arguments are one and the same tuple in the frame of the first run
and in that of the second. What the first run has drawn is kept with the first of these tensors, and lives as long.
"""

import sys
import types
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_KEPT, _USED = "_pattern_seeds", "_pattern_seeds_used"


def drawn_once(owner: Any, draw: Callable[[], tf.Tensor]) -> tf.Tensor:
    """Returns `draw()`, or what it returned in the run of the block that this one repeats.

    Args:
        owner: The layer that draws; its calls inside a block are told apart by their order.
        draw: Reads a random state and moves it on.
    """
    return _drawn(owner, draw, sys._getframe(1))


def _drawn(owner: Any, draw: Callable[[], tf.Tensor], frame: Any) -> tf.Tensor:
    while frame is not None and frame.f_code not in (_FIRST, _AGAIN):
        frame = frame.f_back
    if frame is None:
        return draw()
    again, variables = frame.f_code is _AGAIN, frame.f_locals
    block = _first_tensor(variables.get("args"))
    if block is None:
        return draw()
    kept = block.__dict__.setdefault(_KEPT, {}).setdefault(id(owner), [])
    if again:
        used = _first_tensor(variables["id_args"]).__dict__.setdefault(_USED, {})
        place = used[id(owner)] = used.get(id(owner), -1) + 1
        if place < len(kept) and _reaches(kept[place]):
            return kept[place]
        return draw()
    kept.append(_drawn(owner, draw, frame.f_back))  # a block inside another one may itself be run again
    return kept[-1]


def _first_tensor(arguments: Any) -> Any:
    return next((one for one in tf.nest.flatten(arguments) if isinstance(one, tf.Tensor)), None)


def _reaches(seed: tf.Tensor) -> bool:
    """False for a tensor inside a branch or a loop of the first run, which the second cannot read."""
    return tf.executing_eagerly() or not tf.is_symbolic_tensor(seed) or seed.graph is tf.compat.v1.get_default_graph()


def _code(function: Any, *names: str) -> Any:
    """The code of a function nested in another one."""
    code = function.__code__
    for name in names:
        code = next((one for one in code.co_consts if isinstance(one, types.CodeType) and one.co_name == name), None)
        if code is None:  # another release of TensorFlow: each run draws, as Keras' Dropout does
            return None
    return code


_FIRST = _code(tf.recompute_grad, "inner")
_AGAIN = _code(tf.recompute_grad, "inner", "grad_wrapper", "inner_recompute_grad")
