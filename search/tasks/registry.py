"""The tasks by name, without loading any of them."""

import ast
import importlib
import importlib.util
import inspect
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
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
    """Raises `ValueError` unless there is a task of this name, or a file of `FILE.py:FUNCTION`."""
    place, colon, _ = name.rpartition(":")
    if name not in TASKS and not colon:
        raise ValueError(
            f"Invalid value for 'task'. Expected one of {', '.join(TASKS)}, or FILE.py:FUNCTION. "
            f"Received: task={name!r}"
        )
    if place.endswith(".py") and not Path(place).is_file():
        raise ValueError(f"Invalid value for 'task'. Expected a file that is there. Received: task={name!r}")


def task_settings(name: str) -> dict[str, Any]:
    """Returns the settings of a task of `TASKS` with their defaults; it is not imported for that.

    Args:
        name: One of `TASKS`.
    """
    entry = TASKS[name]
    tree = ast.parse(Path(__file__).with_name(f"{entry.module}.py").read_text("utf-8"))
    factory = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry.factory)
    names = [argument.arg for argument in factory.args.args]
    return dict(zip(names, map(ast.literal_eval, factory.args.defaults), strict=True))


def make_task(name: str | Task, **settings: Any) -> Task:
    """Builds a task by name.

    Args:
        name: One of `TASKS`; `FILE.py:FUNCTION` or `package.module:FUNCTION`, whose function returns a `Task`; a `Task`
            is returned as it is.
        **settings: Arguments of the task's factory; those left out have its defaults.

    Raises:
        ValueError: an unknown task, a setting it does not have, a bad value.
    """
    if not isinstance(name, str):
        return name
    check_task(name)
    factory = _factory(name)
    known = inspect.signature(factory).parameters
    if unknown := sorted(settings.keys() - known.keys()):
        raise ValueError(f"Task '{name}' has no setting '{unknown[0]}'. Its settings: {', '.join(known)}")
    for setting, value in settings.items():
        if type(known[setting].default) is int:  # steps, sizes, counts
            check_int(setting, value, 1)
    task = factory(**settings)
    if not hasattr(task, "train"):
        raise ValueError(f"{name}: expected a function that returns a Task, such as ModelTask. Received: {task!r}")
    return task


def _factory(name: str) -> Callable[..., Any]:
    if name in TASKS:
        entry = TASKS[name]
        return getattr(importlib.import_module(f"tf_autodropout.search.tasks.{entry.module}"), entry.factory)
    place, _, function = name.rpartition(":")
    module = _module_of_file(Path(place).resolve()) if place.endswith(".py") else importlib.import_module(place)
    found = getattr(module, function, None)
    if not callable(found):
        raise ValueError(f"Invalid value for 'task'. {place} has no function '{function}'. Received: task={name!r}")
    return found


def _module_of_file(path: Path) -> ModuleType:
    """Imports a file as a script is run: what stands beside it can be imported, and it itself once."""
    name = f"tf_autodropout_task_{zlib.crc32(str(path).encode()):08x}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
