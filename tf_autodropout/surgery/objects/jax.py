"""Objects of JAX: arrays, their layouts, compiled functions, none of which changes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.experimental.sparse
import jax.numpy as jnp
import keras
import numpy as np

from tf_autodropout.surgery.objects import Objects


class Own(Objects):
    """Those of JAX."""

    MODULES = ("jax", "jaxlib")

    def teach(self, copier: type) -> None:
        @copier._new.register(jax.Array)  # type: ignore[attr-defined]
        def constant(self: Any, x: Any) -> Any:
            return x

    def copied(self, value: Any) -> jax.Array:
        return jnp.array(value, copy=True)  # a compiled step takes over the memory of what it is given

    def as_spec(self, value: np.ndarray, spec: Any) -> Any:
        tensor = super().as_spec(value, spec)
        return jax.experimental.sparse.BCOO.fromdense(tensor) if spec.sparse else tensor

    def call_on_symbols(self, function: Callable[..., Any], specs: Any) -> None:
        with keras.StatelessScope():
            jax.eval_shape(function, keras.tree.map_structure(_without_values, specs))


def _without_values(spec: Any) -> jax.ShapeDtypeStruct:
    """A size that is open counts as 32: JAX has none."""
    return jax.ShapeDtypeStruct([32 if size is None else size for size in spec.shape], spec.dtype)
