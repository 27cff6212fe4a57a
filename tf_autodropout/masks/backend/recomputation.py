"""One draw for a call and its recomputation: `tf.recompute_grad` and `keras.remat` run a block twice.

The second run, in the backward pass, would read a random state that the first has moved on, and draw another mask: the
loss would belong to one mask and the gradient to another. TensorFlow tells a function neither that it runs again nor
for which call. Its own frames know both: the arguments of the block are one and the same tuple in the frame of the
first run and in that of the second. What the first run draws is kept with the first tensor among them, and lives as
long.
"""

import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_KEPT, _USED = "_pattern_seeds", "_pattern_seeds_used"
_MOST_BLOCKS = 256  # that begin with one tensor and wait for their backward passes


class _Running(threading.local):
    """The first runs that are under way in a thread, the frame of each. Held, or another one could get its identity."""

    def __init__(self) -> None:
        self.frames: list[Any] = []


_RUNNING = _Running()


def drawn_once(owner: Any, draw: Callable[[], tf.Tensor]) -> tf.Tensor:
    """Returns `draw()`, or what it returned in the run of the block that this one repeats.

    Args:
        owner: The layer that draws; its calls inside a block are told apart by their order.
        draw: Reads a random state and moves it on.
    """
    blocks = []  # from the inside to the outside
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code in (_FIRST, _AGAIN):
            blocks.append(frame)
        frame = frame.f_back
    _RUNNING.frames = [one for one in _RUNNING.frames if any(one is block for block in blocks)]
    return _drawn(owner, draw, blocks)


def _drawn(owner: Any, draw: Callable[[], tf.Tensor], blocks: list[Any]) -> tf.Tensor:
    if not blocks:
        return draw()
    frame, *around = blocks
    variables = frame.f_locals
    arguments = variables["args"]
    tensor = _first_tensor(arguments)
    if tensor is None:
        return _drawn(owner, draw, around)
    kept = tensor.__dict__.setdefault(_KEPT, {})
    if frame.f_code is _AGAIN:
        seeds = kept.get(id(arguments), {}).get(id(owner), [])
        used = _first_tensor(variables["id_args"]).__dict__.setdefault(_USED, {})
        place = used[id(owner)] = used.get(id(owner), -1) + 1
        return seeds[place] if place < len(seeds) and _reaches(seeds[place]) else _drawn(owner, draw, around)
    if not any(one is frame for one in _RUNNING.frames):  # its first draw; an earlier tuple may have had this identity
        _RUNNING.frames.append(frame)
        kept.pop(id(arguments), None)
        kept[id(arguments)] = {}
        while len(kept) > _MOST_BLOCKS:
            del kept[next(iter(kept))]
    seed = _drawn(owner, draw, around)  # a block inside another one may itself be run again
    kept[id(arguments)].setdefault(id(owner), []).append(seed)
    return seed


def _first_tensor(arguments: Any) -> Any:
    return next((one for one in tf.nest.flatten(arguments) if isinstance(one, tf.Tensor)), None)


def _reaches(seed: tf.Tensor) -> bool:
    """False for a tensor inside a branch or a loop of the first run, which the second cannot read."""
    return not tf.is_symbolic_tensor(seed) or seed.graph is tf.compat.v1.get_default_graph()


def _code(function: Any, *names: str) -> Any:
    """Returns the code of a function nested in another one; None in a release of TensorFlow that has it elsewhere:
    then each run draws, as it does in Keras' own Dropout."""
    code = function.__code__
    for name in names:
        inside = [one for one in code.co_consts if isinstance(one, types.CodeType) and one.co_name == name]
        if not inside:
            return None
        code = inside[0]
    return code


_FIRST = _code(tf.recompute_grad, "inner")
_AGAIN = _code(tf.recompute_grad, "inner", "grad_wrapper", "inner_recompute_grad")
