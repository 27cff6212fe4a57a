"""What is installed is what is in the tree."""

import importlib.metadata
import runpy
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDERS = {"tf_autodropout": "tf_autodropout", "models": "tf_autodropout.models", "search": "tf_autodropout.search"}


def test_every_package_of_the_tree_is_installed_once() -> None:
    in_tree = []
    for folder, name in FOLDERS.items():
        for init in sorted((ROOT / folder).rglob("__init__.py")):  # rglob does not follow the symlinks
            in_tree.append(".".join([name, *init.parent.relative_to(ROOT / folder).parts]))
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    assert sorted(setup.call_args.kwargs["packages"]) == sorted(in_tree)
    assert "tf_autodropout.search.searchers" in in_tree


def test_the_version_is_one() -> None:
    import tf_autodropout

    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    assert setup.call_args.kwargs["version"] == tf_autodropout.__version__


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    tree = tmp_path_factory.mktemp("built") / "tree"
    left_out = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, tree, symlinks=True, ignore=left_out)
    build = "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"
    made = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    return tree / "dist"


def test_a_built_wheel_holds_the_presets(built: Path) -> None:
    import tf_autodropout as tad

    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for preset in tad.presets.names():
        assert names.count(f"tf_autodropout/presets/{preset}.json") == 1
    assert "tf_autodropout/models/wide_resnet.py" in names
    assert not [name for name in names if name.startswith(("tests", "models", "search"))]


def test_the_source_distribution_holds_all_that_its_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert len(set(names)) == len(names)
    assert {"tests/conftest.py", "notebooks/01_patterns.ipynb", "CHANGELOG.md", "models/wide_resnet.py"} <= set(names)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    tracked = [name for name in listed.stdout.splitlines() if not name.startswith((".", "tf_autodropout/"))]
    assert set(tracked) <= set(names) | {one for one in tracked if not (ROOT / one).exists()}


# The lines for a TPU VM, where no plain TensorFlow may be.


def requirements() -> dict[str, Requirement]:
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    assert "tpu" not in setup.call_args.kwargs["extras_require"], "it would bring plain TensorFlow"
    return named(setup.call_args.kwargs["install_requires"])


def named(texts: Iterable[str]) -> dict[str, Requirement]:
    return {canonicalize_name(one.name): one for one in map(Requirement, texts)}


def lines_for_a_tpu() -> list[list[str]]:
    text = (ROOT / "docs" / "search_on_tpu_vms.md").read_text().replace("\\\n", " ")
    return [shlex.split(line)[2:] for line in text.splitlines() if line.startswith("pip install")]


def brought(names: Iterable[str]) -> set[str]:
    """All that pip installs for these packages, as the metadata of what is installed here says."""
    left, found = [canonicalize_name(name) for name in names], set()
    while left:
        name = left.pop()
        if name in found or name in NOT_HERE:
            continue
        found.add(name)
        left += [canonicalize_name(one.name) for one in needs(name)]
    return found


def needs(name: str) -> list[Requirement]:
    all_of_it = map(Requirement, importlib.metadata.requires(name) or [])
    return [one for one in all_of_it if one.marker is None or one.marker.evaluate({"extra": ""})]


NOT_HERE = ("tensorflow-tpu", "libtpu")


def test_the_lines_for_a_tpu_have_what_is_required_and_no_plain_tensorflow() -> None:
    with_dependencies, *without = lines_for_a_tpu()
    alone = named(one for line in without for one in line if one not in ("--no-deps", "."))
    chosen = named(with_dependencies)
    required = requirements()
    assert required.keys() - {"tensorflow"} <= chosen.keys() | alone.keys()
    for name, wanted in required.items():
        if name in chosen | alone:
            told = (chosen | alone)[name].specifier
            newest = importlib.metadata.version(name)
            assert wanted.specifier.contains(newest)
            assert told == wanted.specifier or name in {*alone, "tensorboard"}, f"{name}: {told}, {wanted.specifier}"
    there = brought(chosen)
    assert "tensorflow" not in there
    assert "keras" in there
    for name in alone:
        lacking = {canonicalize_name(one.name) for one in needs(name)} - there - alone.keys()
        assert lacking <= {"tensorflow", "tensorflow-text"}, name
