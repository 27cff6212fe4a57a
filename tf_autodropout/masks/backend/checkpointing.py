"""One draw for a call and its recomputation on PyTorch: `torch.utils.checkpoint` and `keras.remat` run a block twice.

The second run, in the backward pass, would read a random state that the first has moved on, and draw another mask, as
`recomputation` says of TensorFlow. PyTorch tells a function neither that it runs again nor for which call, but its own
frames lead from both runs to one object, which lives until the backward pass is done: there the seeds are kept.
"""

import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils import checkpoint

_FILE = checkpoint.__file__
_KEPT = "_pattern_seeds"


class _Drawn:
    """What the first run of a block has drawn, by the identity of the layer, and what of it other runs have read."""

    def __init__(self) -> None:
        self.seeds: dict[int, list[torch.Tensor]] = defaultdict(list)
        self.read: dict[tuple[Any, int], int] = defaultdict(int)


class _Block(NamedTuple):
    """A run that is under way.

    Args:
        drawn: What is kept of the block.
        again: What tells this run of it from others; None in the first.
    """

    drawn: _Drawn
    again: Any


def drawn_once(owner: Any, draw: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Returns `draw()`, or what it returned in the run of the block that this one repeats.

    Args:
        owner: The layer that draws; its calls inside a block are told apart by their order.
        draw: Reads a random state and moves it on.
    """
    if torch.compiler.is_compiling():  # has no frames
        return draw()
    blocks = []  # from the inside to the outside
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == _FILE and (block := _block(frame.f_code.co_name, frame.f_locals)) is not None:
            blocks.append(block)
        frame = frame.f_back
    return _drawn(owner, draw, blocks)


def _drawn(owner: Any, draw: Callable[[], torch.Tensor], blocks: list[_Block]) -> torch.Tensor:
    if not blocks:
        return draw()
    (drawn, again), *around = blocks
    seeds = drawn.seeds[id(owner)]
    if again is not None:
        place = drawn.read[again, id(owner)]
        drawn.read[again, id(owner)] += 1
        return seeds[place] if place < len(seeds) else _drawn(owner, draw, around)
    seeds.append(_drawn(owner, draw, around))  # a block inside another one may itself be run again
    return seeds[-1]


def _block(function: str, variables: dict[str, Any]) -> _Block | None:
    """Returns the run that a function of PyTorch has under way, None if it has none, or another release has it
    elsewhere: then each run draws, as it does in Keras' own Dropout."""
    if function in ("forward", "backward"):  # use_reentrant=True: a function of autograd, with one `ctx` for both
        again = torch._C._current_graph_task_id() if function == "backward" else None
        return _of(variables.get("ctx"), again)
    if function == "unpack_hook":
        return _of(variables.get("frame"), variables.get("gid"))
    generator = getattr(variables.get("gen"), "gi_frame", None)  # suspended where the first run takes place
    return None if generator is None else _of(generator.f_locals.get("new_frame"), None)


def _of(holder: Any, again: Any) -> _Block | None:
    if holder is None:
        return None
    if not hasattr(holder, _KEPT):
        setattr(holder, _KEPT, _Drawn())
    return _Block(getattr(holder, _KEPT), again)
