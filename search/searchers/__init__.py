"""Search methods behind one interface, by name, without loading any of them."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tf_autodropout.search.core import Searcher
from tf_autodropout.search.space import SearchSpace

if TYPE_CHECKING:
    from tf_autodropout.search.searchers.random_search import RandomSearch
    from tf_autodropout.search.searchers.regularized_evolution import RegularizedEvolution
    from tf_autodropout.search.searchers.reinforce import Reinforce
    from tf_autodropout.search.searchers.thompson import Thompson
    from tf_autodropout.search.searchers.tpe import TPE

_MODULES = {
    "Reinforce": "reinforce",
    "RandomSearch": "random_search",
    "RegularizedEvolution": "regularized_evolution",
    "TPE": "tpe",
    "Thompson": "thompson",
}

__all__ = ["SEARCHERS", "TPE", "RandomSearch", "RegularizedEvolution", "Reinforce", "Searcher", "Thompson"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line's help must not wait for TensorFlow, nor anything for Optuna.
    if name in _MODULES:
        return getattr(importlib.import_module(f"tf_autodropout.search.searchers.{_MODULES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def _make(searcher: str, space: SearchSpace, seed: int) -> Searcher:
    return __getattr__(searcher)(space, seed)


# Name to a function of search space and seed.
SEARCHERS: dict[str, Callable[[SearchSpace, int], Searcher]] = {
    "reinforce": partial(_make, "Reinforce"),
    "thompson": partial(_make, "Thompson"),
    "evolution": partial(_make, "RegularizedEvolution"),
    "tpe": partial(_make, "TPE"),
    "random": partial(_make, "RandomSearch"),
}
