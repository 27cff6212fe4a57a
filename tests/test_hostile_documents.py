"""What strangers send: sizes beyond reason, nesting, duplicates, escape sequences. An error at once, or a pattern."""

import json
import time

import pytest

import tf_autodropout as tad

HUGE = 10**5000
ENDLESS = [[]]
for _ in range(5000):
    ENDLESS = [ENDLESS]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: tad.ConvPattern(size=0, repeat=10**400), "repeat"),
        (lambda: tad.ConvPattern(size=1, repeat=HUGE), "repeat"),
        (lambda: tad.ConvPattern(size=HUGE), "size"),
        (lambda: tad.ConvPattern(size="1e-999999999"), "size"),
        (lambda: tad.ConvPattern(size="1/" + "9" * 10**6), "size"),
        (lambda: tad.ConvPattern(size=1, rate=HUGE), "rate"),
        (lambda: tad.ConvPattern(size=1, rotate=HUGE), "rotate"),
        (lambda: tad.ConvPattern(size=3, repeat=5).scale(1e308), "size"),
        (lambda: tad.ConvPattern(size=3).scale(HUGE), "factor"),
        (lambda: tad.TransformerPattern(size=1, stride=HUGE), "size"),
        (lambda: tad.members.drop_block(HUGE), "size"),
        (lambda: tad.Schedule(0, 1, 0, HUGE), "end"),
        (lambda: tad.PatternSet({"\x1b]52;c;aGk=\x07": tad.ConvPattern(size=1)}), "site names"),
        (lambda: tad.PatternSet({"a\nb": tad.ConvPattern(size=1)}), "site names"),
        (lambda: tad.PatternSet({}, {"x": ENDLESS}), "provenance"),
        (lambda: tad.PatternSet({}, {"x": HUGE}), "provenance"),
    ],
)
def test_an_argument_beyond_reason_is_named_at_once(make, name):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=name) as error:
        make()
    assert time.perf_counter() - start < 1
    assert len(str(error.value)) < 1000


def document(old, new):
    return tad.PatternSet({"a": tad.ConvPattern(size=2)}).to_json().replace(old, new)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[" * 100_000,
        document('"patterns"', '"patterns": {}, "patterns"'),
        document('"size": 2', '"size": 2, "size": 3'),
        document('"size": 2', '"size": ' + "1" * 5000),
        document('"rate": 1.0', '"rate": 1e999'),
        document('"a"', json.dumps("\x1b[2J")),
        document("ConvPattern", "X" * 10**6),
    ],
    ids=range(8),
)
def test_a_document_beyond_reason_is_a_document_error(text):
    start = time.perf_counter()
    with pytest.raises(tad.patterns.document.DocumentError, match="^stranger: ") as error:
        tad.PatternSet.from_json(text, where="stranger")
    assert time.perf_counter() - start < 1
    assert len(str(error.value)) < 1000
