"""`run`: a whole search with its files, in one call."""

import contextlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import check_int
from tf_autodropout.search.core import Engine, Observer, Searcher, Task
from tf_autodropout.search.engines.config import ENGINES, EngineConfig
from tf_autodropout.search.halving import Halving
from tf_autodropout.search.ledger import (
    FILE_NAME,
    Ledger,
    LedgerError,
    LedgerReader,
    check_config,
    check_directory,
    storage_errors,
    stored_config,
)
from tf_autodropout.search.loop import BATCH, Observers, search_loop
from tf_autodropout.search.results import report
from tf_autodropout.search.results.comparison import Row, compare, opponents_of
from tf_autodropout.search.results.curve import write_curve
from tf_autodropout.search.results.finalists import best_trial, confirm, rewards_of
from tf_autodropout.search.results.log_file import log_file
from tf_autodropout.search.results.tensorboard import TensorBoard, add_picture
from tf_autodropout.search.results.trial_zero import lead, train_trial_zero
from tf_autodropout.search.search_config import SearchConfig
from tf_autodropout.search.tasks.registry import TASKS, check_task, make_task
from tf_autodropout.tensorflow_only import check_tensorflow

EVENTS = "tensorboard"


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
    config: SearchConfig | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    retry_failed: bool = False,
    observers: Sequence[Observer] = (),
    progress: Callable[[str], None] = lambda name: None,
    **choices: Any,
) -> Search:
    """Searches patterns for a task; goes on where an earlier call with the same arguments stopped.

    Args:
        task: Name of a task, one of `TASKS`, or a `Task`.
        trials: Number of trials of the whole run.
        out: Output directory: ledger, log.txt, best.json, pictures, table, TensorBoard events.
        engine: Where and how trials are trained, as an `EngineConfig`, the name of one of its engines or an engine of
            one's own; default: one after the other in this process.
        config: How it searches; default: `SearchConfig()`.
        seed: Seeds everything.
        settings: Settings of a task given by name.
        retry_failed: Take up again the trials that have failed, once their fault is mended.
        observers: Hear of everything that happens.
        progress: Called with a few words on what is retrained, before each training after the search.
        **choices: Fields of `SearchConfig`, instead of `config`, such as `searcher="thompson"`.

    Returns:
        `Search`.

    Raises:
        ValueError: an unknown task, setting or searcher, a number out of range. `LedgerError`, a
            `ValueError`: the directory cannot serve this run. Nothing on disk has changed then.
        TypeError: `choices` that `SearchConfig` does not have.
        NotImplementedError: Keras runs on another backend than TensorFlow.
        RuntimeError: no trial has finished: all failed or diverged; three trials in a row failed with the same error; a
            training after the search failed twice. `StorageError`, a `RuntimeError`: the disk is full; the same call
            goes on once there is room.

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
    check_tensorflow("The search")
    directory = Path(out)
    check_arguments(task, trials, seed)
    chosen = _chosen(config, choices)
    check_directory(directory)
    where = _engine_config(engine)
    if where.follows:
        raise ValueError(
            "This process trains along with the first worker of its strategy, by its TF_CONFIG: here call "
            "search.engines.multi_worker.follow, or the command line"
        )
    placement = where.prepare()
    make = partial(make_task, task, **(settings or {}))
    child = make()
    with placement.scope():  # a task may have to build its child to know its sites
        space = child.space
    method, judge = chosen.make(space, seed), chosen.judge(seed)
    if judge and "rungs" not in inspect.signature(child.train).parameters:
        raise ValueError(f"Invalid value for 'halving'. The task {child.name} cannot end a training early")
    identity = _identity(child, method, judge, chosen, where, seed)
    arguments = {
        "task": task if isinstance(task, str) else None,
        "trials": trials,
        "seed": seed,
        "settings": dict(settings or {}),
        "precision": where.precision,
    } | chosen.to_dict()
    _check_beginning(directory, identity, chosen)
    ledger = Ledger(directory, identity, arguments)
    try:
        if retry_failed:
            ledger.retry_failed()
        with storage_errors(directory), log_file(directory) as log, contextlib.ExitStack() as closing:
            log.info("search on %s: %d trials by %s, seed %d", child.name, trials, identity["searcher"]["name"], seed)
            if ledger.recovered:
                log.warning("%s", ledger.recovered)
            workers = engine if isinstance(engine, Engine) else where.start(make, child, placement)
            closing.callback(workers.close)
            if chosen.trial_zero:
                train_trial_zero(workers, ledger, seed, progress)
            heard = Observers([TensorBoard(directory / EVENTS, space), *observers])
            try:
                search_loop(
                    method,
                    ledger,
                    workers,
                    child.space.decode,
                    trials,
                    chosen.capacity,
                    chosen.updates_after,
                    heard,
                    judge,
                    seed,
                )
            finally:
                heard.close()
            counts = ledger.counts()
            log.info("all trials are final: %s", ", ".join(f"{count} {status}" for status, count in counts.items()))
            confirm(workers, ledger, seed, chosen.finalists, progress)
            found = best_trial(ledger, chosen.finalists)
            if chosen.trial_zero:
                paired = len(rewards_of(ledger, found[0])) if found and chosen.finalists > 1 else 0
                train_trial_zero(workers, ledger, seed, progress, paired)
            if found is None:
                raise RuntimeError(f"No trial has finished. The last one: {ledger.last_error()}")
            identity = json.loads(json.dumps(identity))
            best, reward = found
            report.drop_table_of_another(directory, best)
            patterns = report.write_best(directory, best, reward, chosen.finalists, identity)
            add_picture(directory / EVENTS, directory / report.PICTURE, sum(counts.values()))
            write_curve(directory, ledger, chosen.finalists)
            rows, tuning = [], trials if chosen.tuning is None else chosen.tuning
            if chosen.fresh_seeds:
                opponents = opponents_of(workers, ledger, child, tuning, chosen.finalists, seed, progress)
                if opponents:
                    rows = compare(workers, opponents, ledger, best, space, seed, chosen.fresh_seeds, progress)
                    report.write_table(
                        directory, ledger, best, rows, child.score, child.lower_is_better, identity, tuning
                    )
            log.info("the best PatternSet is that of trial %d, reward %.6g", best.number, reward)
            if chance := lead(ledger, best, chosen.finalists):
                log.info("%s", chance)
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


def _chosen(config: Any, choices: dict[str, Any]) -> SearchConfig:
    """Returns the config, or the one that has these fields."""
    known = [field.name for field in fields(SearchConfig)]
    if unknown := sorted(choices.keys() - set(known)):
        raise TypeError(f"run() got an unexpected argument '{unknown[0]}'. Fields of SearchConfig: {', '.join(known)}")
    if config is None:
        return SearchConfig(**choices)
    if not isinstance(config, SearchConfig) or choices:
        raise ValueError(f"Expected 'config' to be a SearchConfig, without {', '.join(choices) or 'others'} beside it.")
    return config


def _identity(
    task: Task, searcher: Searcher, judge: Halving | None, chosen: SearchConfig, where: EngineConfig, seed: int
) -> dict[str, Any]:
    """Returns what identifies a run, as JSON types."""
    return {
        "task": task_identity(task, where),
        "searcher": searcher.describe(),
        "seed": seed,
        "capacity": chosen.capacity or BATCH,  # the default grows with the engine
        "batch": chosen.updates_after,
    } | ({"halving": judge.describe()} if judge else {})


def _check_beginning(directory: Path, identity: dict[str, Any], chosen: SearchConfig) -> None:
    """Names the option by which a run has begun with other PatternSets; what identifies it has only their number."""
    stored = stored_config(directory) if (directory / FILE_NAME).exists() else None
    if stored is None or stored.get("searcher", {}).get("first") == identity["searcher"].get("first"):
        return
    rest = [one | {"searcher": one.get("searcher", {}) | {"first": None}} for one in (stored, identity)]
    check_config(directory, *rest)  # another task, say, tells more
    reader = LedgerReader(directory)
    try:
        before = reader.arguments()
    finally:
        reader.close()
    for name in ("trial_zero", "warm_start"):
        has, came = before.get(name, False), getattr(chosen, name)
        if has != came:
            raise LedgerError(
                f"Invalid value for '{name}' (--{name.replace('_', '-')}). Expected {has}, with which the run in "
                f"{directory} has begun. Received: {name}={came}"
            )


def task_identity(task: Task, where: EngineConfig) -> dict[str, Any]:
    """Returns what a run holds of its task, as JSON types.

    Args:
        task: Of the run.
        where: Of which the precision counts, but not the strategy: a run may go on with other machines.
    """
    space = task.space.describe() | {"decisions": [f"{d.group} {d.token}" for d in task.space.decisions]}
    precision = {} if where.precision == "float32" else {"precision": where.precision}
    return task.describe() | precision | {"space": space}


def check_arguments(task: Any, trials: int, seed: int) -> None:
    """Raises `ValueError` for what can be seen to be wrong without loading anything."""
    if isinstance(task, str):
        check_task(task)
    elif not hasattr(task, "train"):
        known = ", ".join(TASKS)
        raise ValueError(
            f"Invalid value for 'task'. Expected one of {known} or a Task; for a Keras model there is tad.AutoDropout. "
            f"Received: task={task!r}"
        )
    check_int("trials", trials, 1)
    check_int("seed", seed, 0)
