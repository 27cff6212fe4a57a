"""What each place of a model is for: its role, its shape, and whether a pattern should go there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import keras

from tf_autodropout.layers import PatternDropout
from tf_autodropout.layers.adoption import inner_sites, plain_type
from tf_autodropout.surgery.fitting import BATCH_NORM, CONVOLUTION, OWN, RECURRENT, fitting, kind_of
from tf_autodropout.surgery.graph import is_nested
from tf_autodropout.surgery.places import Place, all_places
from tf_autodropout.surgery.roles import Attention, Branch, Roles
from tf_autodropout.surgery.site_table import ModelSite, Unreachable
from tf_autodropout.surgery.tracing import Call, Trace, trace_of

_ADDED = "its skip connection is added in the code of {}, where no layer can come between"
_CONVOLUTIONS_PER_BLOCK = 3


@dataclass
class Survey:
    """The places of a model.

    Args:
        places: Those that can be reached, in the order of the network.
        unreachable: What would be recommended but cannot be reached.
        others: Other layers that cannot be reached.
    """

    places: list[Place]
    unreachable: list[Unreachable] = field(default_factory=list)
    others: list[Unreachable] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[ModelSite, Place]]:
        """Yields every site with its place."""
        for place in self.places:
            for site in place.sites():
                yield site, place


def survey(model: keras.Model) -> Survey:
    """Looks at a model: at its graph, and at what a training step calls."""
    return _Surveyor(model).survey


class _Surveyor:
    def __init__(self, model: keras.Model) -> None:
        places = all_places(model)
        self.survey = Survey(places)
        self._by_layer = {id(place.layer): place for place in places if not place.is_skip}
        self._path = {id(place.layer): place.path for place in places}
        try:
            trace = trace_of(model)
            roles = Roles(trace)
        except Exception as error:  # whatever somebody's code raises
            self._give_up(error)
        else:
            self._look(trace)
            self._assign(roles)
        self.survey.places = [place for place in places if self._is_site(place)]
        self._recommend()

    def _give_up(self, error: Exception) -> None:
        """Leaves layers in Python code with what their class tells."""
        first = (str(error).strip().splitlines() or [""])[0]
        hidden = [place for place in self.survey.places if place.owner is None]
        for place in hidden:
            place.shape = None
        if hidden:
            reason = f"the model cannot be run on placeholders ({type(error).__name__}: {first})"
            self.survey.unreachable.append(Unreachable("layers in Python code", reason))

    def _look(self, trace: Trace) -> None:
        """Finds the shapes of what layers in Python code return."""
        for place in self.survey.places:
            if place.is_skip:
                continue
            called = trace.of_layer.get(id(place.layer), [])
            call = next((call for call in called if call.floating() is not None), None)
            if place.owner is None and not isinstance(place.layer, PatternDropout):
                if call is not None:
                    place.shape = trace.shape(call.floating())
                else:
                    self._miss(place, bool(called))
            given = call.inputs[0].shape.rank if call is not None and call.inputs else None
            rank = len(place.shape or ())
            place.is_map = place.kind in (BATCH_NORM, CONVOLUTION) or (rank > 3 and given == rank)

    def _miss(self, place: Place, called: bool) -> None:
        wanted = place.kind in (BATCH_NORM, CONVOLUTION)
        if wanted or place.layer.weights:
            reason = (
                "is called in a loop or a branch of the code"
                if called
                else "is not called when the model is, or its step is no layer's"
            )
            (self.survey.unreachable if wanted else self.survey.others).append(Unreachable(place.path, reason))

    def _assign(self, roles: Roles) -> None:
        """Gives places the roles of what they compute."""
        ends = {id(one.calls["output"].layer) for one in roles.attentions if "output" in one.calls}
        for attention in roles.attentions:
            if not self._in_unit(attention.inside):
                self._assign_attention(attention)
        for branch in roles.branches:
            if not self._in_unit(branch.inside):
                self._assign_branch(branch, ends)
        acting = {id(p.layer) for p in self.survey.places if p.kind in ("output", "ffn") or "output" in p.inside}
        for place in self.survey.places:
            place.recommended |= place.is_skip and bool(acting & place.addition.main)  # type: ignore[union-attr]

    def _in_unit(self, call: Call | None) -> bool:
        """True for what happens in a layer with sites of its own inside."""
        while call is not None and not inner_sites(call.layer):
            call = call.around
        return call is not None

    def _assign_attention(self, attention: Attention) -> None:
        for role, call in attention.calls.items():
            if self._give(call, role, attention.inside) and role == "softmax":
                self._by_layer[id(call.layer)].takes_scores = attention.takes_scores
        reasons: dict[str, list[str]] = {}
        for role, reason in attention.reasons.items():
            reasons.setdefault(reason, []).append(role)
        for reason, missing in reasons.items():
            self._tell(attention.inside, f"{', '.join(missing)}: {reason}")

    def _assign_branch(self, branch: Branch, ends: set[int]) -> None:
        found = False

        def rank_fits(place: Place) -> bool:  # of a ConvNet what ends a branch is one convolution of many
            rank = len(place.shape or ())
            return rank == 3 or (rank > 3 and bool(ends))

        for call in branch.ends:
            place = self._by_layer.get(id(call.layer))
            if id(call.layer) in ends:
                found = True
            elif place is not None and place.kind not in (BATCH_NORM, CONVOLUTION) and rank_fits(place):
                found |= place.kind == "ffn" or (self._may_end(call, branch) and self._give(call, "ffn", branch.inside))
        inside = branch.inside
        if found and inside is not None and not self._is_graph(inside):
            self._tell(inside, f"residual: {_ADDED.format(plain_type(inside.layer).__name__)}")

    def _may_end(self, call: Call, branch: Branch) -> bool:
        """True for what returns a tensor like the one that it is added to: no gate, no bias of a position."""
        made, given = call.floating().shape, branch.skip.shape
        return made.rank == given.rank and made[-1] == given[-1]

    def _is_graph(self, call: Call) -> bool:
        """True for a call of a model whose additions are in a graph that can be edited, or of an Add in one."""
        place = self._by_layer.get(id(call.layer))
        is_add = isinstance(call.layer, keras.layers.Add) and place is not None and place.owner is not None
        return is_add or is_nested(call.layer)

    def _give(self, call: Call, role: str, inside: Call | None) -> bool:
        place = self._by_layer.get(id(call.layer))
        if place is None or place.inside:
            return False
        if not place.recommended:
            place.kind, place.recommended = role, True
            if place.owner is None and inside is not None and id(inside.layer) in self._path:
                place.block = self._path[id(inside.layer)]
        return place.kind == role

    def _tell(self, call: Call | None, reason: str) -> None:
        path = self._path.get(id(call.layer), "") if call is not None else ""
        one = Unreachable(path or "the model itself", reason)
        if one not in self.survey.unreachable:
            self.survey.unreachable.append(one)

    def _is_site(self, place: Place) -> bool:
        if place.is_skip:
            return place.recommended
        if isinstance(place.layer, PatternDropout):
            place.kind, place.recommended = OWN, not place.present[0].pattern.is_identity
            return place.recommended
        if place.owner is None and place.shape is None:
            return False
        return bool(place.inside) or bool(place.shape)

    def _recommend(self) -> None:
        """Recommends batch norms, else convolutions, else what is recurrent, beside the roles that were found."""
        places = self.survey.places
        roles = [place for place in places if place.recommended or place.inside]
        for kind in (BATCH_NORM, CONVOLUTION, RECURRENT):
            found = [place for place in places if place.kind == kind and _is_map_or_sequence(place)]
            found = [place for place in found if kind != CONVOLUTION or _is_wide(place)]
            if kind == CONVOLUTION and len(found) <= _CONVOLUTIONS_PER_BLOCK * len({place.block for place in roles}):
                continue  # those of a Transformer cut patches and tell positions
            if kind == RECURRENT:
                found = [] if roles else [place for place in found if kind_of(place.around) != RECURRENT]
            for place in found:
                place.recommended = True
            if found:
                break
        if not any(place.recommended or place.inside for place in places):
            self._recommend_features()

    def _recommend_features(self) -> None:
        """Recommends, in a network on tensors (N, C), batch norms, else dense layers but the last."""
        flat = [place for place in self.survey.places if len(place.shape or ()) == 2]
        norms = [place for place in flat if place.kind == BATCH_NORM]
        dense = [place for place in flat if isinstance(place.layer, keras.layers.Dense)]
        for place in norms or dense[:-1]:
            place.recommended = True


def _is_map_or_sequence(place: Place) -> bool:
    rank = len(place.shape or ())
    return rank > 2 and bool(fitting(place.kind, rank, True))


def _is_wide(place: Place) -> bool:
    """True for a map of more than one cell."""
    sizes = place._size()[:-1]
    return any(size != 1 for size in sizes)


def unreachable(found: Survey, every: bool) -> Sequence[Unreachable]:
    """Returns what a table of sites lists as out of reach."""
    return [*found.unreachable, *(found.others if every else [])]
