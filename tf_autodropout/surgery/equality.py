"""The promise of surgery, checked: what comes out computes at inference what the model has computed."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tf_autodropout.layers.keras_internals import all_layers, graph_of, inputs_of, nodes_of
from tf_autodropout.surgery.objects import OBJECTS

_SIZES = (16, 32, 64, 224)  # tried for sizes that a model leaves open
_WORDS = ("a", "the", "of")  # where no layer tells its vocabulary
_TOLERANCE = {"float16": 1e-2, "bfloat16": 3e-2}  # of the largest value
_FINE = 1e-4  # of any other


def check_same_inference(made: keras.Model, model: keras.Model) -> None:
    """Runs both models on one small random batch.

    A model that cannot be run on such a batch (it needs text of a certain form, numbers of a certain range, a layer of
    it fails without a GPU) is not compared; nor is anything in the scope of a distribution strategy, where running a
    model is a step of its own. Random states are put back.

    Args:
        made: What surgery has made of a copy of `model`.
        model: The original.

    Raises:
        ValueError: they differ, with the name of the first layer that does.
    """
    if OBJECTS.in_strategy() or _inputs(model) is None:
        return
    kept = [(variable, OBJECTS.copied(variable.value)) for variable in _states(made, model)]
    try:
        for batch in _batches(model):
            try:
                wanted = _run(model, batch)
            except Exception:  # whatever a layer says of numbers that it does not take
                continue
            finally:
                _put_back(kept)
            _compare(made, model, batch, wanted, kept)
            return
    finally:
        _put_back(kept)


def _compare(made: Any, model: Any, batch: Any, wanted: list[Any], kept: Any) -> None:
    try:
        got = _run(made, batch)
    except Exception as error:
        raise ValueError(f"Model '{model.name}': its copy cannot be run. {_why()} The error: {error}") from error
    finally:
        _put_back(kept)
    tolerance = _tolerance(model)
    if _equal(got, wanted, tolerance) or not _equal(
        _run(model, batch), wanted, tolerance
    ):  # a model may be random at inference
        return
    _put_back(kept)
    raise ValueError(
        f"Model '{model.name}': its copy gives other values{_first_difference(made, model, batch)}. {_why()}"
    )


def _why() -> str:
    return (
        "A layer keeps state where a copy does not see it: in a global variable, in a file, under its identity. "
        "Keep it in variables or attributes of the layer."
    )


def _first_difference(made: Any, model: Any, batch: Any) -> str:
    """Names the first layer of the original that the copy has with other outputs."""
    wanted, got = (_intermediate(one, batch) for one in (model, made))
    for name, outputs in wanted.items():
        if name in got and not _equal(got[name], outputs, _tolerance(model)):
            layer = next(operation for operation in graph_of(model).operations if operation.name == name)
            return f", first behind layer '{name}' ({type(layer).__name__})"
    return ""


def _intermediate(model: Any, batch: Any) -> dict[str, list[Any]]:
    if (graph := graph_of(model)) is None:
        return {}
    nodes = nodes_of(graph)
    function = keras.Function(graph.inputs, [node.outputs for node in nodes])
    values = function(keras.tree.flatten(batch))
    return {node.operation.name: _flat(value) for node, value in zip(nodes, values, strict=True)}


def _inputs(model: Any) -> Any:
    """The specs of the inputs in their structure; None where the model does not tell."""
    graph = graph_of(model)
    return inputs_of(graph) if graph is not None else None


def _states(*models: Any) -> list[Any]:
    """What a pass at inference may change: random states, and variables that are not trained."""
    return [variable for model in models for variable in model.variables if not variable.trainable]


def _put_back(kept: list[tuple[Any, Any]]) -> None:
    for variable, value in kept:
        variable.assign(value)


def _batches(model: Any) -> Iterator[Any]:
    """Yields batches to try: with sizes for what is open, of any numbers and of such as may be indices."""
    specs = _inputs(model)
    open_sizes = any(None in spec.shape[1:] for spec in keras.tree.flatten(specs))
    words = _vocabulary(model)
    for size, indices in itertools.product(_SIZES if open_sizes else _SIZES[:1], (False, True)):
        rng = np.random.default_rng(0)
        yield keras.tree.map_structure(lambda spec: _random(spec, size, indices, words, rng), specs)  # noqa: B023


def _random(spec: Any, size: int, indices: bool, words: list[str], rng: np.random.Generator) -> Any:
    shape = [1 if spec.shape[0] is None else spec.shape[0], *(size if one is None else one for one in spec.shape[1:])]
    if spec.dtype == "string":
        value = rng.choice(words, shape)
    elif keras.backend.is_float_dtype(spec.dtype) and not indices:
        value = rng.standard_normal(shape)
    else:
        value = rng.integers(0, 2, shape)
    return OBJECTS.as_spec(value, spec)


def _vocabulary(model: Any) -> list[str]:
    """Some words that the model knows."""
    for layer in all_layers(model):
        if hasattr(layer, "get_vocabulary"):
            known = [str(word) for word in itertools.islice(layer.get_vocabulary(), 8)]
            return [word for word in known if word] or list(_WORDS)
    return list(_WORDS)


def _run(model: Any, batch: Any) -> list[Any]:
    return _flat(model(batch, training=False))


def _flat(outputs: Any) -> list[np.ndarray]:
    return OBJECTS.to_arrays(outputs)


def _tolerance(model: Any) -> float:
    """That of the coarsest numbers that a model computes with: its outputs may be in finer ones."""
    kinds = {str(getattr(layer, "compute_dtype", "")) for layer in all_layers(model, include_self=True)}
    return max(_TOLERANCE.get(kind, _FINE) for kind in kinds)


def _equal(got: list[Any], wanted: list[Any], tolerance: float) -> bool:
    return len(got) == len(wanted) and all(_close(*both, tolerance) for both in zip(got, wanted, strict=True))


def _close(got: Any, wanted: Any, tolerance: float) -> bool:
    if got.shape != wanted.shape or wanted.dtype.kind in "bOSU":
        return np.array_equal(got, wanted)
    got, wanted = got.astype("float64"), wanted.astype("float64")
    finite = np.isfinite(wanted)
    bound = tolerance * np.abs(wanted[finite]).max(initial=0)
    return np.array_equal(np.isfinite(got), finite) and bool(np.all(np.abs(got - wanted)[finite] <= bound))
