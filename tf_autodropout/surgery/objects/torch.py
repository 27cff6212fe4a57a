"""Objects of PyTorch: its modules, which Keras' layers are, are copied by their own way."""

from collections.abc import Callable
from typing import Any

import keras
import torch

from tf_autodropout.layers.keras_internals import hold_parameters
from tf_autodropout.surgery.objects import Objects


class Own(Objects):
    """Those of PyTorch."""

    VARIABLES = (torch.nn.Parameter,)

    def teach(self, copier: type) -> None:
        @copier._new.register(torch.nn.ParameterDict)  # type: ignore[attr-defined]
        def parameters(self: Any, x: Any) -> Any:
            return torch.nn.ParameterDict()  # see `finish`

    def finish(self, operation: Any) -> None:
        hold_parameters(operation)  # those of the copied variables

    def copied(self, value: Any) -> torch.Tensor:
        return value.detach().clone()

    def call_on_symbols(self, function: Callable[..., Any], specs: Any) -> None:
        with torch.no_grad():  # on zeros: its tensors without values do not run all of Keras
            function(keras.tree.map_structure(_zeros_of, specs))


def _zeros_of(spec: Any) -> torch.Tensor:
    sizes = [(32 if place else 1) if size is None else size for place, size in enumerate(spec.shape)]
    return keras.ops.zeros(sizes, spec.dtype)
