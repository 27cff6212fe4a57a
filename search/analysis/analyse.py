"""`analyse`: retrains the variations of what a run has found on paired seeds, as a table and a picture."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import check_int
from tf_autodropout.patterns.document import write_text
from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.analysis.common import Common, in_common
from tf_autodropout.search.analysis.variations import FOUND, variations
from tf_autodropout.search.core import Engine, Opponent, Task
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.ledger import Ledger, LedgerError, check_config, digest, storage_errors, stored_config
from tf_autodropout.search.results.comparison import Row, scored
from tf_autodropout.search.results.curve import save_figure
from tf_autodropout.search.results.finalists import contenders
from tf_autodropout.search.results.paired import Lead, paired_lead
from tf_autodropout.search.results.report import BEST
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
    make = partial(make_task, task or arguments["task"], **arguments["settings"])
    task = make()
    with placement.scope():  # a task may have to build its child to know its sites
        space = task.space
    check_config(directory, {"task": config["task"]}, {"task": task_identity(task, where)})
    best = [trial.patterns for trial in contenders(ledger, _BEST)]
    every = list(dict.fromkeys(trial.patterns for trial in ledger.trials() if trial.reward is not None))
    common = in_common(best, every, space)
    sets = variations(PatternSet.load(directory / BEST), space)
    engine = where.start(make, task, placement)
    try:
        rows = _train(engine, ledger, sets, [site_seed(0, "analysis", index) for index in range(seeds)], tell)
    finally:
        engine.close()
    scores = {row.name: list(row.test) for row in rows}
    leads = {
        name: paired_lead(own, scores[FOUND], task.lower_is_better) for name, own in scores.items() if name != FOUND
    }
    write_text(directory / SCORES, json.dumps(_document(sets, rows), indent=1) + "\n")
    write_text(directory / TABLE, _table(task, sets, scores, leads, common, len(best), len(every)))
    save_figure(_picture(task, leads), directory / PICTURE)
    return scores


def _train(
    engine: Engine, ledger: Ledger, sets: Mapping[str, PatternSet], seeds: Sequence[int], tell: Callable[[str], None]
) -> list[Row]:
    # By its patterns, so that nothing of an earlier best PatternSet is taken for that of this one.
    keys = [f"analysis {digest(patterns.to_json())}" for patterns in sets.values()]

    def begin(name: str) -> None:
        made = sum(ledger.evaluation(key, index) is not None for key in keys for index in range(len(seeds)))
        tell(f"{name}, training {made + 1} of {len(keys) * len(seeds)}")

    lines = [[Opponent(name, patterns)] * len(seeds) for name, patterns in sets.items()]
    return scored(engine, ledger, keys, lines, seeds, begin)


def _document(sets: Mapping[str, PatternSet], rows: Sequence[Row]) -> dict[str, dict[str, object]]:
    return {
        row.name: {
            "patterns": sets[row.name].to_json(),
            "test": [None if math.isnan(score) else score for score in row.test],
        }
        for row in rows
    }


def _table(
    task: Task,
    sets: Mapping[str, PatternSet],
    scores: Mapping[str, Sequence[float]],
    leads: Mapping[str, Lead],
    common: Sequence[Common],
    best: int,
    count: int,
) -> str:
    lines = [
        f"# What the best PatternSet of {task.name} owes to which of its parts",
        "",
        f"{task.score}, mean over {len(scores[FOUND])} paired seeds; brackets are 95 % bootstrap intervals of the "
        "paired difference, below 0 where the variation is worse than the set as it was found.",
        "",
        f"| variation | sites | {task.score} | against as found | p |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, own in scores.items():
        mean = "diverged" if math.isnan(sum(own)) else f"{sum(own) / len(own):.2f}"
        ahead = "| " if name == FOUND else f"{_signed(leads[name])} | {leads[name].p:.3f}"
        lines.append(f"| {name} | {len(sets[name])} | {mean} | {ahead} |")
    lines += [
        "",
        f"## What the {best} best of {count} PatternSets have in common",
        "",
        "| sites | of the best drop there | of all | most of the best resemble |",
        "|---|---:|---:|---|",
        *(f"| {row.group} | {row.best:.0%} | {row.all:.0%} | {row.resembles} |" for row in common),
        "",
    ]
    return "\n".join(lines)


def _signed(lead: Lead) -> str:
    if math.isnan(lead.mean):
        return "-"
    interval = "" if math.isnan(lead.low) else f" ({lead.low:+.2f} to {lead.high:+.2f})"
    return f"{lead.mean:+.2f}{interval}"


def _picture(task: Task, leads: Mapping[str, Lead]) -> Figure:
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(leads)), layout="constrained")
    axes = figure.subplots()
    for place, lead in enumerate(leads.values()):
        if not math.isnan(lead.low):
            axes.plot([lead.low, lead.high], [place, place], color="0.5", linewidth=2)
        axes.plot(lead.mean, place, "o", color="C0" if lead.mean < 0 else "C1")
    axes.axvline(0, color="0.8", linewidth=1, zorder=0)
    axes.set_yticks(range(len(leads)), list(leads))
    axes.invert_yaxis()
    axes.set_xlabel(f"ahead of the set as it was found, {task.score} (paired, 95 %)")
    return figure
