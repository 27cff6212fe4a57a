"""Where patterns can go in a model: behind its layers, on its skip connections, and inside some of its layers."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from tf_autodropout.layers import TRANSFORMER_SITES, PatternDropout
from tf_autodropout.layers.adoption import inner_layers, inner_sites, is_adopted
from tf_autodropout.layers.keras_internals import maker
from tf_autodropout.layers.patterned import OUTPUT
from tf_autodropout.layers.site_layers import SCORES
from tf_autodropout.surgery.fitting import BATCH_NORM, CONVOLUTION, LAYER, data_format, fitting, kind_of, token_axis
from tf_autodropout.surgery.graph import Addition, Graph, first_floating, has_kernel, is_nested
from tf_autodropout.surgery.site_table import ModelSite
from tf_autodropout.surgery.structure import Spot, spots

_TELLING = re.compile(r"(stage\d+)(_block\d+)_")


@dataclass
class Place:
    """A layer that has a site on its output or sites inside, or a skip connection.

    Args:
        layer: The layer; for a skip connection, the Add that closes it.
        path: Names of what is around it, without the outermost model, and its own, separated by `/`.
        key: Finds it again in another copy of the model, see `structure`.
        owner: The model whose graph it is called in; None if Python code calls it.
        around: The layer or model that holds it.
        node: Its first call, if it is in a graph.
        kind: Kind of the site on its output.
        block: Name of its block.
        stage: Name of its stage.
        resolution: For a batch norm or convolution, the size of the maps that its block gives, or of its own.
        addition: For a batch norm, the Add that closes its block, if a pattern can reach the skip connection there;
            for a skip connection its Add.
        present: The pattern layers that are there already.
        name: The shortest name that tells it from others.
        shape: Shape of its output with the batch; None if it is not known.
        is_map: True if its output is a map: its inner axes are those of space.
        recommended: True if a single pattern should go there.
        takes_scores: True for a layer in Python code that is the softmax of attention scores.
    """

    layer: Any
    path: str
    key: str
    owner: keras.Model | None
    around: Any
    node: Any = None
    kind: str = LAYER
    block: str = ""
    stage: str = ""
    resolution: tuple[Any, ...] = ()
    addition: Addition | None = None
    present: list[PatternDropout] = field(default_factory=list)
    name: str = ""
    shape: tuple[int | None, ...] | None = None
    is_map: bool = False
    recommended: bool = False
    takes_scores: bool = False

    @property
    def is_skip(self) -> bool:
        """True for a skip connection."""
        return self.addition is not None and self.addition.node.operation is self.layer

    @property
    def inside(self) -> Sequence[str]:
        """The sites inside the layer; none where the site is on its output."""
        return () if self.is_skip else inner_sites(self.layer)

    @property
    def token_axis(self) -> int:
        """Axis of the tokens in its output."""
        return token_axis(self.layer, self.kind, len(self.shape or (0, 0, 0)))

    @property
    def data_format(self) -> str:
        """Where the channels of its output are."""
        return data_format(self.layer, len(self.shape or (0, 0, 0)))

    def pattern_layers(self) -> dict[str, PatternDropout]:
        """Returns a pattern layer for each site that has some, by site inside the layer; `""` for its output."""
        if self.present:
            return {OUTPUT: self.present[0]}
        inside = inner_layers(self.layer) if not self.is_skip and is_adopted(self.layer) else {}
        return {site: layers[0] for site, layers in inside.items()}

    def sites(self) -> Iterator[ModelSite]:
        """Yields the rows of the table."""
        shape = self.shape or ()
        if not self.inside:
            at_add = self.addition is not None
            yield self._row(self.name, self.kind, OUTPUT, self._size(), at_add, self.recommended)
            if self.takes_scores and self.owner is None:
                yield self._row(f"{self.name}/{SCORES}", SCORES, SCORES, self._size(), False, False)
            return
        for kind in self.inside:
            size = (shape[1], shape[1]) if kind in ("softmax", SCORES) else tuple(shape[1:])
            yield self._row(f"{self.name}/{kind}", kind, kind, size, kind == "residual", kind != SCORES)

    def _row(
        self, name: str, kind: str, site: str, size: tuple[int | None, ...], at_add: bool, recommended: bool
    ) -> ModelSite:
        layer = self.pattern_layers().get(site)
        if layer is not None and layer.pattern.is_identity:
            layer = None
        return ModelSite(
            name,
            kind,
            self.path,
            size,
            self.block,
            self.stage,
            at_add,
            None if layer is None else layer.pattern,
            recommended,
            fitting(kind, len(self.shape or ()), self.is_map and not self.inside),
            None if layer is None else layer.schedule,
        )

    def _size(self) -> tuple[int | None, ...]:
        """The shape of one example: of a map with the channels last, of tokens (T, C) whatever the heads."""
        sizes = list(self.shape or ())[1:]
        if self.kind == "softmax":
            return (sizes[-1], sizes[-2])
        if self.kind in TRANSFORMER_SITES and not self.is_map and len(sizes) > 2:
            tokens = sizes.pop(self.token_axis - 1)
            known = [size for size in sizes if size is not None]
            return (tokens, math.prod(known) if len(known) == len(sizes) else None)
        if len(sizes) > 1 and self.data_format == "channels_first":
            sizes.append(sizes.pop(0))
        return tuple(sizes)


def all_places(model: keras.Model) -> list[Place]:
    """Returns every place of a model in the order of the network. Only the graph and the layers are looked at."""
    places: list[Place] = []
    graphs: dict[int, Graph] = {}
    units: set[int] = set()  # layers with sites inside, and what they hold
    for spot in spots(model):
        around = spot.owner or (spot.around if is_nested(spot.around) else None)
        if around is not None and id(around) not in graphs:
            graphs[id(around)] = Graph(around)
        graph = graphs.get(id(around))
        if spot.owner is not None:
            _visible(spot, spot.owner, graph, places)  # type: ignore[arg-type]
        elif isinstance(spot.layer, keras.layers.Layer):
            if id(spot.around) in units and _is_part(spot.layer):
                units.add(id(spot.layer))
                continue
            _hidden(spot, graph, places)
        if inner_sites(spot.layer):
            units.add(id(spot.layer))
    _name(places)
    _name_parts(places)
    return places


def _is_part(layer: Any) -> bool:
    """True for what a layer with sites inside holds and has sites for, or does not call when it has patterns."""
    parts = keras.layers.MultiHeadAttention | keras.layers.Softmax | keras.layers.EinsumDense | keras.layers.Dropout
    return isinstance(layer, parts) or layer.name == "feedforward_output_dense"


def _visible(spot: Spot, owner: keras.Model, graph: Graph, places: list[Place]) -> None:
    node = graph.first_call(spot.layer)
    if (addition := next((one for one in graph.additions if one.node is node), None)) is not None:
        skip = Place(spot.layer, spot.path, f"{spot.key}/skip", owner, spot.around, node, "residual")
        skip.addition = addition
        source = node.input_tensors[addition.skip]
        skip.shape, skip.block, skip.stage = tuple(source.shape), spot.layer.name, owner.name
        skip.present = [call.operation for call in (maker(source),) if isinstance(call.operation, PatternDropout)]
        places.append(skip)
    if not isinstance(spot.layer, keras.layers.Layer):
        return
    place = Place(spot.layer, spot.path, spot.key, owner, spot.around, node, kind_of(spot.layer))
    place.block, place.stage = spot.layer.name, owner.name
    output = first_floating(node.output_tensors)
    if output is None:
        return
    place.shape = tuple(output.shape)
    place.is_map = len(place.shape) > 3 or place.kind in (BATCH_NORM, CONVOLUTION)
    place.present = _patterns_behind(node, graph)
    places.append(place)
    if place.kind in (BATCH_NORM, CONVOLUTION) and len(place.shape) > 2:
        _locate(place, graph, places)


def _hidden(spot: Spot, graph: Graph | None, places: list[Place]) -> None:
    if is_nested(spot.layer):
        return  # what it returns is what its last layer returns
    place = Place(spot.layer, spot.path, spot.key, None, spot.around, None, kind_of(spot.layer))
    place.block, _, _ = spot.path.rpartition("/")
    place.stage = spot.path.partition("/")[0]
    if isinstance(spot.layer, PatternDropout):  # from somebody's own code
        place.present = [spot.layer]
    elif graph is not None:
        place.present = _patterns_behind(graph.first_call(spot.layer), graph)
    places.append(place)


def _patterns_behind(node: Any, graph: Graph) -> list[PatternDropout]:
    return [one for one in graph.readers(node) if isinstance(one, PatternDropout) and not one.on_skip]


def _name(places: list[Place]) -> None:
    count = Counter(place.layer.name for place in places if place.owner is not None and not place.is_skip)
    for place in places:
        unique = place.owner is not None and count[place.layer.name] == 1
        place.name = place.layer.name if unique and not place.is_skip else place.path
        if place.is_skip:
            place.name = f"{place.name}/residual"


def _name_parts(places: list[Place]) -> None:
    """Takes block and stage from the names of layers that tell them, such as `stage2_block1_bn1`.

    Networks have published stages that resolution does not tell apart. What is in no such block, a stem or a head,
    belongs to the nearest stage of its resolution, before or else behind it; without one it is a stage of its own.
    """
    for owner in {id(place.owner): place.owner for place in places if place.resolution}.values():
        located = [place for place in places if place.resolution and place.owner is owner]
        told = {id(place): match for place in located if (match := _TELLING.match(place.layer.name))}
        stages: dict[tuple[Any, ...], str] = {}
        for place in reversed(located):
            if match := told.get(id(place)):
                stages[place.resolution] = match[1]
        for place in located if told else ():
            if match := told.get(id(place)):
                place.block, place.stage = match[1] + match[2], match[1]
                stages[place.resolution] = place.stage
            else:
                place.stage = stages.get(place.resolution, place.block)


def _locate(place: Place, graph: Graph, places: list[Place]) -> None:
    """Finds block and stage of a batch norm or convolution, and its skip connection."""
    place.block, place.resolution = "", _map_size(place)
    call = id(place.layer)
    for number, addition in enumerate(graph.additions, start=1):
        inside = call in addition.main or (place.kind == BATCH_NORM and _starts(place, addition, graph))
        if inside or call in addition.shortcut:
            place.block = f"block{number}"
            place.addition = addition if inside and place.kind == BATCH_NORM else None
            # A block belongs to one stage, also where its first batch norm comes before the stride.
            place.resolution = _map_size(place, addition.node)
            break
    else:
        if graph.additions:
            place.block = "head" if any(graph.depends(place.node, one.node) for one in graph.additions) else "stem"
    before = [other.resolution for other in places[:-1] if other.kind == place.kind and other.resolution]
    stages = list(dict.fromkeys([*before, place.resolution]))  # in the order of the network
    place.stage = f"stage{stages.index(place.resolution) + 1}"
    place.block = place.block or place.stage


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
    """The sizes of space of what a layer, or another node with its data format, gives."""
    shape = tuple((node or place.node).output_tensors[0].shape)
    return shape[2:] if place.data_format == "channels_first" else shape[1:-1]
