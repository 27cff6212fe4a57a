"""JSON from strangers, by Hypothesis: what is read equals what is written again, or the error names the document."""

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tf_autodropout as tad
from tf_autodropout.patterns.document import Document, DocumentError

SECONDS, CHARACTERS = 1.0, 2000
SOME: list[Document] = [
    tad.ConvPattern(size=(2, 3), rotate=30.0),
    tad.ConvPattern(size="1/4", stride="1/8", repeat=2),
    tad.TransformerPattern(size=2, stride=1, rate=0.3, share_t=True),
    tad.DropBlockPattern(size=7, rate=0.1),
    tad.PatternSet({"norm": tad.ConvPattern(size=2), "ffn": tad.members.dropout(0.1)}, {"task": "mine", "seeds": [1]}),
    tad.PatternSet({}),
]

WHOLE = st.integers() | st.sampled_from((2**31, 2**63, 10**300, -(10**300)))
LEAVES = (
    st.none() | st.booleans() | WHOLE | st.floats() | st.text(max_size=20) | st.sampled_from(("1/2", "1/0", "\ud800"))
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def changed(draw: st.DrawFn) -> tuple[type[Document], str]:
    """A document of ours in which one value, somewhere inside, is another, is missing, or is one too many."""
    made = draw(st.sampled_from(SOME))
    document = json.loads(made.to_json())
    here: Any = document
    while isinstance(here, dict) and here:
        key = draw(st.sampled_from(sorted(here)))
        if not isinstance(here[key], dict) or draw(st.booleans()):
            match draw(st.sampled_from(("another", "another", "missing", "one too many"))):
                case "another":
                    here[key] = draw(VALUES)
                case "missing":
                    del here[key]
                case _:
                    here[draw(st.text(max_size=8))] = draw(VALUES)
            break
        here = here[key]
    return type(made), json.dumps(document)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[type[Document], str]:
    """The text of a document of ours, of which a piece is gone and another one stands in its place."""
    made = draw(st.sampled_from(SOME))
    text = made.to_json()
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 40)) | st.just(len(text)))
    piece = draw(st.text(max_size=10) | st.sampled_from(("[" * 3000, '{"a":' * 3000, "9" * 6000, "NaN", "1e999")))
    return type(made), text[:start] + piece + text[end:]


@st.composite
def anything(draw: st.DrawFn) -> tuple[type[Document], str]:
    """JSON, or a text, that was never ours."""
    return type(draw(st.sampled_from(SOME))), draw(VALUES.map(json.dumps) | st.text())


def read(kind: type[Document], text: str) -> float:
    """Reads what a stranger sent; returns the processor time in seconds."""
    start, said = time.process_time(), "stranger: "
    try:
        made = kind.from_json(text, where="stranger")
        assert kind.from_json(made.to_json()) == made
    except DocumentError as error:
        said = str(error)
    seconds = time.process_time() - start
    assert said.startswith("stranger: ")
    assert len(said) <= CHARACTERS
    return seconds


def check(document: tuple[type[Document], str]) -> None:
    """One document; a garbage collection may fall into its time once, but not twice."""
    assert read(*document) < SECONDS or read(*document) < SECONDS


def examples(count: int) -> settings:
    """As many documents each time, the same ones on every machine."""
    return settings(
        max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck]
    )


SENT = {"changed": changed(), "damaged": damaged(), "anything": anything()}


@pytest.mark.parametrize("sent", SENT)
def test_some(sent):
    examples(300)(given(SENT[sent])(check))()


@pytest.mark.slow
@pytest.mark.parametrize("sent", SENT)
def test_thirty_thousand(sent):
    examples(10_000)(given(SENT[sent])(check))()
