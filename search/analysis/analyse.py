"""`analyse`: retrains the variations of what a run has found on paired seeds, as a table and a picture."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import check_int
from tf_autodropout.patterns.document import write_text
from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.analysis.common import in_common
from tf_autodropout.search.analysis.table import picture, table
from tf_autodropout.search.analysis.variations import FOUND, variations
from tf_autodropout.search.core import Engine, Opponent, Task
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.ledger import Ledger, LedgerError, check_config, digest, storage_errors, stored_config
from tf_autodropout.search.results.comparison import Row, leads, scored
from tf_autodropout.search.results.curve import save_figure
from tf_autodropout.search.results.finalists import acting, contenders
from tf_autodropout.search.results.report import BEST, as_json
from tf_autodropout.search.results.trainings import ANALYSED
from tf_autodropout.search.run_search import task_identity
from tf_autodropout.search.tasks.registry import make_task

TABLE, PICTURE, SCORES = "analysis.md", "analysis.png", "analysis.json"
_BEST = 10  # PatternSets that count as the best: of trials that were trained to their end


def analyse(
    directory: str | Path, seeds: int = 3, task: Task | None = None, tell: Callable[[str], None] = lambda text: None
) -> dict[str, list[float]]:
    """Analyses the best PatternSet of a finished run; goes on where an earlier call has stopped.

    The variations are trained in this process, in the precision of the run.

    Args:
        directory: Of the run; its `analysis.md`, `analysis.png` and `analysis.json` are written there. Each training is
            in its ledger as soon as it is there, and is not trained again.
        seeds: Trainings of each variation; all variations have the same seeds, which no trial has had.
        task: The task of a run that was made with a task of one's own; else the run knows it.
        tell: Told of each training.

    Returns:
        Test scores of each variation, one a seed; NaN where the training diverged.

    Raises:
        ValueError: not a run, a run without a best PatternSet, or with a task of its own that is not given.
            `LedgerError`, a `ValueError`: a search or another analysis is at work there, nothing can be written, or
            `task` is not that of the run.
        RuntimeError: a training failed twice; the same call goes on with it. `StorageError`, a `RuntimeError`: the disk
            is full.
    """
    check_int("seeds", seeds, 1)
    directory = Path(directory)
    config = stored_config(directory)
    if config is None:
        raise LedgerError(f"{directory} holds no run")
    ledger = Ledger(directory, config)
    try:
        with storage_errors(directory):
            return _analyse(directory, ledger, config, seeds, task, tell)
    finally:
        ledger.close()


def _analyse(
    directory: Path,
    ledger: Ledger,
    config: Mapping[str, Any],
    seeds: int,
    task: Task | None,
    tell: Callable[[str], None],
) -> dict[str, list[float]]:
    arguments = ledger.arguments()
    if not (directory / BEST).is_file():
        raise ValueError(f"{directory} has no {BEST}: end the search first, with tf-autodropout resume {directory}")
    if task is None and arguments.get("task") is None:
        raise ValueError(f"{directory} was searched with a task of your own: give it as 'task', from Python")
    where = EngineConfig(precision=arguments.get("precision", "float32"))
    placement = where.prepare()
    make = partial(make_task, arguments["task"] if task is None else task, **arguments["settings"])
    task = make()
    with placement.scope():  # a task may have to build its child to know its sites
        space = task.space
    check_config(directory, {"task": config["task"]}, {"task": task_identity(task, where)})
    best = [trial.patterns for trial in contenders(ledger, _BEST)]
    every = list(dict.fromkeys(acting(trial.patterns) for trial in ledger.trials() if trial.reward is not None))
    common = in_common(best, every, space)
    found = PatternSet.load(directory / BEST)
    sets = variations(found, space)
    engine = where.start(make, task, placement)
    try:
        rows = _train(engine, ledger, sets, [site_seed(0, "analysis", index) for index in range(seeds)], tell)
    finally:
        engine.close()
    pairs = leads(rows, task.lower_is_better)
    title = (
        f"What the best PatternSet of {task.name}, trial {found.provenance.get('trial')}, owes to which of its parts"
    )
    counted = f"{len(best)} best of {len(every)}"
    document = {"score": task.score, "lower_is_better": task.lower_is_better} | as_json(rows, pairs)
    document["patterns"] = {name: json.loads(patterns.to_json()) for name, patterns in sets.items()}
    write_text(directory / SCORES, json.dumps(document, indent=2, allow_nan=False) + "\n")
    write_text(directory / TABLE, table(title, task.score, sets[FOUND], rows, pairs, space, common, counted))
    save_figure(picture(title, task.score, rows, pairs), directory / PICTURE)
    return {row.name: list(row.test) for row in rows}


def _train(
    engine: Engine, ledger: Ledger, sets: Mapping[str, PatternSet], seeds: Sequence[int], tell: Callable[[str], None]
) -> list[Row]:
    # By its patterns, so that nothing of an earlier best PatternSet is taken for that of this one.
    keys = [f"{ANALYSED}{digest(patterns.to_json())}" for patterns in sets.values()]

    def begin(name: str) -> None:
        made = sum(ledger.evaluation(key, index) is not None for key in keys for index in range(len(seeds)))
        tell(f"{name}, training {made + 1} of {len(keys) * len(seeds)}")

    lines = [[Opponent(name, patterns)] * len(seeds) for name, patterns in sets.items()]
    return scored(engine, ledger, keys, lines, seeds, begin)
