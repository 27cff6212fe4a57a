"""The examples in docstrings and in the README run and give what they say."""

import doctest
import importlib
import os
import re
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OTHER_BACKENDS = re.compile(r"\.(jax|torch|checkpointing)$")  # import what they stand on; nothing of theirs is public
SLOW = tuple(
    f"tf_autodropout.{name}"
    for name in ("search.run_search", "search.auto_dropout", "models.efficient_net", "models.residual_network")
)  # whole trainings, and whole networks
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def module_names():
    """Every module under tf_autodropout, the two symlinked packages included."""
    for folder, folders, files in os.walk(ROOT / "tf_autodropout", followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            if name.endswith(".py") and name != "__main__.py":
                parts = (Path(folder) / name).relative_to(ROOT).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
        for name in sorted(module_names())
        if not OTHER_BACKENDS.search(name)
    ],
)
def test_docstring_examples(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(module, optionflags=FLAGS, report=True)
    assert result.failed == 0


def test_the_public_api_has_examples():
    import tf_autodropout

    finder = doctest.DocTestFinder(recurse=False)
    for name in tf_autodropout.__all__:
        public = getattr(tf_autodropout, name)
        if isinstance(public, types.ModuleType):
            continue
        assert any(found.examples for found in finder.find(public, name)), f"{name} has no example"


def test_readme_examples(tmp_path, monkeypatch):
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, block.start(1))
        code = "\n" * line + block[1]  # so that a traceback names the README's line
        exec(compile(code, str(readme), "exec"), namespace)
