"""Masks on JAX: what TensorFlow's functions do, under the same names; see `backend`.

JAX cuts 64-bit integers to 32 bits unless told otherwise: `exact` tells it, for masks only.
"""

import builtins
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax

bool = jnp.bool_
uint8, int32, int64 = jnp.uint8, jnp.int32, jnp.int64
float16, float32, float64 = jnp.float16, jnp.float32, jnp.float64

bitwise_and = jnp.bitwise_and
clip_by_value = jnp.clip
concat = jnp.concatenate
equal = jnp.equal
expand_dims = jnp.expand_dims
logical_and = jnp.logical_and
logical_not = jnp.logical_not
logical_or = jnp.logical_or
maximum = jnp.maximum
minimum = jnp.minimum
not_equal = jnp.not_equal
pad = jnp.pad
reduce_all = jnp.all
reduce_max = jnp.max
reduce_min = jnp.min
reshape = jnp.reshape
right_shift = jnp.right_shift
round = jnp.round
stack = jnp.stack
switch_case = lax.switch
transpose = jnp.transpose
where = jnp.where

COMPILES_PARTS = False  # what `fused` returns becomes part of a compiled step
KEEPS_MASKS = False
_KEPT = 512


def exact(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a function compute with 64-bit integers, a decorator."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return call


def cast(x: Any, dtype: Any) -> jax.Array:
    return jnp.asarray(x).astype(dtype)


def constant(value: Any, dtype: Any = None, shape: Any = None) -> jax.Array:
    array = jnp.asarray(np.asarray(value), int32 if dtype is None and isinstance(value, int) else dtype)
    return array if shape is None else jnp.reshape(array, shape)


def convert_to_tensor(x: Any, dtype: Any = None) -> jax.Array:
    return jnp.asarray(x.value if isinstance(x, keras.Variable) else x, dtype)


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    def with_exact_gradient(x: jax.Array) -> Any:
        y, backward = function(x)
        return y, exact(backward)

    made: Callable[..., Any] = jax.custom_gradient(with_exact_gradient)
    return lambda x: _closed(with_exact_gradient, x)(x) if _runs_again() else made(x)


def _closed(function: Callable[..., Any], x: jax.Array) -> Callable[..., Any]:
    """Returns a function with a gradient of its own that takes as arguments what it reads of a block that runs again.

    JAX takes the gradient of a block when it has run, and its values are gone by then.
    """
    backwards: Any = None

    def forward(x: jax.Array) -> Any:
        nonlocal backwards
        y, backward = function(x)
        backwards = jax.make_jaxpr(backward)(y)
        return y, backwards.consts

    forwards = jax.make_jaxpr(forward)(x)

    def run(x: jax.Array, *read: Any) -> Any:
        y, *kept = exact(jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(forwards.jaxpr, read)))(x)
        return y, kept

    def run_back(kept: Any, dy: jax.Array) -> Any:
        (dx,) = exact(jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(backwards.jaxpr, kept)))(dy)
        return dx, *[None] * len(forwards.consts)

    closed = jax.custom_vjp(lambda *args: run(*args)[0])
    closed.defvjp(run, run_back)
    return lambda x: closed(x, *forwards.consts)


def divide_no_nan(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.where(y == 0, jnp.zeros((), x.dtype), x / jnp.where(y == 0, jnp.ones((), y.dtype), y))


def fill(sizes: Any, value: int) -> jax.Array:
    return jnp.full(sizes, value, int32)


def identity(x: jax.Array) -> jax.Array:
    return x


def is_tensor(x: Any) -> builtins.bool:
    return isinstance(x, jax.Array)


def ones(sizes: Any, dtype: Any = jnp.float32) -> jax.Array:
    return jnp.ones(sizes, dtype)


def range(size: int) -> jax.Array:
    return jnp.arange(size, dtype=int32)


def reduce_any(x: Any) -> jax.Array:
    return jnp.any(jnp.asarray(x))


def reduce_prod(x: jax.Array, axis: Any = None) -> jax.Array:
    return jnp.prod(x, axis, dtype=x.dtype)


def reduce_sum(x: jax.Array, axis: Any = None) -> jax.Array:
    return jnp.sum(x, None if axis is None else tuple(np.ravel(axis).tolist()), dtype=x.dtype)


def shape(x: jax.Array) -> tuple[int, ...]:
    return x.shape


def size(x: jax.Array, dtype: Any = None) -> int:
    return x.size


def truncatediv(x: Any, y: Any) -> jax.Array:
    return lax.div(*_alike(x, y))


def truncatemod(x: Any, y: Any) -> jax.Array:
    return lax.rem(*_alike(x, y))


def unstack(x: Any, count: int | None = None) -> tuple[Any, ...]:
    return tuple(x)


def zeros(sizes: Any, dtype: Any) -> jax.Array:
    return jnp.zeros(sizes, dtype)


def _alike(x: Any, y: Any) -> list[jax.Array]:
    dtype = jnp.result_type(x, y)
    return jnp.broadcast_arrays(jnp.asarray(x, dtype), jnp.asarray(y, dtype))


# What TensorFlow has no function for: `backend.tensorflow` says what these do.


def static_shape(x: jax.Array) -> tuple[int, ...]:
    return x.shape


def sizes(x: jax.Array) -> tuple[int, ...]:
    return x.shape


def word(value: Any) -> jax.Array:
    if isinstance(value, int):
        return jnp.asarray(np.uint32(value & 0xFFFFFFFF))
    return jnp.asarray(value).astype(jnp.uint32)


def shifted(words: jax.Array, bits: int) -> jax.Array:
    return jnp.right_shift(words, word(bits))


def mixed(x: jax.Array, words: jax.Array) -> jax.Array:
    return jnp.bitwise_xor(x, words)


def folded(x: jax.Array, bits: int) -> jax.Array:
    return mixed(x, shifted(x, bits))


def scaled(x: jax.Array, factor: int) -> jax.Array:
    return x * word(factor)


def unsigned(x: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(x, jnp.uint32)


def anew(drawn: jax.Array, ratio: jax.Array, dy: jax.Array | None = None) -> jax.Array:
    # The two barriers differ, or else they would be one. None is on `dy`: it would be written to memory.
    after = (ratio,) if dy is None else (ratio, ratio < 0)
    return lax.optimization_barrier((drawn, *after))[0]


def cleared(x: jax.Array, where: jax.Array) -> jax.Array:
    return jnp.where(where, jnp.zeros((), x.dtype), x)


def max_pool(x: jax.Array, axis: int, window: int) -> jax.Array:
    windows = [window if other == axis + 1 else 1 for other, _ in enumerate(x.shape)]
    return lax.reduce_window(x, -jnp.inf, lax.max, windows, [1] * x.ndim, "VALID")


def wide(numbers: jax.Array) -> jax.Array:
    low, high = numbers[:, 0], numbers[:, 1]
    return high.astype(int64) << 32 | low.astype(int64)


def to_wide(numbers: np.ndarray) -> np.ndarray:
    """Returns int64 as a variable of this backend holds them: two words each, the low one first."""
    return np.ascontiguousarray(numbers.astype("<i8")).view("<u4").reshape(-1, 2).astype(np.uint32)


def from_wide(numbers: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(numbers.astype("<u4")).view("<i8").reshape(-1).astype(np.int64)


def seed_number(word: int) -> int:
    return word


def seeds_of(state: Any) -> list[int]:
    return [int(one) for one in np.asarray(state.value)]


@functools.lru_cache(_KEPT)
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return exact(jax.jit(function))


def fused(function: Callable[..., Any], shape: Any) -> Callable[..., Any]:
    """Returns `function`, compiled: it is one pass over memory outside of a compiled step too."""
    return _compiled(function)


def drawn_once(owner: Any, draw: Callable[[], Any]) -> Any:
    """Returns `draw()`, computed where the random state is from.

    A block that JAX runs again (`jax.checkpoint`, `keras.remat`) reads in both runs what was drawn outside of it. Drawn
    inside, the state that moves on would be a value of the block, which JAX lets nobody read.
    """
    outside = getattr(owner.seed_state.value, "_trace", None)
    if outside is None or not _runs_again():
        return draw()
    with jax.extend.core.set_current_trace(outside):
        return draw()


def _runs_again() -> builtins.bool:
    """True in a block of `jax.checkpoint`. No public name tells: where another release has it elsewhere, False, and
    JAX says what it says of Keras' own Dropout."""
    if not hasattr(jax.extend.core, "take_current_trace"):  # JAX 0.8.1
        return False
    with jax.extend.core.take_current_trace() as trace:
        debug_info = getattr(getattr(trace, "frame", None), "debug_info", None)
    return str(getattr(debug_info, "traced_for", "")).startswith("checkpoint")


def replica() -> int:
    """Returns 0: arrays that are spread over devices are whole, and so are their masks."""
    return 0


def while_loop(condition: Callable[..., Any], step: Callable[..., Any], start: tuple[Any, ...]) -> tuple[Any, ...]:
    result: tuple[Any, ...] = lax.while_loop(lambda state: condition(*state), lambda state: step(*state), start)
    return result


def compiled(function: Callable[..., Any], model: Any) -> Callable[..., Any]:
    variables = model.variables

    def stateless(values: list[Any], *args: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*args)

    run = jax.jit(stateless) if model.jit_compile else stateless
    return lambda *args: run([variable.value for variable in variables], *args)


def is_spec(x: Any) -> builtins.bool:
    return not all(isinstance(size, int) for size in x.shape)


def has_values(x: Any) -> builtins.bool:
    return not isinstance(x, jax.core.Tracer)
