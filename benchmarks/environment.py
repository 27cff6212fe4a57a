"""What every table must carry: the date, the machine, the versions."""

import datetime
import importlib.metadata
import os
import platform

PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")


def environment(*more: str) -> str:
    """Returns one line of Markdown, with the versions of `more` packages."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in (*PACKAGES, *more))
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores, Python {platform.python_version()}, {versions}."
    )
