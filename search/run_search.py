"""`run`: a whole search with its files, in one call."""

import contextlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import check_bool
from tf_autodropout.search.core import Engine, Observer, Task
from tf_autodropout.search.engines.config import ENGINES, EngineConfig
from tf_autodropout.search.halving import Halving
from tf_autodropout.search.ledger import Ledger, check_directory, storage_errors
from tf_autodropout.search.loop import BATCH, Observers, search_loop
from tf_autodropout.search.results import report
from tf_autodropout.search.results.comparison import Row, compare
from tf_autodropout.search.results.finalists import best_trial, confirm
from tf_autodropout.search.results.log_file import log_file
from tf_autodropout.search.results.tensorboard import TensorBoard
from tf_autodropout.search.searchers import SEARCHERS
from tf_autodropout.search.tasks.registry import TASKS, check_task, make_task

CAPACITY = 16  # C; the paper fits it to its cluster
FINALISTS = 4


@dataclass(frozen=True)
class Search:
    """What a finished search hands back.

    Args:
        best: The best PatternSet, with its provenance.
        reward: Its reward, the mean over all its seeds if it was confirmed.
        rows: The final table, best PatternSet first; empty if it was not asked for.
        directory: Where everything is.
    """

    best: PatternSet
    reward: float
    rows: tuple[Row, ...]
    directory: Path


def run(
    task: str | Task,
    trials: int,
    out: str | Path,
    engine: Engine | EngineConfig | str | None = None,
    searcher: str = "reinforce",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    fresh_seeds: int = 3,
    finalists: int = FINALISTS,
    halving: bool = False,
    observers: Sequence[Observer] = (),
    progress: Callable[[str], None] = lambda name: None,
) -> Search:
    """Searches patterns for a task; goes on where an earlier call with the same arguments stopped.

    Args:
        task: Name of a task, one of `TASKS`, or a `Task`.
        trials: Number of trials of the whole run.
        out: Output directory: ledger, log.txt, best.json, pictures, table, TensorBoard events.
        engine: Where and how trials are trained, as an `EngineConfig`, the name of one of its engines or an engine of
            one's own; default: one after the other in this process.
        searcher: One of `SEARCHERS`: `"reinforce"`, `"thompson"`, `"evolution"`, `"tpe"` or `"random"`.
        seed: Seeds everything.
        settings: Settings of a task given by name.
        fresh_seeds: Seeds of the final table; 0 leaves it out.
        finalists: The trials with the highest rewards that are retrained on two more seeds, before one of
            them is called the best; 1: the highest reward decides, as in the paper.
        halving: End trials early that do not look promising, see `Halving`.
        observers: Hear of everything that happens.
        progress: Called with a few words on what is retrained, before each training after the search.

    Returns:
        `Search`.

    Raises:
        ValueError: an unknown task, setting or searcher, a number out of range. `LedgerError`, a
            `ValueError`: the directory cannot serve this run. Nothing on disk has changed then.
        RuntimeError: no trial has finished: all failed or diverged. `StorageError`, a `RuntimeError`: the
            disk is full; the same call goes on once there is room.

    Example:
        >>> import tf_autodropout as tad
        >>> short = {"steps": 20}  # of 200, for the sake of the example
        >>> found = tad.search.run("digits", trials=2, out="runs/digits", settings=short, fresh_seeds=0, finalists=1)
        >>> found.best.save("digits.json")
        >>> len(found.best)
        7

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, "Search Algorithm".
    """
    directory = Path(out)
    check_arguments(task, trials, searcher, seed, fresh_seeds, finalists)
    halving = check_bool("halving", halving)
    check_directory(directory)
    where = _engine_config(engine)
    placement = where.prepare()
    make = partial(make_task, task, **(settings or {}))
    child = make()
    method = SEARCHERS[searcher](child.space, seed)
    space = child.space.describe() | {"decisions": [f"{d.group} {d.token}" for d in child.space.decisions]}
    # Not the strategy: a run may go on with other machines than those it began with.
    precision = {} if where.precision == "float32" else {"precision": where.precision}
    config = {
        "task": child.describe() | precision | {"space": space},
        "searcher": method.describe(),
        "seed": seed,
        "capacity": CAPACITY,
        "batch": BATCH,
    }
    arguments = {
        "task": task if isinstance(task, str) else None,
        "trials": trials,
        "searcher": searcher,
        "seed": seed,
        "settings": dict(settings or {}),
        "fresh_seeds": fresh_seeds,
        "finalists": finalists,
        "precision": where.precision,
        "halving": halving,
    }
    judge = Halving(seed) if halving else None
    if judge:
        if "rungs" not in inspect.signature(child.train).parameters:
            raise ValueError(f"Invalid value for 'halving'. The task {child.name} cannot end a training early")
        config["halving"] = judge.describe()
    ledger = Ledger(directory, config, arguments)
    try:
        with storage_errors(directory), log_file(directory) as log, contextlib.ExitStack() as closing:
            log.info("search on %s: %d trials by %s, seed %d", child.name, trials, searcher, seed)
            workers = engine if isinstance(engine, Engine) else where.start(make, child, placement)
            closing.callback(workers.close)
            heard = Observers([TensorBoard(directory / "tensorboard"), *observers])
            try:
                search_loop(method, ledger, workers, child.space.decode, trials, CAPACITY, BATCH, heard, judge, seed)
            finally:
                heard.close()
            counts = ledger.counts()
            log.info("all trials are final: %s", ", ".join(f"{count} {status}" for status, count in counts.items()))
            confirm(workers, ledger, seed, finalists, progress)
            found = best_trial(ledger, finalists)
            if found is None:
                raise RuntimeError(f"No trial has finished. The last one: {ledger.last_error()}")
            config = json.loads(json.dumps(config))
            best, reward = found
            report.drop_table_of_another(directory, best)
            patterns = report.write_best(directory, best, reward, finalists, config)
            report.write_curve(directory, ledger.outcomes())
            rows = compare(workers, child.opponents(), ledger, best, seed, fresh_seeds, progress) if fresh_seeds else []
            if rows:
                report.write_table(directory, best, rows, child.score, child.lower_is_better, config)
            log.info("the best PatternSet is that of trial %d, reward %.6g", best.number, reward)
            return Search(patterns, reward, tuple(rows), directory)
    finally:
        ledger.close()


def _engine_config(engine: Any) -> EngineConfig:
    """Returns the options of `engine`; the default ones beside an engine of the caller's own."""
    if isinstance(engine, str):
        return EngineConfig(engine)
    if engine is None or isinstance(engine, Engine):
        return EngineConfig()
    if not isinstance(engine, EngineConfig):
        raise ValueError(
            f"Invalid value for 'engine'. Expected an EngineConfig, one of {', '.join(ENGINES)} or an object with "
            f"slots, submit, next and close. Received: engine={engine!r}"
        )
    return engine


def check_arguments(task: Any, trials: int, searcher: str, seed: int, fresh_seeds: int, finalists: int) -> None:
    """Raises `ValueError` for what can be seen to be wrong without loading anything."""
    if isinstance(task, str):
        check_task(task)
    elif not hasattr(task, "train"):
        known = ", ".join(TASKS)
        raise ValueError(f"Invalid value for 'task'. Expected one of {known} or a Task. Received: task={task!r}")
    numbers = (("trials", trials, 1), ("seed", seed, 0), ("fresh_seeds", fresh_seeds, 0), ("finalists", finalists, 1))
    for name, value, minimum in numbers:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise ValueError(f"Invalid value for '{name}'. Expected an integer >= {minimum}. Received: {name}={value}")
    if searcher not in SEARCHERS:
        raise ValueError(f"Invalid value for 'searcher'. Expected one of {', '.join(SEARCHERS)}. Received: {searcher}")
