"""`tf-autodropout doctor`: versions, devices, and what is missing for what."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator

import click
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tf_autodropout.search.terminal.console import make_console
from tf_autodropout.search.terminal.quiet import quiet_tensorflow
from tf_autodropout.version import __version__, version_of

_NAME = "tf_autodropout"
_PURPOSES = {
    "ray": "--engine ray",
    "tpe": "--searcher tpe",
    "jax": "KERAS_BACKEND=jax",
    "jax-tpu": "the same on a TPU",
    "torch": "KERAS_BACKEND=torch",
    "docs": "make docs",
    "dev": "make test",
}
_STANDS_FOR = {"tensorflow": "tensorflow-tpu"}  # on a TPU VM there is no plain one


@click.command()
def doctor() -> None:
    """Say what is installed, which devices there are, and what is missing for what; exit code 1 if it cannot run."""
    console = make_console(soft_wrap=True)
    console.print(f"{_NAME} {__version__}, Python {platform.python_version()}, {platform.platform()}")
    faults = list(_faults(_requirements("")))
    for requirement in _requirements(""):
        console.print(f"  {requirement.name:26}{_version(requirement) or '-'}", markup=False)
    console.print("devices:")
    for line in _devices():
        console.print(f"  {line}", markup=False)
    console.print("extras:")
    for extra, purpose in _PURPOSES.items():
        lacking = list(_faults(_requirements(extra)))
        said = "there" if not lacking else f"pip install '{_NAME}[{extra}]': {'; '.join(lacking)}"
        console.print(f"  {extra:8}{purpose:20}{said}", markup=False)
    if version_of("tensorflow-tpu") is None:
        console.print("  TPU VMs need other lines than an extra: docs/search_on_tpu_vms.md")
    if version_of("tensorflow") and version_of("tensorflow-tpu"):
        faults.append("tensorflow stands beside tensorflow-tpu: pip uninstall tensorflow")
    if faults:
        for fault in faults:
            print(f"error: {fault}", file=sys.stderr)
        sys.exit(1)
    console.print("all that it needs is there")


def _requirements(extra: str) -> list[Requirement]:
    """What this package needs, or what an extra of it needs besides."""
    listed = [Requirement(text) for text in importlib.metadata.requires(_NAME) or ()]
    if not extra:
        return [one for one in listed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [
        one for one in listed if one.marker and "extra" in str(one.marker) and one.marker.evaluate({"extra": extra})
    ]


def _faults(requirements: list[Requirement]) -> Iterator[str]:
    """Says of each requirement that is not met what was expected and what is there."""
    for one in requirements:
        there = _version(one)
        if there is None:
            yield f"{one.name}{one.specifier} is missing"
        elif not one.specifier.contains(there, prereleases=True):
            yield f"{one.name}{one.specifier} is needed, {there} is there"


def _version(requirement: Requirement) -> str | None:
    name = canonicalize_name(requirement.name)
    return version_of(name) or (version_of(_STANDS_FOR[name]) if name in _STANDS_FOR else None)


def _devices() -> Iterator[str]:
    """The devices that TensorFlow sees, or why it cannot be asked."""
    try:
        with quiet_tensorflow():
            import tensorflow as tf

            found = tf.config.list_physical_devices()
    except Exception as error:  # whatever is wrong with an installation is what one wants to hear
        yield f"TensorFlow does not load: {' '.join(str(error).split())[:300]}"
        return
    for kind in sorted({device.device_type for device in found}):
        count = sum(device.device_type == kind for device in found)
        cores = f", {len(os.sched_getaffinity(0))} cores" if kind == "CPU" and hasattr(os, "sched_getaffinity") else ""
        yield f"{kind}: {count}{cores}"
