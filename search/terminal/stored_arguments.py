"""What a run was called with, as far as this version understands it."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from tf_autodropout.patterns.checks import check_int, invalid, shown
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.search_config import SearchConfig
from tf_autodropout.search.tasks.registry import check_task

_NEEDED = ("task", "trials", "seed", "settings", "searcher")


def stored_arguments(directory: Path) -> dict[str, Any]:
    """Returns the arguments of `run` that a directory holds, `precision` among them.

    Raises:
        ValueError: the directory holds no run, one that only Python can go on with, or arguments that this version
            does not understand; with the first of them.
    """
    reader = LedgerReader(directory)
    try:
        arguments = reader.arguments()
    finally:
        reader.close()
    known = {*_NEEDED, "precision", *(field.name for field in fields(SearchConfig))}
    if unknown := sorted(arguments.keys() - known):
        raise ValueError(
            f"{directory} was searched with {shown(unknown[0])}, which this version does not know; go on with the "
            "version that made it"
        )
    if lacking := [name for name in _NEEDED if name not in arguments]:
        raise ValueError(f"{directory} lacks the argument '{lacking[0]}'; go on from Python, with search.run")
    for own in ("task", "searcher"):
        if arguments[own] is None:
            raise ValueError(f"{directory} was searched with a {own} of your own; go on from Python, by the same lines")
    if not isinstance(arguments["task"], str):
        raise invalid("task", "the name of one", arguments["task"])
    check_task(arguments["task"])
    check_int("trials", arguments["trials"], 1)
    check_int("seed", arguments["seed"], 0)
    if not isinstance(arguments["settings"], dict):
        raise invalid("settings", "settings of the task", arguments["settings"])
    EngineConfig(precision=arguments.get("precision", "float32"))
    try:
        SearchConfig(**{name: value for name, value in arguments.items() if name not in (*_NEEDED[:4], "precision")})
    except TypeError as error:
        raise ValueError(f"{directory}: its arguments are not understood: {error}") from None
    return arguments
