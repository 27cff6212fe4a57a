"""Random patterns and shapes, most of them nonsense: what is raised names the argument, at once."""

import math
import random
import resource
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import tf_autodropout as tad
from tf_autodropout.patterns import Site

KINDS = (tad.ConvPattern, tad.TransformerPattern, tad.DropBlockPattern, tad.Schedule)
OF_MASKS = {"tensor", "pattern", "shape", "seed", "data_format", "token_axis"}
SECONDS, MEGABYTES = 1.0, 200

_GOOD = (0, 1, 2, 3, 4, 7, True, False, 0.0, 0.1, 0.5, 1.0, 45.0, "1/4", "1/2", "0.3", (1, 2), (2, 3), (1, 2, 3))
_ODD = (
    *(-1, 2**30, 2**31, 2**32, 2**63, 10**30, 10**400, 10**5000, -(10**400), 1.5, -0.5, 1e308, 1e-320, -0.0),
    *(math.nan, math.inf, -math.inf, "", "1/0", "0/0", "1e999", "x" * 300, "1/" + "9" * 500, "-1/2", "nan", "all"),
    *(None, [], (), [1], [[1]], {}, {1}, {"size": 1}, b"1", bytearray(b"2"), object, object(), len, 1j, range(3)),
    *(np.int64(3), np.int8(-1), np.float32(0.5), np.float64(math.nan), np.bool_(True), np.array(2), np.array([1, 2])),
    *(np.array([]), np.zeros((2, 2)), np.str_("1/3"), (1,), (1, 2, 3, 4), (0, 0), (1, None), ("1/2", 2), (math.nan, 1)),
    *("\x1b]52;c;aGk=\x07", "\ud800", "½", "1/2/3", "0x10", " 1/2 ", "1_0/2"),
)
_SHAPES = ((2, 4, 4, 3), (1, 5, 6), (2, 3), (1, 2, 3, 4, 2), (2, 8, 1, 1), (0, 4, 4, 1), (1, 1, 1, 1), (3, 6, 2))


def value(rng: random.Random, odd: float) -> Any:
    return rng.choice(_ODD if rng.random() < odd else _GOOD)


def arguments(rng: random.Random, kind: type) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    chosen = names if kind is tad.Schedule else rng.sample(names, rng.randint(1, min(4, len(names))))
    odd = rng.choice((0.0, 0.1, 0.5))
    return {name: value(rng, odd) for name in chosen}


def a_pattern(rng: random.Random) -> tuple[Callable[[], Any], set[str]]:
    kind = rng.choice(KINDS)
    given = arguments(rng, kind)
    factor = value(rng, 0.5)

    def make() -> Any:
        made = kind(**given)
        again = kind.from_json(made.to_json())
        assert again == made
        assert hash(again) == hash(made)
        str(made), repr(made)
        return made.scale(factor) if hasattr(made, "scale") else made

    return make, {field.name for field in fields(kind)} | {"factor"}  # type: ignore[arg-type]


def a_pattern_set(rng: random.Random) -> tuple[Callable[[], Any], set[str]]:
    sites = ["norm", "ffn", "", "\x1b", 3, None, ("a",), "a" * 500, "\ud800"]
    some = [tad.ConvPattern(size=2), tad.TransformerPattern(size=1, rate=0.5)]
    given = {
        rng.choice(sites[: rng.choice((2, 9))]): rng.choice(some) if rng.random() < 0.9 else value(rng, 1)
        for _ in range(2)
    }
    notes = value(rng, 0.7) if rng.random() < 0.5 else {"scaled_by": value(rng, 0.7), "x": value(rng, 0.3)}
    factor = value(rng, 0.3)
    patterns = value(rng, 1) if rng.random() < 0.1 else given

    def make() -> Any:
        made = tad.PatternSet(patterns, notes)
        assert tad.PatternSet.from_json(made.to_json()) == made
        repr(made), hash(made)
        return made.scale(factor)

    return make, {"patterns", "provenance", "site", "factor", "scaled_by"}


def a_mask(rng: random.Random) -> tuple[Callable[[], Any], set[str]]:
    given = [tad.ConvPattern(size=2, stride=1, repeat=2), tad.ConvPattern(size="1/2"), tad.members.dropout(0.5)]
    given += [
        tad.DropBlockPattern(size=2, rate=0.1),
        tad.ConvPattern(size=(1, 2)),
        tad.ConvPattern(size=1, rotate=45.0),
    ]
    pattern = rng.choice(given) if rng.random() < 0.9 else value(rng, 1)
    shape: Any = rng.choice(_SHAPES)
    if rng.random() < 0.5:
        odd = [size if rng.random() < 0.7 else value(rng, 0.7) for size in shape]
        if any(
            isinstance(size, int) and 100 < size < 2**40 for size in odd
        ):  # of a right kind, and beyond this machine
            odd = [1, 2**40]
        shape = odd if rng.random() < 0.8 else value(rng, 1)
    seed = rng.choice((0, 7, (1, 2))) if rng.random() < 0.5 else value(rng, 0.9)
    others: dict[str, Any] = {}
    if rng.random() < 0.3:
        others["data_format"] = rng.choice(("channels_last", "channels_first", value(rng, 1)))
    if rng.random() < 0.3:
        others["token_axis"] = value(rng, 0.5)
    fields_too = {field.name for kind in KINDS for field in fields(kind)}
    return lambda: tad.keep_mask(pattern, shape, seed, **others), OF_MASKS | fields_too


def a_site(rng: random.Random) -> tuple[Callable[[], Any], set[str]]:
    shape = tuple(value(rng, 0.3) for _ in range(rng.randint(0, 4))) if rng.random() < 0.8 else value(rng, 1)
    kind = rng.choice((tad.ConvPattern, tad.TransformerPattern, tad.ConvPattern, value(rng, 1)))
    name = rng.choice(("norm", "norm", value(rng, 1)))
    names = {"name", "kind", "shape", "block", "stage", "source", "target", "site", "factor"}

    def make() -> Any:
        site = Site(name, kind, shape, "block", "stage")
        pattern = kind(size=1)
        return tad.transfer(tad.PatternSet({name: pattern}), [site], [site])

    return make, names | {field.name for field in fields(tad.ConvPattern)}


def check(makers: list[Callable[[random.Random], tuple[Callable[[], Any], set[str]]]], count: int, seed: int) -> int:
    """Returns how many calls went through; all others raised as they should."""
    rng, passed = random.Random(seed), 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for turn in range(count):
        call, names = makers[turn % len(makers)](rng)
        start = time.process_time()
        try:
            call()
            passed += 1
        except Exception as error:
            said = str(error)
            clear = isinstance(error, TypeError | ValueError) and any(name in said for name in names)
            if not clear or len(said) > 2000:
                raise AssertionError(f"turn {turn}: {type(error).__name__}: {said[:500]}") from error
        assert time.process_time() - start < SECONDS, f"turn {turn}"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES, f"{grown:.0f} MB"
    return passed


MAKERS: dict[str, list[Callable[[random.Random], tuple[Callable[[], Any], set[str]]]]] = {
    "patterns": [a_pattern, a_pattern, a_pattern_set],
    "masks": [a_mask],
    "sites": [a_site],
}


@pytest.fixture(autouse=True)
def _warm() -> None:
    tad.keep_mask(tad.ConvPattern(size=1), (1, 2, 2, 1), 0)  # TensorFlow is there, and counts in none of the calls


@pytest.mark.parametrize("what", MAKERS)
def test_some(what):
    count = 100 if what == "masks" else 1000
    assert 0 < check(MAKERS[what], count, seed=1) < count


@pytest.mark.slow
@pytest.mark.parametrize("what", MAKERS)
def test_seventy_thousand(what):
    check(MAKERS[what], {"patterns": 45_000, "masks": 2_000, "sites": 23_000}[what], seed=2)
