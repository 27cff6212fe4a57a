"""The search, imported as `tf_autodropout.search`."""

if not __name__.startswith("tf_autodropout."):
    raise ImportError("Import this package as tf_autodropout.search: `from tf_autodropout import search`.")

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_autodropout.search.auto_dropout import AutoDropout
    from tf_autodropout.search.engines.config import EngineConfig
    from tf_autodropout.search.released.benchmark import benchmark
    from tf_autodropout.search.run_search import Search, run
    from tf_autodropout.search.search_config import SearchConfig
    from tf_autodropout.search.tasks.model_task import ModelTask

_FILES = {
    "AutoDropout": "auto_dropout",
    "EngineConfig": "engines.config",
    "ModelTask": "tasks.model_task",
    "Search": "run_search",
    "SearchConfig": "search_config",
    "benchmark": "released.benchmark",
    "run": "run_search",
}
_ANYWHERE = ("benchmark",)  # nothing is trained: a table is read

__all__ = ["AutoDropout", "EngineConfig", "ModelTask", "Search", "SearchConfig", "benchmark", "run"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line's help must not wait for TensorFlow.
    if name in _FILES:
        import importlib

        from tf_autodropout.tensorflow_only import check_tensorflow

        if name not in _ANYWHERE:
            check_tensorflow("The search")
        return getattr(importlib.import_module(f"tf_autodropout.search.{_FILES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
