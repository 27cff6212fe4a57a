"""What is installed is what is in the tree."""

import hashlib
import importlib.metadata
import json
import os
import re
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
_OF_LAYOUT = ("test_the_symlinks_are_committed", "test_the_search_package_alone_imports_no_tensorflow")
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

    assert f"\nversion: {tf_autodropout.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")

    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    assert setup.call_args.kwargs["version"] == tf_autodropout.__version__


def set_up(address: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict, dict]:
    """What setup.py tells setuptools, and its names."""
    monkeypatch.setenv("TF_AUTODROPOUT_ADDRESS", address)
    with mock.patch("setuptools.setup") as setup:
        names = runpy.run_path(str(ROOT / "setup.py"))
    return setup.call_args.kwargs, names


def metadata_of(address: str, monkeypatch: pytest.MonkeyPatch) -> dict:
    return set_up(address, monkeypatch)[0]


LINK = re.compile(r"\]\(([^)]+)\)")


def test_the_readme_of_a_release_has_no_link_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    here = (ROOT / "README.md").read_text("utf-8")
    relative = [link for link in LINK.findall(here) if "://" not in link]
    assert len(relative) > 12
    told = metadata_of("https://example.org/tf_autodropout/", monkeypatch)
    links = LINK.findall(told["long_description"])
    assert len(links) == len(LINK.findall(here))
    for link in links:
        assert link.startswith("https://")
        if "/v" in link and "example.org" in link:
            kind, _, path = link.removeprefix("https://example.org/tf_autodropout/").partition(f"/v{told['version']}/")
            assert (ROOT / path).is_file()
            assert kind == ("raw" if path.endswith(".png") else "blob")
    assert told["project_urls"]["Source"] == "https://example.org/tf_autodropout"
    for name in ("Documentation", "Changelog"):
        start = f"https://example.org/tf_autodropout/blob/v{told['version']}/"
        assert (ROOT / told["project_urls"][name].removeprefix(start)).is_file()
    told = metadata_of("", monkeypatch)
    assert [link for link in LINK.findall(told["long_description"]) if "://" not in link] == []
    assert "Source" not in told["project_urls"]
    assert "in two minutes" in told["long_description"]  # the words stay
    assert "![" not in told["long_description"]


@pytest.mark.parametrize("address", ["example.org/name/tree", "http://example.org/name/tree", "https://example.org"])
def test_an_address_that_is_none_stops_a_release(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="TF_AUTODROPOUT_ADDRESS: expected https://HOST/NAME/REPOSITORY. Received: '"):
        metadata_of(address, monkeypatch)


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BADGE = re.compile(r"colab-badge\.svg\)\]\(([^)]+)\)")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_of_a_release_opens_and_installs_by_its_address(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = path.read_text("utf-8")
    for address, opens in (
        ("https://github.com/name/tree.git", f"github/name/tree/blob/v{{}}/notebooks/{path.name}"),
        ("https://example.org/name/tree/", "#create=true"),  # to be uploaded
    ):
        told, names = set_up(address, monkeypatch)
        version, clean = told["version"], told["project_urls"]["Source"]
        text = names["notebook"](here, path.name, clean)
        assert BADGE.findall(text) == [f"https://colab.research.google.com/{opens.format(version)}"]
        (first, *_), (was, *_) = ([c for c in json.loads(t)["cells"] if c["cell_type"] == "code"] for t in (text, here))
        assert first["source"] != was["source"]
        lines: dict = {}
        exec("".join(line for line in first["source"] if line.startswith(("SOURCE", "TPU_VMS"))), lines)
        assert lines["SOURCE"] == f"git+{clean}@v{version}"
        assert (ROOT / lines["TPU_VMS"].removeprefix(f"{clean}/blob/v{version}/")).is_file()
        assert names["notebook"](text, path.name, clean) == text  # once more changes nothing
    assert names["notebook"](here, path.name, "") == here


def copy_of_the_tree(place: Path) -> Path:
    left_out = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    return Path(shutil.copytree(ROOT, place, symlinks=True, ignore=left_out))


@pytest.mark.slow
def test_what_a_release_makes_leads_to_its_address(tmp_path: Path) -> None:
    address, tree, venv = "https://github.com/name/tree", copy_of_the_tree(tmp_path / "tree"), Path(sys.prefix)
    make = ["make", "-o", f"{venv}/installed", "release", f"VENV={venv}"]
    done = subprocess.run(make, cwd=tree, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "ADDRESS=https://" in done.stderr
    done = subprocess.run([*make, f"ADDRESS={address}"], cwd=tree, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = (tree / "dist").glob("*.whl"), (tree / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        told = archive.read(name).decode()
    assert f"\nProject-URL: Source, {address}\n" in told
    links = [link for link in LINK.findall(told) if link.startswith(address)]
    assert len(links) > 12
    for link in links:
        assert (ROOT / re.sub(rf"{address}/(blob|raw)/v[^/]+/", "", link)).is_file(), link
    assert [link for link in LINK.findall(told) if "://" not in link] == []
    with tarfile.open(sdist) as archive:
        for path in NOTEBOOKS:
            (member,) = (one for one in archive.getnames() if one.endswith(f"/notebooks/{path.name}"))
            packed = archive.extractfile(member).read().decode()
            assert packed == (tree / "notebooks" / path.name).read_text("utf-8")  # to be committed with the tag
            assert f"github/name/tree/blob/v{importlib.metadata.version('tf_autodropout')}/" in packed
    cited = (tree / "CITATION.cff").read_text("utf-8")
    assert cited.count(f'\nrepository-code: "{address}"\nlicense: Apache-2.0\n') == 1
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [venv / "bin" / "ruff", *check, "notebooks"], cwd=tree, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout


def build(tree: Path, what: str) -> Path:
    """Builds a wheel or an sdist of a tree."""
    code = f"from setuptools import build_meta; build_meta.build_{what}('dist')"
    made = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    (file,) = (tree / "dist").glob("*.whl" if what == "wheel" else "*.tar.gz")
    return file


@pytest.mark.slow
def test_the_sdist_holds_all_and_its_wheel_runs_elsewhere(tmp_path: Path) -> None:
    import tf_autodropout as tad

    copied = copy_of_the_tree(tmp_path / "copied")
    sdist = build(copied, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    tree = tmp_path / sdist.name.removesuffix(".tar.gz")
    for name in ("tests/conftest.py", "tests/fakes.py", "notebooks/01_patterns.ipynb", "CHANGELOG.md", "CITATION.cff",
                 "docs/index.md", "examples/text.py", "benchmarks/searchers.json", "mkdocs.yml"):  # fmt: skip
        assert (tree / name).is_file(), name
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    some = ["tests/test_patterns.py", *(f"tests/test_layout.py::{one}" for one in _OF_LAYOUT)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout  # its tests run where it was unpacked, on what was unpacked
    wheel = build(tree, "wheel")
    names = zipfile.ZipFile(wheel).namelist()
    for preset in tad.presets.names():
        assert names.count(f"tf_autodropout/presets/{preset}.json") == 1
    assert "tf_autodropout/models/wide_resnet.py" in names
    assets = [path.name for path in (ROOT / "search" / "page" / "assets").iterdir()]
    assert {"echarts.min.js", "echarts.LICENSE", "echarts.NOTICE", "page.html"} <= set(assets)
    for asset in assets:
        assert names.count(f"tf_autodropout/search/page/assets/{asset}") == 1

    for name in ("trials.parquet", "trials.parquet.md"):
        assert names.count(f"tf_autodropout/search/released/{name}") == 1

    there = tmp_path / "there"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(there)
    metadata = next(there.glob("*.dist-info/METADATA")).read_text("utf-8")
    for line in ("Classifier: Typing :: Typed", "Project-URL: Paper", "Author: "):
        assert f"\n{line}" in metadata
    run = "import sys; from tf_autodropout.search.page.page import _asset; print(len(_asset('page.html')), sys.path[0])"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(there)!r}); {run}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(Path(ROOT, "search/page/assets/page.html").read_text("utf-8"))), str(there)]


def test_the_plotting_library_is_the_published_one() -> None:
    library = (ROOT / "search" / "page" / "assets" / "echarts.min.js").read_bytes()
    # Of the npm package echarts 6.1.0, dist/echarts.min.js; to update: npm pack echarts, copy, both numbers.
    assert hashlib.sha256(library).hexdigest() == "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"
    assert b't.version="6.1.0"' in library


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
