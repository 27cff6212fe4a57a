"""The version of this package, for what may not import all of it, and those of others."""

import importlib.metadata

__version__ = "0.2.0"


def version_of(package: str) -> str | None:
    """Returns the version of an installed package, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
