"""What patterns tell of their kind: it is right, nobody asks for their class, and a fourth kind needs no other file."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests.fourth_kind import ROWS, RowPattern
from tests.random_patterns import random_cases
from tf_autodropout.masks import drop_probability, encode, is_silent, kinds
from tf_autodropout.masks.kinds import MASK_KINDS
from tf_autodropout.patterns import Site, pattern_set
from tf_autodropout.patterns.kinds import KINDS, SEARCHED
from tf_autodropout.search.analysis.common import resembles
from tf_autodropout.search.children.share import dropped_share
from tf_autodropout.search.page.document import _pattern
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.surgery import fitting

ROOT = Path(__file__).parent.parent
CLASSES = {kind.__name__ for kind in KINDS} | {"MapPattern"} | {kind.values.__name__ for kind in MASK_KINDS}
MAY_ASK = {"tf_autodropout/patterns/members.py"}  # which class of DropPath to make
C, T, D = tad.ConvPattern, tad.TransformerPattern, tad.DropBlockPattern
WHOLE = tad.members.spatial_dropout(0.5).size


def questions(source: str) -> list[str]:
    """The places that ask which class of pattern something is: isinstance, issubclass, a comparison, a case."""
    asked = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            among = node.args[1:]
        elif isinstance(node, ast.Compare):
            among = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchClass):
            among = [node.cls]
        else:
            continue
        words = [one for part in among for one in ast.walk(part)]
        named = {getattr(one, "id", None) or getattr(one, "attr", None) or getattr(one, "value", None) for one in words}
        if CLASSES & {name for name in named if isinstance(name, str)}:
            asked.append(f"line {node.lineno if hasattr(node, 'lineno') else '?'}: {ast.unparse(node)}")
    return asked


def test_nobody_asks_for_the_class_of_a_pattern() -> None:
    files = [path for top in ("tf_autodropout", "search", "models") for path in sorted((ROOT / top).rglob("*.py"))]
    found = {
        path.resolve().relative_to(ROOT.resolve()).as_posix(): questions(path.read_text("utf-8")) for path in files
    }
    assert len(found) > 200
    asking = {name: lines for name, lines in found.items() if lines}
    assert set(asking) == MAY_ASK, asking


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(pattern, ConvPattern)",
        "isinstance(pattern, tad.DropBlockPattern | None)",
        "not issubclass(kind, (int, MapPattern))",
        "values = 1 if isinstance(values, ConvValues) else 2",
        "site.kind is not TransformerPattern",
        "type(pattern) in (ConvPattern, TransformerPattern)",
        "pattern.TYPE == 'ConvPattern'",
        "match pattern:\n    case ConvPattern():\n        pass",
    ],
)
def test_such_a_question_is_found(line: str) -> None:
    assert len(questions(line)) == 1
    assert questions("isinstance(pattern, Pattern); ConvPattern(size=2); kind.TYPE == name; x: ConvPattern") == []


def test_every_kind_is_drawn_and_says_where_it_lies() -> None:
    assert {kind.pattern for kind in MASK_KINDS} == set(KINDS)
    assert [kind for kind in KINDS if not kind.ON_MAPS] == [T]
    assert list(SEARCHED) == ["ConvPattern", "TransformerPattern"]
    assert [kind.example_ranks() for kind in KINDS] == [(2, 3, 4), (2,), (2, 3, 4)]
    assert [kind.sizes_of((8, 6, 3)) for kind in KINDS] == [(8, 6), (8,), (8, 6)]
    assert (T.sizes_of((5,)), T.sizes_of((None, 5)), C.sizes_of((None, 5))) == ((1,), (None,), (None,))
    assert [kind.AXIS_NAMES[0] for kind in KINDS] == ["position", "token", "position"]
    assert C(2, residual=True).residual
    assert not any(kind(size=2).residual for kind in KINDS)
    for kind in KINDS:  # the rate is the last of the values, for `apply_pattern`
        assert encode(kind(2, rate=0.5))._fields[-1] == "rate"
        assert (kind().is_identity, kind(size=1, rate=0.0).is_identity, kind(size=1).is_identity) == (True, True, False)


MEMBERS = [  # on 8 cells or tokens along each axis: the classic, and if one draw decides on all of it
    (tad.members.dropout(0.3), "Dropout", False),
    (tad.members.drop_key(0.3), "Dropout", False),
    (tad.members.word_dropout(0.3), "Word Dropout", False),
    (tad.members.variational_dropout(0.3), "Variational Dropout", False),
    (tad.members.drop_path(0.3, T), "DropPath", True),
    (T(8, 3, share_t=True, share_c=True, rate=0.3), "DropPath", True),
    (T(7, 3, share_t=True, share_c=True, rate=0.3), "runs of tokens", False),
    (T(1, 2, rate=0.3), "runs of tokens", False),
    (tad.members.spatial_dropout(0.3), "Spatial Dropout", True),
    (tad.members.drop_path(0.3), "DropPath", True),
    (C(8, share_c=True, rate=0.3), "DropPath", True),
    (C((8, 7), rate=0.3), "DropBlock", True),
    (C(2, 1, 2, rate=0.3), "several blocks", True),
    (C("1/2", rate=0.3), "DropBlock", True),
    (tad.members.drop_block(3, 0.3), "DropBlock", False),
]


@pytest.mark.parametrize(("pattern", "classic", "whole"), MEMBERS)
@pytest.mark.parametrize("strength", [1.0, 0.0])
def test_members_know_their_name(pattern: tad.patterns.Pattern, classic: str, whole: bool, strength: float) -> None:
    one, sizes = replace(pattern, rate=pattern.rate * strength), (8, 8) if pattern.ON_MAPS else (8,)
    assert one.classic(sizes) == classic  # whatever the rate
    assert one.is_drop_path(sizes) == (classic == "DropPath")
    assert one.is_drop_path() == (classic == "DropPath" and one.size == WHOLE)
    assert one.all_or_none(sizes) == whole
    if not isinstance(one, D):
        assert one.chance(sizes) == (one.rate if whole else 1.0)


def test_what_covers_a_map_drops_all_of_it() -> None:
    cases = [pattern for pattern, *_ in random_cases(100)] + [pattern for pattern, *_ in MEMBERS]
    covering = {kind: 0 for kind in KINDS}
    for pattern in cases:
        for side in (1, 2, 9):
            sizes = (side, side + 1) if pattern.ON_MAPS else (side,)
            if pattern.covers(sizes):
                covering[type(pattern)] += 1
                assert is_silent(replace(pattern, rate=1.0), sizes), (pattern, sizes)
            elif not pattern.ON_MAPS:
                assert is_silent(replace(pattern, rate=1.0), sizes) == (pattern.stride == 0), (pattern, sizes)
    assert min(covering.values()) > 3


@pytest.mark.parametrize(
    "pattern", [C(4, rate=0.4), D(3, 0.1), C(2, 1, 2, share_c=True, rate=0.6), T(8, 0, True, True)]
)
def test_how_often_it_is_applied_is_what_is_drawn(pattern: tad.patterns.Pattern) -> None:
    draws, sizes = 4000, (8, 8) if pattern.ON_MAPS else (8,)
    shape = (draws, *sizes, 1)
    mask = np.broadcast_to(keras.ops.convert_to_numpy(tad.keep_mask(pattern, shape, 5)), shape)
    acts = float((mask.reshape(draws, -1) == 0).any(1).mean())
    chance = pattern.chance(sizes)
    assert 0.05 < chance < 0.95
    assert abs(acts - chance) < 5 * (chance * (1 - chance) / draws) ** 0.5  # five standard errors


def test_the_share_is_what_is_dropped_but_for_the_border() -> None:
    for pattern in (T(2, 2, rate=0.4), T(100, 3, rate=0.4), T(3, 5, True, True, 0.7)):
        assert np.allclose(drop_probability(pattern, (10,)), pattern.share((10,)))
    for pattern in (C(16, rate=0.4), tad.members.spatial_dropout(0.3)):
        assert pattern.share((16, 16)) == drop_probability(pattern, (16, 16))[0, 0] == pattern.rate
    assert C((2, 3), rate=0.5).share((8, 6)) == 2 / 8 * 3 / 6 * 0.5
    assert C(2, 1, 2).share((8, 8)) == (4 / 8) ** 2
    for pattern in (C(4, rate=0.5), C(2, 3, 2)):  # the offsets reach beyond the map: less than that, and more alike
        near, far = ((drop_probability(pattern, (n, n)) / pattern.share((n, n)))[0, 0] for n in (32, 4096))
        assert near < far < 1.0
        assert far == pytest.approx(1.0, abs=0.01)
    assert D(3, 0.1).share((64, 64)) == pytest.approx(drop_probability(D(3, 0.1), (64, 64)).mean(), rel=0.1)


def test_lengths_along_the_axes() -> None:
    assert (C((2, 3)).sizes(2), C(2).sizes(3), D(4).sizes(1), T(5).sizes(1)) == ((2, 3), (2, 2, 2), (4,), (5,))
    assert [one.grain(2) for one in (C((4, 3)), C(4, 2, 2), C(4, 0, 2), C(2, 5, 2), D((3, 2)))] == [3, 2, 4, 2, 2]
    assert [one.grain(1) for one in (T(4, 2, True), T(4, 6, True), T(4, 0, True), T(4, 2))] == [2, 4, 4, 1]
    assert (C(4).summary(), C(4).summary(1), C((2, 3)).summary(1)) == (("4×4",), ("4",), ("2×3",))
    assert (D(4).summary(3)[0], D((2, 3)).summary(3)[0]) == ("DropBlock 4×4×4", "DropBlock 2×3")
    assert (T(50, 2, True).within((7,)), T(3).within((7,)), C(9).within((7, 7))) == (T(7, 2, True), T(3), C(9))
    assert D(2, 0.1).gamma((4, 8)) == pytest.approx(0.1 * (4 * 8) / (2 * 2) / (3 * 7))  # Eq. 1 of DropBlock


def test_grids_of_decisions() -> None:
    assert list(C.grid(1)) == ["size", "stride", "repeat", "share_c", "residual"]
    assert C.grid(2) == C.grid(3) == dict(C.GRID)
    first = {name: values[-1] for name, values in C.grid(2).items()}
    made = C.decided(first, (16, 32))
    assert (made.size, made.stride, made.repeat, made.rotate, made.residual) == (8, 8, 4, 75.0, True)
    assert C.decided({name: values[1] for name, values in C.grid(1).items()}, (4,)).size == 1  # a cell at least
    words = T.decided({"size": "all", "stride": 1, "share_t": True, "share_c": False, "rate": 0.2}, (12,))
    assert words == T(12, 1, True, False, 0.2)
    assert D.grid(2) == {}


@pytest.fixture
def fourth(monkeypatch: pytest.MonkeyPatch) -> RowPattern:
    """`RowPattern` in the two tables, and in what is read from them when the package is imported."""
    monkeypatch.setattr(kinds, "MASK_KINDS", (*MASK_KINDS, ROWS))
    monkeypatch.setitem(kinds._OF_VALUES, ROWS.values, ROWS)
    monkeypatch.setitem(SEARCHED, RowPattern.TYPE, RowPattern)
    monkeypatch.setitem(pattern_set._PATTERN_TYPES, RowPattern.TYPE, RowPattern)
    monkeypatch.setattr(fitting, "_ON_MAPS", (*fitting._ON_MAPS, RowPattern))
    return RowPattern(1, 0.5)


def test_a_fourth_kind_is_drawn_put_in_and_shown(fourth: RowPattern) -> None:
    for form, shape in (("channels_last", (6, 8, 5, 3)), ("channels_first", (6, 3, 8, 5))):
        layer = tad.PatternDropout(fourth, seed=1, data_format=form)
        x = np.ones(shape, "float32")
        y = keras.ops.convert_to_numpy(layer(x, training=True))
        rows = y if form == "channels_last" else np.moveaxis(y, 1, -1)
        assert (rows == rows[:, :, :1, :1]).all()  # whole rows, of all channels
        kept = (rows[:, :, 0, 0] > 0).mean()
        assert 0.2 < kept < 0.8
        assert y.mean() == pytest.approx(1.0)  # Eq. 1
    inputs = keras.Input((8, 8, 3))
    h = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3, padding="same")(inputs))
    plain = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(h)))
    model = tad.regularize(plain, {"norm": fourth})
    assert "RowPattern(size=1)" in str(tad.sites(model))
    assert tad.visualize.summary(fourth) == "rows\nrate 0.5"
    figure = tad.visualize.plot(fourth, (8, 8, 4))
    assert any("rows" in text.get_text() for text in figure.findobj() if hasattr(text, "get_text"))
    with pytest.raises(ValueError, match="Expected a ConvPattern or TransformerPattern with mutable=True"):
        tad.PatternDropout(fourth, mutable=True)
    with pytest.raises(ValueError, match=r"RowPattern needs a tensor \(N, T, C\)"):
        tad.keep_mask(fourth, (3, 4), 0)
    with pytest.raises(ValueError, match="drop everything"):
        tad.regularize(plain, {"norm": replace(fourth, rate=1.0)})


def test_a_fourth_kind_is_stored_and_searched(fourth: RowPattern) -> None:
    found = tad.PatternSet({"norm": fourth})
    assert tad.PatternSet.from_json(found.to_json()) == found
    site = Site("norm", RowPattern, (8, 8, 3), "block", "stage")
    space = SearchSpace((site, Site("ffn", T, (6, 4), "ffn", "ffn")))
    assert space.grids["RowPattern"] == RowPattern.GRID
    tokens = space.encode(found)
    assert tokens is not None
    assert space.decode(tokens)["norm"] == fourth
    assert (resembles(fourth, site), dropped_share(site, fourth)) == ("rows", 0.5)
    assert _pattern(json.dumps({"type": "RowPattern"} | fourth.to_dict()), (8, 8)) == ["other", "rows, rate 0.5"]
