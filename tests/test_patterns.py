"""Patterns, PatternSets and sites: checks, normal forms, equality, scaling."""

import dataclasses
import math
import pickle

import numpy as np
import pytest

import tf_autodropout as tad
from tf_autodropout.patterns import Site

CONV = tad.ConvPattern(
    size=(2, 3), stride=4, repeat=2, rotate=30, shear_x=0.25, shear_y=-0.5, share_c=True, residual=True, rate=0.75
)
TRANSFORMER = tad.TransformerPattern(size=3, stride=2, share_t=True, share_c=True, rate=0.25)
SET = tad.PatternSet({"stem": CONV, "ffn": TRANSFORMER}, {"task": "digits", "reward": 0.5, "seeds": [1, 2]})


def test_defaults_are_the_identity_of_each_kind():
    assert dataclasses.asdict(tad.ConvPattern()) == {
        "size": 0,
        "stride": 0,
        "repeat": 1,
        "rotate": 0.0,
        "shear_x": 0.0,
        "shear_y": 0.0,
        "share_c": False,
        "residual": False,
        "rate": 1.0,
    }
    assert tad.ConvPattern().is_identity
    assert tad.TransformerPattern().is_identity
    assert tad.ConvPattern(size=2, rate=0).is_identity
    assert tad.TransformerPattern(size=2, rate=0).is_identity
    assert not tad.ConvPattern(size=1).is_identity
    assert not tad.TransformerPattern(size=1, rate=0.01).is_identity


def test_height_and_width():
    assert CONV.sizes(2) == (2, 3)
    assert tad.ConvPattern(size=4).sizes(2) == (4, 4)


def test_error_message_in_full():
    expected = "Invalid value for 'rate'. Expected 0 <= rate <= 1. Received: rate=3"
    for kind in (tad.ConvPattern, tad.TransformerPattern):
        with pytest.raises(ValueError, match="rate") as error:
            kind(size=1, rate=3)
        assert str(error.value) == expected


CONV_FAULTS = [
    ("size", -1),
    ("size", 1.0),
    ("size", 2.5),
    ("size", "3"),
    ("size", None),
    ("size", True),
    ("size", (1, 2, 3, 4)),
    ("size", ()),
    ("size", (-1, 2)),
    ("size", (2, 1.5)),
    ("size", (True, 2)),
    ("size", (0, 3)),
    ("size", (3, 0)),
    ("stride", -1),
    ("stride", 1.0),
    ("stride", True),
    ("stride", None),
    ("repeat", 0),
    ("repeat", -2),
    ("repeat", 2.0),
    ("repeat", True),
    ("rotate", math.nan),
    ("rotate", math.inf),
    ("rotate", "30"),
    ("rotate", None),
    ("rotate", True),
    ("rotate", 1j),
    ("shear_x", math.nan),
    ("shear_x", -math.inf),
    ("shear_x", "a"),
    ("shear_y", math.nan),
    ("shear_y", [1]),
    ("share_c", 1),
    ("share_c", 0.0),
    ("share_c", None),
    ("share_c", "True"),
    ("residual", 1),
    ("residual", None),
    ("rate", -0.001),
    ("rate", 1.001),
    ("rate", math.nan),
    ("rate", math.inf),
    ("rate", "0.5"),
    ("rate", None),
    ("rate", True),
]
TRANSFORMER_FAULTS = [
    ("size", -1),
    ("size", 1.0),
    ("size", (2, 2)),
    ("size", True),
    ("size", None),
    ("stride", -1),
    ("stride", 0.0),
    ("stride", True),
    ("share_t", 1),
    ("share_t", None),
    ("share_c", 0),
    ("share_c", "no"),
    ("rate", -1),
    ("rate", 2),
    ("rate", math.nan),
    ("rate", True),
    ("rate", None),
]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(tad.ConvPattern, *fault) for fault in CONV_FAULTS]
    + [(tad.TransformerPattern, *fault) for fault in TRANSFORMER_FAULTS],
)
def test_faults_are_named_at_construction(kind, name, value):
    with pytest.raises(ValueError, match=rf"^Invalid value for '{name}'\. Expected .+\. Received: {name}="):
        kind(**{name: value})


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "rate"])
def test_an_integer_beyond_any_float_is_a_value_error_like_others(name):
    with pytest.raises(ValueError, match=f"^Invalid value for '{name}'"):
        tad.ConvPattern(**{name: 10**400})


@pytest.mark.parametrize(("shear_x", "shear_y"), [(1, 1), (2, 0.5), (-0.25, -4), (0.1, 10)])
def test_a_shear_that_flattens_the_plane_is_refused(shear_x, shear_y):
    with pytest.raises(ValueError, match=r"^Invalid value for 'shear_y'\. Expected shear_x \* shear_y != 1"):
        tad.ConvPattern(size=1, shear_x=shear_x, shear_y=shear_y)


@pytest.mark.parametrize(("shear_x", "shear_y"), [(1, -1), (1, 0), (0, 1), (1, 0.9), (3, 3)])
def test_other_shears_are_accepted(shear_x, shear_y):
    pattern = tad.ConvPattern(size=1, shear_x=shear_x, shear_y=shear_y)
    assert (pattern.shear_x, pattern.shear_y) == (shear_x, shear_y)


def test_equal_sides_are_one_number():
    for size in ((3, 3), [3, 3], (np.int64(3), 3), np.int32(3)):
        pattern = tad.ConvPattern(size=size)
        assert pattern == tad.ConvPattern(size=3)
        assert hash(pattern) == hash(tad.ConvPattern(size=3))
        assert type(pattern.size) is int
    assert tad.ConvPattern(size=(0, 0)).size == 0
    assert tad.ConvPattern(size=[2, np.int16(3)]).size == (2, 3)
    assert type(tad.ConvPattern(size=[2, np.int16(3)]).size[1]) is int


def test_numpy_values_become_python_values():
    conv = tad.ConvPattern(
        size=np.uint8(2),
        stride=np.int64(1),
        repeat=np.int32(2),
        rotate=np.float32(30),
        shear_x=np.float64(0.5),
        share_c=np.bool_(True),
        residual=np.False_,
        rate=np.float64(0.5),
    )
    assert conv == tad.ConvPattern(size=2, stride=1, repeat=2, rotate=30, shear_x=0.5, share_c=True, rate=0.5)
    assert [type(value) for value in dataclasses.astuple(conv)] == [
        int,
        int,
        int,
        float,
        float,
        float,
        bool,
        bool,
        float,
    ]
    pattern = tad.TransformerPattern(size=np.int64(2), stride=np.int8(1), share_t=np.True_, rate=np.float64(1))
    assert [type(value) for value in dataclasses.astuple(pattern)] == [int, int, bool, bool, float]


def test_integers_are_accepted_as_numbers():
    pattern = tad.ConvPattern(size=1, rotate=45, rate=1)
    assert type(pattern.rotate) is float
    assert type(pattern.rate) is float
    assert pattern == tad.ConvPattern(size=1, rotate=45.0, rate=1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 2},
        {"size": (3, 2)},
        {"stride": 3},
        {"repeat": 1},
        {"rotate": -30},
        {"shear_x": 0.2},
        {"shear_y": 0.5},
        {"share_c": False},
        {"residual": False},
        {"rate": 0.5},
    ],
)
def test_every_field_takes_part_in_equality(change):
    other = dataclasses.replace(CONV, **change)
    assert other != CONV
    assert len({other, CONV, dataclasses.replace(CONV)}) == 2


def test_the_two_kinds_are_never_equal():
    assert tad.ConvPattern(size=1) != tad.TransformerPattern(size=1)
    assert tad.TransformerPattern(size=1) != tad.TransformerPattern(size=1, share_t=True)


@pytest.mark.parametrize("pattern", [CONV, TRANSFORMER])
def test_patterns_are_frozen(pattern):
    for field in dataclasses.fields(pattern):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(pattern, field.name, getattr(pattern, field.name))
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(pattern, field.name)


@pytest.mark.parametrize("thing", [CONV, TRANSFORMER, SET])
def test_pickle_and_hash(thing):
    copy = pickle.loads(pickle.dumps(thing))
    assert copy == thing
    assert hash(copy) == hash(thing)
    assert type(copy) is type(thing)


def test_pickle_keeps_provenance():
    assert pickle.loads(pickle.dumps(SET)).provenance == SET.provenance


# Sets


def test_a_set_is_a_mapping():
    assert list(SET) == ["stem", "ffn"]
    assert len(SET) == 2
    assert SET["ffn"] == TRANSFORMER
    assert SET.get("nowhere") is None
    assert "stem" in SET
    with pytest.raises(KeyError):
        SET["nowhere"]
    assert len(tad.PatternSet({})) == 0


def test_a_set_is_immutable_and_apart_from_its_arguments():
    patterns, notes = {"stem": CONV}, {"seeds": [1]}
    one = tad.PatternSet(patterns, notes)
    patterns["ffn"] = TRANSFORMER
    notes["seeds"].append(2)
    assert list(one) == ["stem"]
    assert one.provenance == {"seeds": [1]}
    one.provenance["seeds"].append(3)
    assert one.provenance == {"seeds": [1]}
    for name in ("provenance", "_patterns", "anything"):
        with pytest.raises(AttributeError):
            setattr(one, name, {})
    with pytest.raises(TypeError):
        one["stem"] = TRANSFORMER
    with pytest.raises(TypeError):
        del one["stem"]


def test_provenance_and_order_take_no_part_in_equality():
    plain = tad.PatternSet({"ffn": TRANSFORMER, "stem": CONV})
    assert plain == SET
    assert hash(plain) == hash(SET)
    assert plain.provenance == {}
    assert tad.PatternSet({"stem": CONV}) != SET
    assert tad.PatternSet({"stem": TRANSFORMER, "ffn": CONV}) != SET
    assert {"stem": CONV, "ffn": TRANSFORMER} != SET


@pytest.mark.parametrize("name", ["", 3, None, ("a",)])
def test_set_site_names_are_checked(name):
    with pytest.raises(ValueError, match=r"Expected site names to be non-empty strings\. Received: "):
        tad.PatternSet({name: CONV})


@pytest.mark.parametrize("value", [None, 1, {"size": 2}, tad.ConvPattern])
def test_set_values_are_checked(value):
    with pytest.raises(TypeError, match=r"Expected a pattern at site 'stem'\. Received: "):
        tad.PatternSet({"stem": value})


@pytest.mark.parametrize("value", [None, [CONV], "stem", CONV])
def test_set_wants_a_mapping(value):
    with pytest.raises(TypeError, match=r"Expected 'patterns' to be a mapping .+\. Received: "):
        tad.PatternSet(value)


@pytest.mark.parametrize("notes", [{"reward": math.nan}, {"reward": math.inf}, {"object": object()}, [1, 2]])
def test_provenance_must_be_json(notes):
    with pytest.raises(ValueError, match=r"Expected 'provenance' to be a JSON object\. Received: "):
        tad.PatternSet({}, notes)


# Scaling


def test_scale_conv():
    assert CONV.scale(2) == dataclasses.replace(CONV, size=(4, 6), stride=8)
    assert CONV.scale(1) == CONV
    assert CONV.scale(0.5) == dataclasses.replace(CONV, size=(1, 2), stride=2)  # 1.5 goes up
    assert CONV.scale(0.01) == dataclasses.replace(CONV, size=1, stride=1)  # what was there stays
    assert tad.ConvPattern().scale(3) == tad.ConvPattern()
    assert tad.ConvPattern(size=2, stride=0).scale(4).stride == 0


def test_scale_transformer():
    assert TRANSFORMER.scale(2) == dataclasses.replace(TRANSFORMER, size=6, stride=4)
    assert TRANSFORMER.scale(1 / 3) == dataclasses.replace(TRANSFORMER, size=1, stride=1)
    assert tad.TransformerPattern(size=1, rate=0.1).scale(2) == tad.TransformerPattern(size=2, rate=0.1)


def test_scale_set():
    scaled = SET.scale(2)
    assert scaled == tad.PatternSet({"stem": CONV.scale(2), "ffn": TRANSFORMER.scale(2)})
    assert scaled.provenance["task"] == "digits"


@pytest.mark.parametrize("factor", [0, -1, math.nan, math.inf, "2", None, True])
@pytest.mark.parametrize("thing", [CONV, TRANSFORMER, SET])
def test_scale_factor_is_checked(thing, factor):
    with pytest.raises(ValueError, match=r"^Invalid value for 'factor'\. Expected .+\. Received: factor="):
        thing.scale(factor)


# Sites


def test_site():
    site = Site("bn", tad.ConvPattern, (8, 8, 16), block="block1", stage="stage1")
    assert site == Site("bn", tad.ConvPattern, (8, 8, 16), "block1", "stage1")
    assert hash(site) == hash(Site("bn", tad.ConvPattern, (8, 8, 16), "block1", "stage1"))
    assert site != Site("bn", tad.ConvPattern, (8, 8, 17), "block1", "stage1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        site.name = "other"


@pytest.mark.parametrize("kind", [dict, None, "ConvPattern", tad.PatternSet])
def test_site_kind_is_checked(kind):
    with pytest.raises(TypeError, match=r"Expected 'kind' to be ConvPattern or TransformerPattern\. Received: "):
        Site("bn", kind, (8, 8, 16), "b", "s")


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (tad.ConvPattern, (8,)),
        (tad.ConvPattern, (1, 8, 8, 8, 16)),
        (tad.ConvPattern, (0, 8, 16)),
        (tad.ConvPattern, ()),
        (tad.TransformerPattern, (8,)),
        (tad.TransformerPattern, (8, 8, 16)),
        (tad.TransformerPattern, (8, -1)),
    ],
)
def test_site_shape_is_checked(kind, shape):
    with pytest.raises(ValueError, match=r"positive sizes at site 'bn'\. Received: shape="):
        Site("bn", kind, shape, "b", "s")
