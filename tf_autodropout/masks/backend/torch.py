"""Masks on PyTorch: what TensorFlow's functions do, under the same names; see `backend`.

A word is an int32, whose product wraps around as that of a uint32 does; PyTorch's own uint32 does not.
"""

import builtins
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
from torch.nn import functional

from tf_autodropout.masks.backend.checkpointing import drawn_once

__all__ = ["drawn_once"]

bool = torch.bool
uint8, int32, int64 = torch.uint8, torch.int32, torch.int64
float16, float32, float64 = torch.float16, torch.float32, torch.float64

bitwise_and = torch.bitwise_and
expand_dims = torch.unsqueeze
logical_and = torch.logical_and
right_shift = torch.bitwise_right_shift
round = torch.round
stack = torch.stack
where = torch.where

COMPILES_PARTS = False
KEEPS_MASKS = True  # without a compiler each operation is a pass over memory
_LARGEST = 2**31 - 1
_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


def cast(x: Any, dtype: torch.dtype) -> torch.Tensor:
    return convert_to_tensor(x).to(dtype)


def clip_by_value(x: torch.Tensor, low: Any, high: Any) -> torch.Tensor:
    return minimum(maximum(x, low), high)


def concat(tensors: Any, axis: int) -> torch.Tensor:
    return torch.cat(list(tensors), axis)


def constant(value: Any, dtype: torch.dtype | None = None, shape: Any = None) -> torch.Tensor:
    tensor = convert_to_tensor(value, dtype)
    return tensor if shape is None else tensor.reshape(shape)


def convert_to_tensor(x: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    if isinstance(x, keras.Variable):  # read now: it may change
        x = x.value.detach().clone()
    tensor = x if isinstance(x, torch.Tensor) else keras.ops.convert_to_tensor(x)
    return tensor if dtype is None else tensor.to(dtype)


class _CustomGradient(torch.autograd.Function):
    """A function that returns its result, and the function from the gradient that comes in to that which goes out."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], x: torch.Tensor) -> Any:
        y, ctx.own_backward = function(x)
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        return None, ctx.own_backward(dy)


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: _CustomGradient.apply(function, x)


def divide_no_nan(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.where(y == 0, torch.zeros_like(x), x / y)


def equal(x: Any, y: Any) -> torch.Tensor:
    return convert_to_tensor(x) == y


def fill(sizes: Any, value: int) -> torch.Tensor:
    return torch.full(sizes, value, dtype=int32, device=_device())


def identity(x: torch.Tensor) -> torch.Tensor:
    return x


def is_tensor(x: Any) -> builtins.bool:
    return isinstance(x, torch.Tensor)


def logical_not(x: Any) -> torch.Tensor:
    return torch.logical_not(convert_to_tensor(x))


def logical_or(x: Any, y: Any) -> torch.Tensor:
    return torch.logical_or(convert_to_tensor(x), convert_to_tensor(y))


def maximum(x: torch.Tensor, y: Any) -> torch.Tensor:
    return torch.maximum(x, y) if isinstance(y, torch.Tensor) else torch.clamp_min(x, y)


def minimum(x: torch.Tensor, y: Any) -> torch.Tensor:
    return torch.minimum(x, y) if isinstance(y, torch.Tensor) else torch.clamp_max(x, y)


def not_equal(x: Any, y: Any) -> torch.Tensor:
    return convert_to_tensor(x) != y


def ones(sizes: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(tuple(sizes), dtype=dtype, device=_device())


def pad(x: torch.Tensor, paddings: Any) -> torch.Tensor:
    return functional.pad(x, [size for pair in reversed(list(paddings)) for size in pair])


def range(size: int) -> torch.Tensor:
    return torch.arange(size, dtype=int32 if size <= _LARGEST else int64, device=_device())


def reduce_all(x: torch.Tensor) -> torch.Tensor:
    return torch.all(x)


def reduce_any(x: Any) -> torch.Tensor:
    return torch.any(torch.stack(list(x)) if isinstance(x, list) else x)


def reduce_max(x: torch.Tensor) -> torch.Tensor:
    return torch.amax(x)


def reduce_min(x: torch.Tensor) -> torch.Tensor:
    return torch.amin(x)


def reduce_prod(x: torch.Tensor, axis: int | None = None) -> torch.Tensor:
    return torch.prod(x, dtype=x.dtype) if axis is None else torch.prod(x, axis, dtype=x.dtype)


def reduce_sum(x: torch.Tensor, axis: Any = None) -> torch.Tensor:
    return torch.sum(x, dtype=x.dtype) if axis is None else torch.sum(x, axis, dtype=x.dtype)


def reshape(x: torch.Tensor, sizes: Any) -> torch.Tensor:
    return x.reshape(tuple(sizes))


def shape(x: torch.Tensor) -> tuple[int, ...]:
    return tuple(x.shape)


def size(x: torch.Tensor, dtype: Any = None) -> int:
    return x.numel()


def switch_case(case: torch.Tensor, functions: list[Callable[[], Any]]) -> Any:
    return functions[int(case)]()


def transpose(x: torch.Tensor, axes: Any) -> torch.Tensor:
    return x.permute(tuple(axes))


def truncatediv(x: torch.Tensor, y: Any) -> torch.Tensor:
    return torch.div(x, y, rounding_mode="trunc")


def truncatemod(x: Any, y: Any) -> torch.Tensor:
    return torch.fmod(convert_to_tensor(x), y)


def unstack(x: Any, count: int | None = None) -> tuple[Any, ...]:
    return tuple(x)


def zeros(sizes: Any, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros(tuple(sizes), dtype=dtype, device=_device())


def _device() -> Any:
    return keras.ops.zeros(()).device


# What TensorFlow has no function for: `backend.tensorflow` says what these do.


def exact(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def static_shape(x: torch.Tensor) -> tuple[int, ...]:
    return tuple(x.shape)


def sizes(x: torch.Tensor) -> tuple[int, ...]:
    return tuple(x.shape)


def word(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.to(int32)
    if isinstance(value, int):
        value &= 0xFFFFFFFF
    return convert_to_tensor(np.asarray(value, np.int64).astype(np.uint32).view(np.int32))


def shifted(words: torch.Tensor, bits: int) -> torch.Tensor:
    return (words >> bits).bitwise_and_((1 << 32 - bits) - 1)


def mixed(x: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    return x.bitwise_xor_(words)


def folded(x: torch.Tensor, bits: int) -> torch.Tensor:
    return x.bitwise_xor_(shifted(x, bits))


def scaled(x: torch.Tensor, factor: int) -> torch.Tensor:
    return x.mul_(factor - 2**32 if factor > _LARGEST else factor)


def unsigned(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, _LARGEST, x)


def anew(drawn: torch.Tensor, ratio: torch.Tensor, dy: torch.Tensor | None = None) -> torch.Tensor:
    return drawn


def cleared(x: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return x.masked_fill_(where, 0)


def max_pool(x: torch.Tensor, axis: int, window: int) -> torch.Tensor:
    axes = x.ndim - 2
    windows = [1] * axes
    windows[axis] = window
    pooled = _POOLS[axes](x.movedim(-1, 1), windows if axes > 1 else window, 1)
    return pooled.movedim(1, -1)


def wide(numbers: torch.Tensor) -> torch.Tensor:
    return numbers


def to_wide(numbers: np.ndarray) -> np.ndarray:
    return numbers


def from_wide(numbers: np.ndarray) -> np.ndarray:
    return numbers


def seed_number(word: int) -> int:
    return word - 2**32 if word > _LARGEST else word  # its random states are int32


def seeds_of(state: Any) -> list[int]:
    return [int(one) & 0xFFFFFFFF for one in state.numpy()]


def fused(function: Callable[..., Any], shape: Any) -> Callable[..., Any]:
    """Returns `function` as it is: whoever wants it compiled compiles the whole step."""
    return lambda *tensors: function(*map(convert_to_tensor, tensors))


def replica() -> int:
    """Returns the rank in the group of processes, as `DistributedDataParallel` has them."""
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if there else 0


def while_loop(condition: Callable[..., Any], step: Callable[..., Any], start: tuple[Any, ...]) -> tuple[Any, ...]:
    state = start
    while condition(*state):
        state = step(*state)
    return state


def compiled(function: Callable[..., Any], model: Any) -> Callable[..., Any]:
    run: Callable[..., Any] = torch.no_grad()(function)
    return run


def is_spec(x: Any) -> builtins.bool:
    return x.is_meta


def has_values(x: Any) -> builtins.bool:
    return not x.is_meta
