"""Private names of Keras are in one file."""

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tf_autodropout

ROOT = Path(tf_autodropout.__file__).parent
INTERNALS = ROOT / "layers" / "keras_internals.py"
PARTS = ("surgery", "layers", "visualize", "models", "search", "search/children", "search/tasks", "search/searchers")
FILES = sorted({file for part in PARTS for file in ROOT.glob(f"{part}/*.py")} - {INTERNALS})

OTHERS = {"_getframe", "_clone", "_exit", "_seed", "_rng", "_replace", "_fields"}  # of Python and of TensorFlow


def is_private(name: str) -> bool:
    return name not in OTHERS and name.startswith("_") and not name.endswith("__")


def parsed(files: list[Path]) -> Iterator[ast.AST]:
    for file in files:
        yield from ast.walk(ast.parse(file.read_text()))


def private_names(node: ast.AST) -> Iterator[str]:
    """The private names in a node: as an attribute or as text."""
    if isinstance(node, ast.Attribute) and is_private(node.attr):
        yield node.attr
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        yield from filter(is_private, [node.value])


OF_KERAS = {name for node in parsed([INTERNALS]) for name in private_names(node)}
OURS = {
    name
    for node in parsed(FILES)
    for name in [
        node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else "",
        node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else "",
        node.attr if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) else "",
    ]
    if is_private(name)
} - OF_KERAS


def faults(source: str) -> list[str]:
    """What a file takes from inside Keras, but what a class asks of itself: its base is meant to be subclassed."""
    found = []
    for node in ast.walk(ast.parse(source)):
        module = node.module if isinstance(node, ast.ImportFrom) else None
        if module and module.split(".")[:2] in (["keras", "src"], ["keras_hub", "src"]):
            found.append(module)
        value = ast.unparse(node.value) if isinstance(node, ast.Attribute) else ""
        if value not in ("self", "cls", "super()"):
            found += [name for name in private_names(node) if name not in OURS and (value or name in OF_KERAS)]
    return found


@functools.cache
def source_of_keras() -> frozenset[str]:
    """All words of the installed Keras."""
    root = Path(importlib.util.find_spec("keras").origin).parent
    files = [file for file in root.rglob("*.py") if not file.name.endswith("_test.py")]
    return frozenset(word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8")))


# Of TensorFlow, and of PyTorch: what Keras' layers are made of there.
@pytest.mark.parametrize("name", sorted(OF_KERAS - {"_track_trackable", "_modules"}))
def test_the_installed_keras_has_the_private_name(name):
    assert name in source_of_keras(), f"this Keras has no '{name}': see layers/keras_internals.py for what needs it"


@pytest.mark.parametrize("file", FILES, ids=[f"{file.parent.name}/{file.name}" for file in FILES])
def test_no_file_reaches_into_keras(file):
    assert not faults(file.read_text())


@pytest.mark.parametrize(
    "source",
    [
        "layer._tracker",
        "model._functional",
        "setattr(model, '_nodes', ())",
        "from keras.src.ops import node",
        "kernel._unheard_of",
    ],
)
def test_what_would_be_a_fault(source):
    assert faults(source)
    assert not faults("self._tracker; super()._build(); done._insertions; keras.layers.Layer")
