"""Search methods behind one interface, by name, without loading any of them."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tf_autodropout.search.core import Searcher
from tf_autodropout.search.searchers.learner_config import LearnerConfig
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

__all__ = [
    "SEARCHERS",
    "TPE",
    "LearnerConfig",
    "RandomSearch",
    "RegularizedEvolution",
    "Reinforce",
    "Searcher",
    "Thompson",
    "batch_of",
    "begins_with_classics",
    "check_searcher",
    "make_searcher",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line's help must not wait for TensorFlow, nor anything for Optuna.
    if name in _MODULES:
        return getattr(importlib.import_module(f"tf_autodropout.search.searchers.{_MODULES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


# Name to class; the first one is the default.
SEARCHERS = {
    "thompson": "Thompson",
    "reinforce": "Reinforce",
    "paper": "Reinforce",
    "evolution": "RegularizedEvolution",
    "tpe": "TPE",
    "random": "RandomSearch",
}
# Eq. 3 to the letter: none of our extensions of the update.
PAPER = {"bias_learning_rate": 0.0, "scale_advantages": False, "entropy_bonus": 0.0, "ratio_clip": 0.0}
_AT_ONCE = ("thompson", "evolution")  # learn from each trial as it comes, which costs them little
_PLAIN = ("paper", "random")  # begin with nothing that is known


def batch_of(name: str, batch: int) -> int:
    """Returns M of a searcher where nothing else is said: 1 for one that learns from each trial, else `batch`."""
    return 1 if name in _AT_ONCE else batch


def begins_with_classics(name: str) -> bool:
    """Whether the classics are a searcher's first trials: not those of random search and of the paper's own."""
    return name not in _PLAIN


def check_searcher(name: str, settings: Mapping[str, Any]) -> None:
    """Raises `ValueError` unless there is a searcher of this name, with settings of these names."""
    if name not in SEARCHERS:
        raise ValueError(f"Invalid value for 'searcher'. Expected one of {', '.join(SEARCHERS)}. Received: {name}")
    if not settings:
        return
    if SEARCHERS[name] == "Reinforce":
        known = [field.name for field in fields(LearnerConfig)]
    else:
        known = [p for p in inspect.signature(__getattr__(SEARCHERS[name])).parameters if p not in ("space", "seed")]
    if unknown := [setting for setting in settings if setting not in known]:
        raise ValueError(
            f"Invalid value for 'searcher_settings'. Expected those of the searcher '{name}': "
            f"{', '.join(known) or 'none'}. Received: {unknown[0]!r}"
        )
    if SEARCHERS[name] == "Reinforce":
        LearnerConfig(**settings)


def make_searcher(name: str, space: SearchSpace, seed: int, settings: Mapping[str, Any] | None = None) -> Searcher:
    """Makes a searcher by name.

    Args:
        name: One of `SEARCHERS`.
        space: The search space.
        seed: Seeds everything.
        settings: Those of `LearnerConfig` for `"reinforce"` and `"paper"`, else arguments of the class.

    Raises:
        ValueError: an unknown name or setting, a bad value.
    """
    check_searcher(name, settings or {})
    searcher = __getattr__(SEARCHERS[name])
    if name == "paper":
        settings = PAPER | dict(settings or {})
    if SEARCHERS[name] == "Reinforce":
        return searcher(space, seed, config=LearnerConfig(**(settings or {})))
    return searcher(space, seed, **(settings or {}))
