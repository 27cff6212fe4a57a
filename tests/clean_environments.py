"""Builds wheel and sdist, and runs the core of the tests on the installed wheel in environments made anew.

    python tests/clean_environments.py                 # all of them: hours of a small machine, 3 GB each
    python tests/clean_environments.py oldest newest   # some

Prints a table and exits with 1 if one fails; Keras' nightly only warns. Each environment is deleted once its tests have
run. `--python NAME` takes another interpreter, `--keep DIR` works in a directory that stays.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

# What every installation must be able to do, in minutes: patterns, masks, layers, surgery, files, a search.
CORE = (
    "test_patterns.py",
    "test_documents.py",
    "test_members.py",
    "test_pattern_dropout.py",
    "test_saving.py",
    "test_surgery.py",
    "test_lazy_imports.py",
    "test_ledger.py",
)
# Where KerasHub and keras-cv do not import: what needs TensorFlow and Keras only.
ALONE = (
    "test_patterns.py",
    "test_documents.py",
    "test_members.py",
    "test_pattern_dropout.py",
    "test_ledger.py",
    "test_lazy_imports.py::test_layers_and_surgery_on_models_of_keras_alone",
)


class Environment(NamedTuple):
    """Versions that stand in place of those that pip would choose, and what is run."""

    constraints: Sequence[str]
    tests: Sequence[str] = CORE
    may_fail: bool = False
    instead: Sequence[str] = ()  # installed last, whatever the requirements say


ENVIRONMENTS = {
    "oldest": Environment(["tensorflow==2.20.*", "tf_keras==2.20.*", "tensorboard==2.20.*", "keras==3.15.0"]),
    "newest": Environment(["tensorflow==2.21.*"]),
    "nightly": Environment(["tensorflow==2.21.*"], ALONE, True, ["--pre", "--upgrade", "keras-nightly"]),
}


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    names = arguments.names or list(ENVIRONMENTS)
    if unknown := set(names) - set(ENVIRONMENTS):
        parser.error(f"no environment is named {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as temporary:
        place = (arguments.keep or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        wheel, sdist = build(place)
        print(f"{wheel.name}, {sdist.name}", flush=True)
        lines = [run(name, ENVIRONMENTS[name], arguments.python, place, wheel, sdist) for name in names]
    print(
        "\n| environment | Python | TensorFlow | Keras | KerasHub | tests | minutes |\n|---|---|---|---|---|---|---:|"
    )
    print("\n".join(line for line, _ in lines))
    return int(not all(passed for _, passed in lines))


def build(place: Path) -> tuple[Path, Path]:
    """Returns wheel and sdist of the committed and uncommitted tree, made in a copy of it."""
    tree, dist = place / "tree", place / "dist"
    for old in (tree, dist):
        shutil.rmtree(old, ignore_errors=True)
    left_out = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, tree, symlinks=True, ignore=left_out)
    code = f"from setuptools import build_meta as b; b.build_sdist({str(dist)!r}); b.build_wheel({str(dist)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return next(dist.glob("*.whl")), next(dist.glob("*.tar.gz"))


def run(name: str, environment: Environment, python: str, place: Path, wheel: Path, sdist: Path) -> tuple[str, bool]:
    """Makes one environment, runs its tests; returns its line of the table, and whether that is well."""
    started = time.monotonic()
    own = place / name
    shutil.rmtree(own, ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(own / "unpacked", filter="data")
    (unpacked,) = (own / "unpacked").iterdir()
    for part in ("tests", "pyproject.toml"):  # and not the packages: the tests are to find the installed ones
        shutil.move(unpacked / part, own / part)
    shutil.rmtree(own / "unpacked")
    (own / "constraints.txt").write_text("\n".join(environment.constraints) + "\n")
    binary = own / "venv" / "bin" / "python"
    pip = [str(binary), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [
        [python, "-m", "venv", str(own / "venv")],
        [*pip, "--constraint", str(own / "constraints.txt"), str(wheel), "pytest>=8"],
        *([[*pip, *environment.instead]] if environment.instead else []),
        [str(binary), "-m", "pytest", "-q", *(f"tests/{test}" for test in environment.tests)],
    ]
    said = ""
    for step in steps:
        done = subprocess.run(step, cwd=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = done.stdout
        if done.returncode:
            break
    (place / f"{name}.log").write_text(said)
    outcome = (said.strip().splitlines() or ["no output"])[-1].strip("= ")
    failed = done.returncode != 0
    if failed:
        print(f"--- {name}: {' '.join(step[:6])} ...\n{said[-4000:]}", flush=True)
    told = [name, *versions(binary), outcome if not (failed and environment.may_fail) else f"warning: {outcome}"]
    shutil.rmtree(own)
    line = "| " + " | ".join([*told, f"{(time.monotonic() - started) / 60:.0f}"]) + " |"
    print(line, flush=True)
    return line, not failed or environment.may_fail


def versions(binary: Path) -> list[str]:
    """Returns the versions of what matters in an environment."""
    code = """
import importlib.metadata as m, platform, sys
def version(*names):
    for name in names:
        try:
            return m.version(name)
        except m.PackageNotFoundError:
            pass
    return "-"
print(platform.python_version(), version("tensorflow"), version("keras-nightly", "keras"), version("keras-hub"))
"""
    done = subprocess.run([str(binary), "-c", code], capture_output=True, text=True)
    return done.stdout.split() if done.returncode == 0 else ["-"] * 4


if __name__ == "__main__":
    sys.exit(main())
