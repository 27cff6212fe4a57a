"""An independent copy of a model, object by object.

A config tells what its author thought of: not the mean of an adapted `Normalization`, not a LoRA kernel, not an
attribute set after building, not the `train_step` of a subclass of Sequential. So nothing is built anew here: each
layer is copied with all its attributes, as `copy.deepcopy` would do it if Keras did not send that through its files.
The graph is copied call by call, without running any.
"""

import copy
import functools
import inspect
import types
from collections import OrderedDict, defaultdict
from typing import Any

import keras

from tf_autodropout.layers.keras_internals import (
    CALLS,
    HISTORY,
    KerasSaveable,
    Node,
    Tracker,
    calls_of,
    has_value,
    maker,
    maker_index,
    name_calls_anew,
    nodes_of,
    put_calls_in_order,
    slot_key,
    state_beside_value,
    take_identities,
)
from tf_autodropout.surgery.objects import OBJECTS

_COMPILED = ("train_function", "test_function", "predict_function")  # of the model that traced them; made anew by `fit`
_OWN_WAYS = ("__deepcopy__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")


def copy_model(model: keras.Model) -> keras.Model:
    """Returns a copy that shares no state with `model`: same class, attributes, weights, random state, compilation.

    The optimizer is copied with its slots: they belong to the weights, and the copy trains on as the original would.
    What TensorFlow holds outside of Python (lookup tables, tokenizers) is shared: it does not change. A function that
    closes over a part of the model is made anew over the copy of that part.

    Args:
        model: A model that is built, of any class.

    Returns:
        The copy.
    """
    web = _Web()
    copied: keras.Model = web.copied(model)
    web.finish()
    return copied


class _Web:
    """One copy of all objects that hang together: each is copied once, whatever path leads to it."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._sources: list[Any] = []  # alive, so that no other object gets their identity
        self._operations: list[tuple[Any, Any]] = []
        self._trackers: list[tuple[Any, Any]] = []
        self._optimizers: list[Any] = []
        self._variable_keys: dict[Any, Any] = {}

    def copied(self, x: Any) -> Any:
        """Returns the copy of an object."""
        if id(x) not in self._made:
            self._keep(x, self._new(x))
        return self._made[id(x)]

    def finish(self) -> None:
        """Does what can be done when all is there: the order of calls, and what is known by the identity of another."""
        for old, new in self._operations:
            put_calls_in_order(new, [self._made[id(node)] for node in calls_of(old) if id(node) in self._made])
        for _, new in self._operations:
            if isinstance(new, keras.Function):
                name_calls_anew(new)
        for old, new in self._trackers:
            take_identities(new, old, self._made)
        for optimizer in self._optimizers:
            for table in vars(optimizer).values():
                if isinstance(table, dict) and table.keys() & self._variable_keys.keys():
                    renamed = {self._variable_keys.get(key, key): value for key, value in table.items()}
                    table.clear()
                    table.update(renamed)
        for _, new in self._operations:
            OBJECTS.finish(new)

    def _keep(self, old: Any, new: Any) -> Any:
        self._made[id(old)] = new
        self._sources.append(old)
        return new

    def _fill(self, old: Any, new: Any) -> Any:
        for name, value in getattr(old, "__dict__", {}).items():
            new.__dict__[name] = self.copied(value)
        return new

    @functools.singledispatchmethod
    def _new(self, x: Any) -> Any:
        """Copies any other object: by its attributes, or in the way of its class."""
        kind = type(x)
        if OBJECTS.is_foreign(kind):
            return x
        if kind.__dictoffset__ and _is_copied_by_attributes(kind):
            return self._object(x)
        try:
            return copy.deepcopy(x, self._made)
        except Exception:  # a handle: of a lock, a file, a library in another language
            return x

    @_new.register(type)
    @_new.register(type(None))
    @_new.register(bool)
    @_new.register(int)
    @_new.register(float)
    @_new.register(str)
    @_new.register(types.ModuleType)
    @_new.register(inspect.Signature)
    @_new.register(keras.DTypePolicy)
    def _constant(self, x: Any) -> Any:
        return x

    @_new.register(KerasSaveable)
    def _object(self, x: Any) -> Any:
        return self._fill(x, self._keep(x, object.__new__(type(x))))

    @_new.register(list)
    def _list(self, x: Any) -> Any:
        if OBJECTS.is_foreign(type(x)):
            return OBJECTS.wrapped([self.copied(one) for one in x])
        new: Any = self._keep(x, list.__new__(type(x)))
        list.extend(new, [self.copied(one) for one in x])
        return self._fill(x, new)

    @_new.register(set)
    def _set(self, x: Any) -> Any:
        new: Any = self._keep(x, set.__new__(type(x)))
        set.update(new, [self.copied(one) for one in x])
        return self._fill(x, new)

    @_new.register(tuple)
    def _tuple(self, x: Any) -> Any:
        items = tuple(self.copied(one) for one in x)
        if all(new is old for new, old in zip(items, x, strict=True)):
            return x
        return OBJECTS.wrapped(items) if OBJECTS.is_foreign(type(x)) else tuple.__new__(type(x), items)

    @_new.register(dict)
    def _dict(self, x: Any) -> Any:
        if OBJECTS.is_foreign(type(x)):
            return OBJECTS.wrapped({self.copied(key): self.copied(value) for key, value in x.items()})
        base: Any = next(one for one in (OrderedDict, defaultdict, dict) if isinstance(x, one))
        new = self._keep(x, base.__new__(type(x)))
        for key, value in x.items():
            base.__setitem__(new, self.copied(key), self.copied(value))  # Keras' own would track it
        if isinstance(x, defaultdict):
            new.default_factory = self.copied(x.default_factory)
        return self._fill(x, new)

    @_new.register(functools.partial)
    def _partial(self, x: Any) -> Any:
        return functools.partial(self.copied(x.func), *self.copied(x.args), **self.copied(x.keywords))

    @_new.register(types.MethodType)
    def _method(self, x: Any) -> Any:
        return types.MethodType(self.copied(x.__func__), self.copied(x.__self__))

    @_new.register(types.FunctionType)
    def _function(self, x: Any) -> Any:
        if not self._closes_over_state(x, set()):
            return x
        cells = tuple(types.CellType() for _ in x.__closure__)
        new = types.FunctionType(x.__code__, x.__globals__, x.__name__, x.__defaults__, cells)
        new.__kwdefaults__, new.__qualname__, new.__module__ = x.__kwdefaults__, x.__qualname__, x.__module__
        self._keep(x, new)
        for cell, old in zip(cells, x.__closure__, strict=True):
            if _is_filled(old):
                content = old.cell_contents
                cell.cell_contents = self.copied(content) if self.has_state(content) else content
        return self._fill(x, new)

    def _closes_over_state(self, function: Any, seen: set[int]) -> bool:
        if id(function) in seen:
            return False
        seen.add(id(function))
        cells = filter(_is_filled, function.__closure__ or ())
        return any(self.has_state(cell.cell_contents, seen) for cell in cells)

    def has_state(self, x: Any, seen: set[int] | None = None) -> bool:
        """True for what a function of the copy must not share with that of the original."""
        seen = set() if seen is None else seen
        match x:
            case types.FunctionType():
                return self._closes_over_state(x, seen)
            case types.MethodType():
                return self.has_state(x.__self__, seen) or self.has_state(x.__func__, seen)
            case list() | tuple():
                return any(self.has_state(one, seen) for one in x)
            case dict():
                return any(self.has_state(one, seen) for one in x.values())
        if isinstance(x, OBJECTS.FUNCTIONS):
            return self.has_state(x.python_function, seen)
        return isinstance(x, (KerasSaveable, keras.Variable, keras.random.SeedGenerator, *OBJECTS.VARIABLES))

    @_new.register(keras.Variable)
    def _keras_variable(self, x: Any) -> Any:
        if not has_value(x):
            return self._object(x)
        new = keras.Variable(
            OBJECTS.copied(x.value),
            dtype=x.dtype,
            trainable=x.trainable,
            aggregation=x.aggregation,
            synchronization=x.synchronization,
            name=x.name,
        )
        self._variable_keys[slot_key(x)] = slot_key(new)
        self._keep(x, new)
        for name, value in state_beside_value(x).items():
            new.__dict__[name] = self.copied(value)
        return new

    @_new.register(Tracker)
    def _tracker(self, x: Any) -> Any:
        new = self._object(x)
        self._trackers.append((x, new))
        return new

    @_new.register(keras.optimizers.Optimizer)
    def _optimizer(self, x: Any) -> Any:
        new = self._object(x)
        self._optimizers.append(new)
        return new

    @_new.register(keras.Operation)
    def _operation(self, x: Any) -> Any:
        new = self._keep(x, object.__new__(type(x)))
        self._operations.append((x, new))
        new.__dict__.update({name: [] for name in CALLS})
        if isinstance(x, keras.Function):  # in its order: to go from a tensor to its sources would nest without end
            for node in nodes_of(x):
                self.copied(node)
        for name, value in vars(x).items():
            if name not in CALLS:  # calls outside of the model stay outside
                new.__dict__[name] = None if name in _COMPILED else self.copied(value)
        return new

    @_new.register(Node)
    def _node(self, x: Any) -> Any:
        operation = self.copied(x.operation)
        args, kwargs = self.copied(x.arguments.args), self.copied(x.arguments.kwargs)
        if id(x) in self._made:  # an attribute of the operation has led here
            return self._made[id(x)]
        outputs = [self._keep(tensor, self._symbol(tensor)) for tensor in x.outputs]
        return self._keep(x, Node(operation, args, kwargs, outputs))

    @_new.register(keras.KerasTensor)
    def _tensor(self, x: Any) -> Any:
        if (made_by := maker(x)) is None:
            return self._symbol(x)
        node = self.copied(made_by)
        # Keras makes other objects for one and the same tensor, an InputLayer for one.
        return self._made.get(id(x), node.outputs[maker_index(x)])

    def _symbol(self, x: Any) -> Any:
        """A tensor of the graph without its history, which the call that makes it gives."""
        new = object.__new__(type(x))
        new.__dict__.update({name: value for name, value in vars(x).items() if name != HISTORY})
        return new


OBJECTS.teach(_Web)


def _is_copied_by_attributes(kind: type) -> bool:
    """True for classes that leave copying to Python and keep all they have in `__dict__`."""
    default = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
    slots = any(vars(base).get("__slots__") for base in kind.__mro__)
    return default and not slots and not any(hasattr(kind, name) for name in _OWN_WAYS) and kind.__base__ is not None


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (reading tells)
    except ValueError:
        return False
    return True
