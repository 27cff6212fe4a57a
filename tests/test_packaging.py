"""What is installed is what is in the tree."""

import hashlib
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest import mock

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


def test_a_built_wheel_holds_the_presets(tmp_path: Path) -> None:
    import tf_autodropout as tad

    tree = tmp_path / "tree"
    left_out = shutil.ignore_patterns(".*", "build", "dist", "runs", "tests", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, tree, symlinks=True, ignore=left_out)
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    made = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    (wheel,) = (tree / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for preset in tad.presets.names():
        assert names.count(f"tf_autodropout/presets/{preset}.json") == 1
    assert "tf_autodropout/models/wide_resnet.py" in names
    assets = [path.name for path in (ROOT / "search" / "page" / "assets").iterdir()]
    assert {"echarts.common.min.js", "echarts.LICENSE", "echarts.NOTICE", "page.html"} <= set(assets)
    for asset in assets:
        assert names.count(f"tf_autodropout/search/page/assets/{asset}") == 1


def test_the_plotting_library_is_the_published_one() -> None:
    library = (ROOT / "search" / "page" / "assets" / "echarts.common.min.js").read_bytes()
    # Of the npm package echarts 6.1.0, dist/echarts.common.min.js; to update: npm pack echarts, copy, both numbers.
    assert hashlib.sha256(library).hexdigest() == "61f13280aba3161f77fc801bf5f9c786f55f10432153a0683fc5cc0700b013d5"
    assert b't.version="6.1.0"' in library
