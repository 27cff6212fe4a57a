"""`train_child`: one child outside a search, with its scores on validation and test."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import ConvPattern, PatternSet, patterns_for
from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.core import Opponent, Progress, Task, unheard
from tf_autodropout.search.tasks.registry import make_task

RESULT, PATTERNS = "result.json", "patterns.json"


@dataclass(frozen=True)
class Trained:
    """What a trained child is worth.

    Args:
        score: Name of the test metric.
        valid: Score on the validation split.
        test: Score on the test split.
        curve: Pairs of training steps done and mean loss of the steps since the pair before.
        seconds: Wall time of training and scoring, compilation included.
        samples: What the child makes of a few examples, as texts by name; empty if its task shows none.
    """

    score: str
    valid: float
    test: float
    curve: tuple[tuple[int, float], ...]
    seconds: float
    samples: tuple[Mapping[str, str], ...] = ()


def train_child(
    task: str | Task,
    patterns: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = unheard,
) -> Trained:
    """Trains one child of a task from scratch and scores it on validation and test.

    Args:
        task: Name of a task or a `Task`.
        patterns: Site to pattern, such as a PatternSet; sites left out drop nothing.
        seed: Seeds weights, order of the data and masks.
        out: A new or empty directory for result.json and patterns.json; None writes nothing.
        settings: Settings of a task given by name.
        progress: Called while training with steps done, steps in all and mean loss.

    Raises:
        ValueError: an unknown task, setting or site, a pattern of the wrong kind, a directory that is
            not empty. Nothing has been trained or written then.
        RuntimeError: the training diverged.
    """
    child = make_task(task, **(settings or {}))
    chosen = _fitting(child, patterns)
    directory = None if out is None else _new_directory(Path(out))
    curve: list[tuple[int, float]] = []

    def hear(step: int, steps: int, loss: float) -> None:
        curve.append((step, loss))
        progress(step, steps, loss)

    start = time.perf_counter()
    try:
        scores = child.test(Opponent("child", chosen), seed, hear).metrics
    except FloatingPointError as error:
        raise RuntimeError(f"The child diverged: {error}") from None
    seconds = time.perf_counter() - start
    samples = tuple(child.samples()) if hasattr(child, "samples") else ()
    trained = Trained(child.score, scores["valid"], scores["test"], tuple(curve), seconds, samples)
    if directory:
        document = {"score": trained.score, "valid": trained.valid, "test": trained.test, "seed": seed}
        document |= {"seconds": trained.seconds, "task": child.describe(), "curve": trained.curve}
        document |= {"samples": samples} if samples else {}
        chosen.save(directory / PATTERNS)
        write_text(directory / RESULT, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return trained


def _fitting(task: Task, patterns: Mapping[str, Any] | None) -> PatternSet:
    kinds = {site.name: site.kind for site in task.space.sites}
    chosen = patterns if isinstance(patterns, PatternSet) else PatternSet(patterns or {})
    for name in chosen:
        try:
            patterns_for(list(kinds), kinds.get(name, ConvPattern), {name: chosen[name]})
        except TypeError as error:
            raise ValueError(str(error)) from None
    return chosen


def _new_directory(directory: Path) -> Path:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists and is not an empty directory; name a new one")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
