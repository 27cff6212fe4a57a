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


# Names on the terminal and in pictures

CLIPBOARD = "\x1b]52;c;aGk=\x07"


def hostile_model():
    import keras

    layers = keras.layers
    image = keras.Input((4, 4, 3))
    x = layers.BatchNormalization(name=f"norm{CLIPBOARD}")(layers.Conv2D(2, 3, name="$a_$b$")(image))
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))


def test_names_of_layers_do_not_reach_the_terminal_raw():
    table = tad.sites(hostile_model())
    assert "\x1b" not in str(table)
    assert r"norm\x1b]52" in str(table)


@pytest.mark.parametrize("name", ["$a_$", "$", r"\$x$", "a$\\frac{$b"])
def test_names_are_no_formulas_in_pictures(name):
    figure = tad.visualize.plot(tad.PatternSet({name: tad.ConvPattern(size=2)}), {name: (4, 4, 1)})
    figure.canvas.draw()  # a formula that is none raises here
    shown = [text for axes in figure.axes for text in axes.texts if text.get_weight() == "bold"]
    assert len(shown) == 1
    assert shown[0]._preprocess_math(shown[0].get_text())[1] is False


def test_the_message_of_a_command_is_printable(capsys):
    from tf_autodropout.search.terminal import cli

    with pytest.raises(SystemExit):
        cli._fail(f"no such thing: {CLIPBOARD}", 2)
    assert "\x1b" not in capsys.readouterr().err
