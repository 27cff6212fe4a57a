"""What layers do in a network, read from what they compute: the parts of attention, and what ends a branch.

Attention is a product of two tensors, a softmax of it, and a product of that with a third tensor. The layers with
weights that these tensors come from are `query`, `key` and `value`, the one that reads the result is `output`, and a
layer that returns the probabilities is `softmax`. What ends a residual branch that is no attention is `ffn`.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from tf_autodropout.layers.keras_internals import own_variables
from tf_autodropout.surgery.tracing import Call, Trace

_ADDITIONS = ("AddV2", "Add", "AddN")


@dataclass(eq=False)
class Attention:
    """One attention of a model: the calls of its layers, None for what no layer of its own returns.

    Args:
        calls: Role to call.
        reasons: Role to the reason why there is none.
        inside: The innermost call that all of it is in.
        takes_scores: True if the call of the role `softmax` takes the softmax itself, and not what it gives.
    """

    calls: dict[str, Call] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    inside: Call | None = None
    takes_scores: bool = False


@dataclass(eq=False)
class Branch:
    """A residual branch that is added to its input.

    Args:
        ends: The calls whose outputs are added.
        inside: The innermost call that adds, None for the model's graph.
        skip: What is added to, a tensor.
    """

    ends: list[Call]
    inside: Call | None
    skip: Any


class Roles:
    """The attentions and residual branches of a step."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.attentions = list(self._attentions())
        self.branches = list(self._branches())

    def _attentions(self) -> Iterable[Attention]:
        trace = self._trace
        products = {operation.name: operation for operation in trace.contractions()}
        for softmax in trace.operations("Softmax"):
            scores = self._scores(softmax.inputs[0], products)
            mixed = self._forth(softmax.outputs[0], lambda tensor: tensor.op.name in products)
            if scores is not None and mixed is not None:
                yield self._attention(softmax, *scores, mixed)

    def _scores(self, tensor: Any, products: Collection[str]) -> tuple[Any, bool] | None:
        """Returns the product that a softmax is taken of, and whether its last two axes are exchanged before.

        Others may be added to it, of queries with positions: the one of two projections comes first.
        """
        trace, seen, todo = self._trace, {tensor.name}, [(tensor, False)]
        found: list[tuple[Any, bool]] = []
        for one, turned in todo:
            if one.op.name in products:
                found.append((one.op, turned))
            elif not trace.is_product_with_weight(one.op):
                for source in trace.sources(one):
                    if source.name not in seen:
                        seen.add(source.name)
                        todo.append((source, turned != trace.exchanges_last_axes(one.op)))

        def is_projected(factor: Any) -> bool:
            return self._back(factor, lambda one: _weighted(trace.makers(one))) is not None

        whole = (one for one in found if all(map(is_projected, one[0].inputs)))
        return next(whole, found[0] if found else None)

    def _attention(self, softmax: Any, scores: Any, turned: bool, mixed: Any) -> Attention:
        trace, found = self._trace, Attention()
        key = trace.key_operand(scores, turned)
        probabilities = [tensor for tensor in mixed.op.inputs if trace.depends(tensor, softmax.outputs[0])]
        values = [tensor for tensor in mixed.op.inputs if all(tensor is not one for one in probabilities)]
        parts = {"query": scores.inputs[1 - key], "key": scores.inputs[key], "value": (values or [mixed])[0]}
        for role, tensor in parts.items():
            projected = self._back(tensor, lambda one: _weighted(trace.makers(one)))
            if projected is not None:
                found.calls[role] = _weighted(trace.makers(projected))  # type: ignore[assignment]
            else:
                found.reasons[role] = "no layer projects it"
        layers = [id(call.layer) for call in found.calls.values()]
        for role in [role for role, call in found.calls.items() if layers.count(id(call.layer)) > 1]:
            name = found.calls.pop(role).layer.name
            found.reasons[role] = f"one projection, '{name}', makes more than one part of the attention"

        def shown(tensor: Any) -> Call | None:  # by the softmax layer, or by a layer behind it
            calls = trace.makers(tensor) if trace.depends(tensor, softmax.outputs[0]) else ()
            return next((call for call in calls if call.last <= trace.place(mixed)), None)

        for tensor in probabilities:
            if (returned := self._back(tensor, shown, until=softmax.outputs[0])) is not None:
                found.calls["softmax"] = shown(returned)  # type: ignore[assignment]
        if (call := found.calls.get("softmax")) is not None:
            found.takes_scores = call.first <= trace.place(softmax.outputs[0]) < call.last
        else:
            found.reasons["softmax"] = f"an operation in the code of {_name(trace.around(softmax))}, not a layer"
        read = self._forth(mixed, lambda tensor: _weighted(trace.takers(tensor)), inclusive=True)
        if read is not None:
            found.calls["output"] = _weighted(trace.takers(read))  # type: ignore[assignment]
        else:
            found.reasons["output"] = "no layer projects it"
        ends = [call for call in (trace.around(scores), trace.around(mixed.op)) if call]
        found.inside = next((call for call in _outwards(ends[0]) if ends[-1].is_inside(call)), None) if ends else None
        return found

    def _branches(self) -> Iterable[Branch]:
        trace = self._trace
        for operation in trace.operations(*_ADDITIONS):
            if len(operation.inputs) != 2 or any(map(trace.is_weight, operation.inputs)):
                continue
            one, other = operation.inputs
            for skip, branch in ((one, other), (other, one)):
                origin = self._origin(skip)
                if trace.place(origin) < trace.place(branch) and trace.depends(branch, origin):
                    if ends := self._ends(branch, origin, None, {}):
                        yield Branch(ends, trace.around(operation), skip)
                    break

    def _origin(self, tensor: Any) -> Any:
        """What a skip connection comes from, where it has been cast, scaled or brought into shape on its way."""
        while len(sources := self._trace.sources(tensor)) == 1 and not _weighted(self._trace.makers(tensor)):
            (tensor,) = sources
        return tensor

    def _ends(self, tensor: Any, origin: Any, passed: Call | None, known: dict[str, list[Call]]) -> list[Call]:
        """The calls that a branch ends with, each with weights and computed from where the branch begins."""
        trace = self._trace
        if tensor.name in known:
            return known[tensor.name]
        known[tensor.name] = []
        if trace.place(tensor) <= trace.place(origin) or not trace.depends(tensor, origin):
            return []
        makers = trace.makers(tensor)
        if call := _weighted(makers):
            known[tensor.name] = [call]
            return [call]
        passed = next((call for call in makers if call.layer.weights), passed)
        if passed and trace.is_product_with_weight(tensor.op):  # the code reads a kernel and calls no layer
            known[tensor.name] = [passed]
            return [passed]
        sources = trace.sources(tensor)
        found: dict[int, Call] = {}
        for source in sources:
            found |= {id(call): call for call in self._ends(source, origin, passed, known)}
        ends = list(found.values())
        if len(ends) > 1 and passed and tensor.op.type not in _ADDITIONS and all(c.is_inside(passed) for c in ends):
            ends = [passed]  # experts and their router, gates: what mixes them is the end
        known[tensor.name] = ends
        return ends

    def _back(self, tensor: Any, wanted: Callable[[Any], Any], until: Any = None) -> Any:
        """Returns the nearest tensor that a tensor comes from and that is wanted, itself included.

        What a layer with a kernel returns is looked at but not passed.
        """
        trace, seen, todo = self._trace, {tensor.name}, [tensor]
        for one in todo:
            if wanted(one):
                return one
            if (until is not None and one.name == until.name) or _weighted(trace.makers(one)):
                continue
            for source in trace.sources(one):
                if source.name not in seen:
                    seen.add(source.name)
                    todo.append(source)
        return None

    def _forth(self, tensor: Any, wanted: Callable[[Any], Any], inclusive: bool = False) -> Any:
        """Returns the nearest tensor that is computed from a tensor and is wanted; what has a kernel is not passed."""
        trace, seen, todo = self._trace, {tensor.name}, [tensor]
        for one in todo:
            if wanted(one) and (inclusive or one is not tensor):
                return one
            if _weighted(trace.takers(one)):
                continue
            for operation in trace.readers(one):
                for result in operation.outputs:
                    if result.name not in seen and result.dtype.is_floating:
                        seen.add(result.name)
                        todo.append(result)
        return None


def _weighted(calls: Iterable[Call]) -> Call | None:
    """Returns the innermost of some calls whose layer holds a weight of rank 2 or more itself."""
    for call in calls:
        if any(len(variable.shape) >= 2 for variable in own_variables(call.layer)):
            return call
    return None


def _outwards(call: Call | None) -> Iterable[Call]:
    while call is not None:
        yield call
        call = call.around


def _name(call: Call | None) -> str:
    return type(call.layer).__name__ if call else "the model"
