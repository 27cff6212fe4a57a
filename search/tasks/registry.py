"""The tasks by name, without loading any of them."""

import importlib
import inspect
from dataclasses import dataclass
from typing import Any

from tf_autodropout.patterns.checks import check_int
from tf_autodropout.search.core import Task


@dataclass(frozen=True)
class _Entry:
    module: str
    factory: str
    summary: str


TASKS = {
    "pydoc": _Entry("pydoc", "pydoc_task", "language model on CPython's reference; needs no download"),
    "digits": _Entry("digits", "digits_task", "scikit-learn's 8x8 digits, few labels; needs no download"),
    "cifar10-small": _Entry("cifar10", "cifar10_small_task", "CIFAR-10 averaged down to 16x16, through TFDS"),
    "ptb": _Entry("ptb", "ptb_task", "Transformer-XL on Penn Treebank; --data-dir with ptb.train.txt and so on"),
    "wikitext-2": _Entry("wikitext2", "wikitext2_task", "Transformer-XL on WikiText-2; --data-dir likewise"),
    "multi30k": _Entry("multi30k", "multi30k_task", "German image captions into English; needs --data-dir"),
    "iwslt14": _Entry("iwslt14", "iwslt14_task", "German TED talks into English; needs --data-dir"),
    "tabular": _Entry(
        "tabular", "tabular_task", "a surrogate of an earlier run's trials (--table), to compare searchers"
    ),
}


def check_task(name: str) -> None:
    """Raises `ValueError` unless there is a task of this name."""
    if name not in TASKS:
        raise ValueError(f"Invalid value for 'task'. Expected one of {', '.join(TASKS)}. Received: task={name!r}")


def make_task(name: str | Task, **settings: Any) -> Task:
    """Builds a task by name.

    Args:
        name: One of `TASKS`; a `Task` is returned as it is.
        **settings: Arguments of the task's factory; those left out have its defaults.

    Raises:
        ValueError: an unknown task, a setting it does not have, a bad value.
    """
    if not isinstance(name, str):
        return name
    check_task(name)
    entry = TASKS[name]
    factory = getattr(importlib.import_module(f"tf_autodropout.search.tasks.{entry.module}"), entry.factory)
    known = inspect.signature(factory).parameters
    if unknown := sorted(settings.keys() - known.keys()):
        raise ValueError(f"Task '{name}' has no setting '{unknown[0]}'. Its settings: {', '.join(known)}")
    for setting, value in settings.items():
        if type(known[setting].default) is int:  # steps, sizes, counts
            check_int(setting, value, 1)
    return factory(**settings)
