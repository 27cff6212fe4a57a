"""Where patterns can go in a model: batch norms in its graph, and Transformer layers with sites inside."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import keras_nlp

from tf_autodropout.layers import PatternDropout
from tf_autodropout.layers.adoption import inner_layers, inner_sites, is_adopted
from tf_autodropout.patterns import Pattern
from tf_autodropout.surgery.graph import Addition, Graph, has_kernel, is_nested, why_closed
from tf_autodropout.surgery.site_table import BATCH_NORM, ModelSite, Unreachable

_WANTED = (
    keras.layers.BatchNormalization,
    keras.layers.MultiHeadAttention,
    keras_nlp.layers.TransformerEncoder,
    keras_nlp.layers.TransformerDecoder,
)


@dataclass
class Place:
    """A layer that has sites, in the model whose graph it is called in.

    Args:
        layer: A batch norm, or a layer that is or can be adopted.
        owner: The model whose graph holds it.
        path: Names of the models around it, without the outermost, and its own name, separated by `/`.
        node: Its first call.
        block: Name of its block.
        stage: Name of its stage.
        resolution: For a batch norm, rows and columns of the maps that its block gives, or of its own without one.
        addition: For a batch norm, the Add that closes its block, if a pattern can reach the skip connection there.
        present: The pattern layers that are there already.
        name: The shortest name that tells it from others.
    """

    layer: Any
    owner: keras.Model
    path: str
    node: Any
    block: str = ""
    stage: str = ""
    resolution: tuple[Any, ...] = ()
    addition: Addition | None = None
    present: list[PatternDropout] = field(default_factory=list)
    name: str = ""

    @property
    def is_batch_norm(self) -> bool:
        """True for a batch norm, False for a layer with sites inside."""
        return isinstance(self.layer, keras.layers.BatchNormalization)

    def patterns(self) -> dict[str, Pattern]:
        """Returns the patterns that are there, by site inside the layer; `""` for a batch norm."""
        if self.is_batch_norm:
            return {"": self.present[0].pattern} if self.present else {}
        inside = inner_layers(self.layer) if is_adopted(self.layer) else {}
        return {kind: layers[0].pattern for kind, layers in inside.items()}

    def sites(self) -> Iterator[ModelSite]:
        """Yields the rows of the table."""
        shape = tuple(self.node.output_tensors[0].shape[1:])
        now = {kind: pattern for kind, pattern in self.patterns().items() if not pattern.is_identity}
        if self.is_batch_norm:
            if self.layer.axis == 1:
                shape = (*shape[1:], shape[0])
            at_add = self.addition is not None
            yield ModelSite(self.name, BATCH_NORM, self.path, shape, self.block, self.stage, at_add, now.get(""))
            return
        for kind in inner_sites(self.layer):
            size = (shape[0], shape[0]) if kind == "softmax" else shape
            at_add = kind == "residual"
            name = f"{self.name}/{kind}"
            yield ModelSite(name, kind, self.path, size, self.block, self.stage, at_add, now.get(kind))


def find_places(model: keras.Model) -> tuple[list[Place], list[Unreachable]]:
    """Returns the places of a model in the order of the network, and the layers that would be some but are hidden."""
    places: list[Place] = []
    _walk(model, "", places)
    count = Counter(place.layer.name for place in places)
    for place in places:
        place.name = place.layer.name if count[place.layer.name] == 1 else place.path
    seen = {id(place.layer): place for place in places}
    return places, list(_hidden(model, "", seen))


def _walk(model: keras.Model, prefix: str, places: list[Place]) -> None:
    graph = Graph(model)
    known: set[int] = set()
    for node in graph.nodes:
        layer = node.operation
        if id(layer) in known:  # a layer called twice is one place
            continue
        known.add(id(layer))
        path = f"{prefix}{layer.name}"
        if is_nested(layer):
            _walk(layer, f"{path}/", places)
        elif isinstance(layer, keras.layers.BatchNormalization) and len(node.output_tensors[0].shape) == 4:
            place = Place(layer, model, path, node)
            places.append(place)
            _locate(place, graph, places)
        elif inner_sites(layer):
            places.append(Place(layer, model, path, node, block=layer.name, stage=model.name))


def _locate(place: Place, graph: Graph, places: list[Place]) -> None:
    """Finds block and stage of a batch norm, its skip connection, and the pattern layers it has."""
    place.resolution = _map_size(place)
    call = id(place.layer)
    for number, addition in enumerate(graph.additions, start=1):
        inside = call in addition.main or _starts(place, addition, graph)
        if inside or call in addition.shortcut:
            place.block = f"block{number}"
            place.addition = addition if inside else None
            # A block belongs to one stage, also where its first batch norm comes before the stride.
            place.resolution = _map_size(place, addition.node)
            break
    else:
        if graph.additions:
            place.block = "head" if any(graph.depends(place.node, one.node) for one in graph.additions) else "stem"
    before = [other.resolution for other in places[:-1] if other.is_batch_norm]
    stages = list(dict.fromkeys([*before, place.resolution]))  # in the order of the network
    place.stage = f"stage{stages.index(place.resolution) + 1}"
    place.block = place.block or place.stage
    (normalized,) = place.node.output_tensors
    readers = [node.operation for node in graph.nodes if any(tensor is normalized for tensor in node.input_tensors)]
    place.present = [layer for layer in readers if isinstance(layer, PatternDropout)]


def _starts(place: Place, addition: Addition, graph: Graph) -> bool:
    """True for the batch norm that a pre-activation block begins with: both branches may depend on it.

    It follows the Add of the block before without a weighted layer in between.
    """
    if not graph.depends(addition.node, place.node):
        return False
    node = place.node
    closing = {id(one.node) for one in graph.additions}
    while node is not None and id(node) not in closing:
        if node is not place.node and (has_kernel(node.operation) or len(node.input_tensors) != 1):
            return False
        node = graph.source(node.input_tensors[0])
    return node is not None


def _map_size(place: Place, node: Any = None) -> tuple[Any, ...]:
    """Rows and columns of what the batch norm, or another node with its data format, gives."""
    shape = (node or place.node).output_tensors[0].shape
    return tuple(shape[2:]) if place.layer.axis == 1 else tuple(shape[1:3])


def _hidden(layer: Any, path: str, seen: dict[int, Place]) -> Iterator[Unreachable]:
    """Yields what `find_places` has not found, from the outside to the inside."""
    for child in getattr(layer, "_layers", ()):
        name = f"{path}{child.name}"
        if id(child) in seen or isinstance(child, PatternDropout):
            continue
        if isinstance(child, keras.Model) and (reason := why_closed(child)):
            yield Unreachable(name, reason)
        elif isinstance(child, _WANTED):
            yield Unreachable(name, _why_hidden(child, layer))
        else:
            yield from _hidden(child, f"{name}/", seen)


def _why_hidden(layer: Any, around: Any) -> str:
    kind = type(layer).__name__
    if isinstance(around, keras.Model):
        if isinstance(layer, keras.layers.BatchNormalization):
            return "its output is not a map (N, H, W, C)"
        return f"a {kind} with attention over other axes than the tokens, or a subclass of its own"
    return f"a {kind} inside a {type(around).__name__}, which is one opaque layer of the graph"
