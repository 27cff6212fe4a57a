"""The search, imported as `tf_autodropout.search`."""

if not __name__.startswith("tf_autodropout."):
    raise ImportError("Import this package as tf_autodropout.search: `from tf_autodropout import search`.")

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_autodropout.search.engines.config import EngineConfig
    from tf_autodropout.search.run_search import Search, run

__all__ = ["EngineConfig", "Search", "run"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line's help must not wait for TensorFlow.
    if name in __all__:
        import importlib

        file = "engines.config" if name == "EngineConfig" else "run_search"
        module = importlib.import_module(f"tf_autodropout.search.{file}")
        return getattr(module, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
