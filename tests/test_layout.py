"""The layout: one import name, no TensorFlow before it is needed, small files, the two symlinks."""

import ast
import contextlib
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOVED = ("models", "search")


def run(code, cwd=ROOT):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", MOVED)
def test_a_second_import_name_is_refused(name):
    result = run(f"import {name}")
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert f"tf_autodropout.{name}" in last


@pytest.mark.parametrize("name", MOVED)
def test_the_symlinks_are_committed(name):
    link = ROOT / "tf_autodropout" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"
    assert (link / "__init__.py").samefile(ROOT / name / "__init__.py")


IMPORTED = """
import sys
import tf_autodropout
tf_autodropout.ConvPattern(size=1), tf_autodropout.PatternSet({}), dir(tf_autodropout), tf_autodropout.__version__
heavy = sorted({"tensorflow", "keras", "numpy", "matplotlib", "keras_nlp", "tensorflow_probability"} & set(sys.modules))
print(heavy)
"""


@pytest.mark.parametrize("inside", [True, False])
def test_the_top_level_imports_nothing_heavy(inside, tmp_path):
    result = run(IMPORTED, ROOT if inside else tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_the_search_package_alone_imports_no_tensorflow():
    result = run("import sys, tf_autodropout.search; print('tensorflow' in sys.modules)")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "False"


def test_public_names():
    import tf_autodropout

    for name in tf_autodropout.__all__:
        assert getattr(tf_autodropout, name) is not None
        assert name in dir(tf_autodropout)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = tf_autodropout.nothing


@pytest.mark.parametrize("builder", ["wide_resnet", "transformer_lm", "transformer_xl"])
def test_a_builder_stays_callable_when_its_module_is_imported(builder):
    import tf_autodropout

    for module in (f"tf_autodropout.models.{builder}", "tf_autodropout.models"):
        with contextlib.suppress(ModuleNotFoundError):  # a module of another name is as well
            importlib.import_module(module)
        assert callable(getattr(tf_autodropout.models, builder))


def python_files():
    for folder, folders, files in os.walk(ROOT):  # does not follow the symlinks
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ("build", "dist", "runs")]
        folders[:] = [name for name in folders if not name.endswith(".egg-info") and name != "__pycache__"]
        yield from (Path(folder) / name for name in files if name.endswith(".py"))


def test_no_file_is_over_500_lines():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in python_files()}
    assert len(lengths) > 40
    assert {path: length for path, length in lengths.items() if length > 500} == {}


def test_no_file_of_the_search_is_over_300_lines():
    lengths = {str(path): len(path.read_text("utf-8").splitlines()) for path in sorted((ROOT / "search").rglob("*.py"))}
    assert len(lengths) > 40
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def test_the_search_says_what_it_raises():
    """Of public functions and classes that check what they are given; commands have their messages on the terminal."""
    files = [path for path in sorted((ROOT / "search").rglob("*.py")) if path.parent.name != "terminal"]
    silent, seen = [], 0
    for path in files:
        for name, body, documented in _public(ast.parse(path.read_text("utf-8")).body):
            raises = any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(body))
            checks = any(
                isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1].startswith("check_")
                for node in ast.walk(body)
            )
            seen += raises or checks
            if (raises or checks) and "raises" not in (ast.get_docstring(documented) or "").lower():
                silent.append(f"{path.relative_to(ROOT)}: {name}")
    assert seen > 80
    assert silent == []


def _public(nodes, prefix="", of=None):
    """Names, bodies and what documents them; a class documents what makes it."""
    for node in nodes:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public(node.body, f"{node.name}.", node)
        elif isinstance(node, ast.FunctionDef):
            if node.name in ("__init__", "__post_init__"):
                yield prefix + node.name, node, of
            elif not node.name.startswith("_"):
                yield prefix + node.name, node, node


def test_tests_are_flat():
    tests = [path for path in python_files() if path.name.startswith("test_") or path.name == "conftest.py"]
    assert {path.parent for path in tests} == {ROOT / "tests"}
