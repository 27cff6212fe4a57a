"""Patterns and PatternSets as JSON and as files."""

import dataclasses
import json
import math
import os
import re
import resource

import pytest

import tf_autodropout as tad
from tests.test_patterns import CONV, SET, TRANSFORMER
from tf_autodropout.patterns import DocumentError


@pytest.mark.parametrize(
    "thing", [CONV, TRANSFORMER, SET, tad.ConvPattern(), tad.ConvPattern(size=3), tad.PatternSet({})]
)
def test_json_round_trip(thing, tmp_path):
    again = type(thing).from_json(thing.to_json())
    assert again == thing
    assert again.to_json() == thing.to_json()
    thing.save(tmp_path / "thing.json")
    assert type(thing).load(str(tmp_path / "thing.json")) == thing


def test_json_keeps_order_provenance_and_every_bit_of_a_float():
    again = tad.PatternSet.from_json(SET.to_json())
    assert list(again) == list(SET)
    assert again.provenance == SET.provenance
    pattern = tad.ConvPattern(size=1, rotate=1 / 3, rate=math.nextafter(1, 0))
    assert tad.ConvPattern.from_json(pattern.to_json()) == pattern


def test_json_is_plain_and_versioned():
    fields = json.loads(CONV.to_json())
    assert fields.pop("format") == "tf_autodropout"
    assert fields.pop("version") == 1
    assert fields.pop("type") == "ConvPattern"
    assert fields == dataclasses.asdict(CONV) | {"size": [2, 3]}


def edited(thing, **changes):
    """The JSON of `thing` with fields replaced, or removed where the new value is `...`."""
    fields = json.loads(thing.to_json()) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...})


def edited_site(**changes):
    fields = json.loads(SET.to_json())
    site = fields["patterns"]["ffn"] | changes
    fields["patterns"]["ffn"] = {name: value for name, value in site.items() if value is not ...}
    return json.dumps(fields)


@pytest.mark.parametrize("text", ["", "{", "nonsense", "{'size': 1}", '{"a": 1} trailing', None])
def test_not_json(text):
    with pytest.raises(DocumentError, match="^document: not valid JSON"):
        tad.ConvPattern.from_json(text)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"', "true"])
def test_not_an_object(text):
    with pytest.raises(DocumentError, match="^document: expected a JSON object. Received: "):
        tad.ConvPattern.from_json(text)


@pytest.mark.parametrize("thing", [CONV, TRANSFORMER, SET])
def test_missing_field(thing):
    for name in json.loads(thing.to_json()):
        with pytest.raises(DocumentError, match=f"^document: missing field '{name}'"):
            type(thing).from_json(edited(thing, **{name: ...}))


@pytest.mark.parametrize("thing", [CONV, TRANSFORMER, SET])
def test_unknown_field(thing):
    with pytest.raises(DocumentError, match="^document: unknown field 'colour'"):
        type(thing).from_json(edited(thing, colour=1))


@pytest.mark.parametrize("version", [0, 2, "1", None, True, [1]])
def test_unknown_version(version):
    with pytest.raises(DocumentError, match=r"^document: field 'version': expected 1\. Received: "):
        tad.ConvPattern.from_json(edited(CONV, version=version))


@pytest.mark.parametrize("value", ["autodropout", "", None, 1])
def test_wrong_format(value):
    with pytest.raises(DocumentError, match=r"^document: field 'format': expected 'tf_autodropout'\. Received: "):
        tad.ConvPattern.from_json(edited(CONV, format=value))


def test_wrong_type():
    with pytest.raises(DocumentError, match="^document: field 'type': expected 'TransformerPattern'"):
        tad.TransformerPattern.from_json(CONV.to_json())
    with pytest.raises(DocumentError, match="^document: field 'type': expected 'PatternSet'"):
        tad.PatternSet.from_json(CONV.to_json())
    with pytest.raises(DocumentError, match="^document: field 'type': expected 'ConvPattern'"):
        tad.ConvPattern.from_json(SET.to_json())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", "2"),
        ("size", 2.0),
        ("size", None),
        ("size", []),
        ("size", [1, 2, 3, 4]),
        ("size", {"height": 1}),
        ("stride", "1"),
        ("stride", []),
        ("repeat", 0),
        ("repeat", True),
        ("rotate", None),
        ("rotate", "thirty"),
        ("rotate", math.nan),
        ("shear_x", math.inf),
        pytest.param("shear_y", 10**400, id="shear_y-beyond-float"),
        ("share_c", 1),
        ("share_c", "true"),
        ("residual", None),
        ("rate", math.nan),
        ("rate", 1.5),
        ("rate", [0.5]),
    ],
)
def test_wrong_value(name, value):
    with pytest.raises(DocumentError, match=f"^document: Invalid value for '{name}'"):
        tad.ConvPattern.from_json(edited(CONV, **{name: value}))


def test_nan_is_neither_read_nor_written():
    assert "NaN" in edited(CONV, rate=math.nan)  # Python's reader would take it
    with pytest.raises(DocumentError, match="rate"):
        tad.ConvPattern.from_json(edited(CONV, rate=math.nan))
    with pytest.raises(DocumentError, match="provenance"):
        tad.PatternSet.from_json(edited(SET, provenance={"reward": math.nan}))


@pytest.mark.parametrize("name", ["patterns", "provenance"])
@pytest.mark.parametrize("value", [None, [], 3, "x"])
def test_set_fields_must_be_objects(name, value):
    with pytest.raises(DocumentError, match=f"^document: field '{name}': expected a JSON object"):
        tad.PatternSet.from_json(edited(SET, **{name: value}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (edited_site(type=...), "missing field 'type'"),
        (edited_site(type="Pattern"), "field 'type': expected one of ConvPattern, TransformerPattern"),
        (edited_site(type=["ConvPattern"]), "field 'type': expected one of"),
        (edited_site(type="ConvPattern"), "missing field"),
        (edited_site(size=...), "missing field 'size'"),
        (edited_site(colour=1), "unknown field 'colour'"),
        (edited_site(rate=3), "Invalid value for 'rate'"),
        (edited_site(share_t=1), "Invalid value for 'share_t'"),
    ],
)
def test_faults_inside_a_set_name_the_site(text, message):
    with pytest.raises(DocumentError, match=f"^document: site 'ffn': {message}"):
        tad.PatternSet.from_json(text)


@pytest.mark.parametrize("value", [None, 1, [], "x"])
def test_site_entry_must_be_an_object(value):
    fields = json.loads(SET.to_json())
    fields["patterns"]["ffn"] = value
    with pytest.raises(DocumentError, match="^document: site 'ffn': expected a JSON object"):
        tad.PatternSet.from_json(json.dumps(fields))


def test_an_empty_site_name_in_json():
    fields = json.loads(SET.to_json())
    fields["patterns"][""] = fields["patterns"]["ffn"]
    with pytest.raises(DocumentError, match="^document: Expected site names to be non-empty strings"):
        tad.PatternSet.from_json(json.dumps(fields))


# Files


def test_load_names_the_file(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text("{")
    with pytest.raises(DocumentError, match=re.escape(f"{path}: not valid JSON")):
        tad.PatternSet.load(path)


def test_load_of_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DocumentError, match=re.escape(f"{path}: not valid JSON")):
        tad.PatternSet.load(path)


def test_load_of_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        tad.PatternSet.load(tmp_path / "none.json")


def test_save_replaces_the_old_file(tmp_path):
    path = tmp_path / "set.json"
    tad.PatternSet({}).save(path)
    SET.save(path)
    assert tad.PatternSet.load(path) == SET
    assert os.listdir(tmp_path) == ["set.json"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "set.json"
    SET.save(path)
    old = path.read_bytes()
    large = tad.PatternSet({f"site{index}": CONV for index in range(100)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))  # a longer file fails half-way
    try:
        with pytest.raises(OSError, match="File too large"):
            large.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["set.json"]


def test_a_failing_rename_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "set.json"
    SET.save(path)
    old = path.read_bytes()

    def fail(*_):
        raise OSError("no rename today")

    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="no rename today"):
        CONV.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["set.json"]


def test_save_where_a_folder_is(tmp_path):
    (tmp_path / "set.json").mkdir()
    with pytest.raises(OSError, match="set.json"):
        SET.save(tmp_path / "set.json")
    assert os.listdir(tmp_path) == ["set.json"]
