"""What the page of a run shows, as one JSON document made from the run's directory."""

import functools
import json
import math
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import ConvPattern, Pattern, PatternSet, TransformerPattern
from tf_autodropout.patterns.pattern_set import pattern_from_dict
from tf_autodropout.search.core import Status, Trial
from tf_autodropout.search.ledger import LedgerReader, stored_config
from tf_autodropout.search.page.importance import chance_level, importances
from tf_autodropout.search.results.finalists import best_trial, raced, rewards_of
from tf_autodropout.search.results.log_file import FILE_NAME as LOG
from tf_autodropout.search.results.trial_zero import lead, without_dropout
from tf_autodropout.version import __version__, version_of

BEST, TABLE = "best.json", "table.json"  # what `results.report` writes; that file brings TensorFlow
_MOST_LOG = 300_000  # characters
_MOST_CURVE = 64  # points
_MOST_TEXT = 2000  # characters of one error or metric
_DIGITS, _TIME_DIGITS = 6, 12
_PATTERNS = 2**18  # patterns in memory
_PACKAGES = ("tensorflow", "tensorflow-tpu", "keras")


def document(directory: Path) -> dict[str, Any]:
    """Reads a run, also while it is at work.

    Args:
        directory: Output directory of the run.

    Returns:
        JSON types. Trials are columns; patterns are numbers of a list in which each stands once.

    Raises:
        ValueError: the directory holds no run.
    """
    config = stored_config(directory)
    if config is None:
        raise ValueError(f"{directory} holds no run")
    written = PatternSet.load(directory / BEST).provenance if (directory / BEST).exists() else {}
    reader = LedgerReader(directory)
    try:
        return _collect(directory, reader, config, written)
    finally:
        reader.close()


def _collect(directory: Path, reader: LedgerReader, config: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    arguments, space = reader.arguments(), config["task"]["space"]
    trials, sites, patterns, tokens = _trials(reader, space)
    racing = written.get("finalists", 1)
    best = best_trial(reader, racing)
    finalists = [{"trial": trial.number, "rewards": _rounded(earned)} for trial, earned in raced(reader, racing)]
    table = json.loads((directory / TABLE).read_text("utf-8")) if (directory / TABLE).exists() else None
    if table and (best is None or table.get("trial") != best[0].number):
        table = None  # a search at work has found a better one since
    total, counts = arguments["trials"], {status.value: count for status, count in reader.counts().items()}
    done = sum(count for status, count in counts.items() if status not in (Status.QUEUED, Status.RUNNING))
    wanted = arguments.get("fresh_seeds", 0)
    finished = [i for i, status in enumerate(trials["status"]) if status == Status.FINISHED]
    return {
        "name": directory.resolve().name,
        "task": config["task"]["name"],
        "searcher": config["searcher"]["name"],
        "seed": config["seed"],
        "written": time.time(),
        "total": total,
        "done": done,
        "counts": counts,
        "complete": done >= total and bool(written) and (table is not None or not wanted),
        "sites": sites,
        "patterns": patterns,
        "trials": trials,
        "best": _best(reader, racing, *best) if best else None,
        "finalists": finalists,
        "without": _rounded(without_dropout(reader)) or _dropping_nothing(trials, patterns),
        "updates": _rounded(reader.update_metrics()),
        "decisions": _decisions(space),
        "importance": _importance([tokens[i] for i in finished], [trials["reward"][i] for i in finished]),
        "table": _rounded(table, _TIME_DIGITS),
        "log": _log(directory),
        "config": _rounded(config, _TIME_DIGITS),
        "arguments": _rounded(arguments, _TIME_DIGITS),
        "versions": {"tf_autodropout": __version__}
        | {package: version for package in _PACKAGES if (version := version_of(package))}
        | {"Python": platform.python_version()},
    }


def _best(reader: LedgerReader, racing: int, best: Trial, reward: float) -> dict[str, Any]:
    """Number and reward of the best trial, the number of seeds that this is the mean of, and its lead in words."""
    earned = rewards_of(reader, best)
    seeds = len(earned) if reward == statistics.fmean(earned) else 1
    return {"trial": best.number, "reward": _rounded(reward), "seeds": seeds, "lead": lead(reader, best, racing)}


def _trials(
    reader: LedgerReader, space: dict[str, Any]
) -> tuple[dict[str, list[Any]], list[Any], list[Any], list[Any]]:
    """Returns the trials as columns, the sites in the order of the network, the patterns that occur, the tokens."""
    names = ("number", "status", "reward", "version", "order", "attempts", "worker", "queued", "started", "finished")
    columns: dict[str, list[Any]] = {name: [] for name in (*names, "error", "metrics", "curve", "patterns", "tokens")}
    shapes: dict[str, list[int]] = {}
    known: dict[tuple[str, tuple[int, ...]], int] = {}  # pattern as JSON and shape, to its number
    patterns: list[Any] = []
    tokens = []
    for row in reader.rows():
        chosen = json.loads(row["patterns"])["patterns"]
        shapes = shapes or {site: space["sites"][site] for site in chosen}
        numbers = []
        for site, shape in shapes.items():
            key = (json.dumps(chosen.get(site)), tuple(shape[:-1]))
            if key not in known:
                known[key] = len(patterns)
                patterns.append(_pattern(*key))
            numbers.append(known[key])
        tokens.append(json.loads(row["tokens"]))
        metrics = {name: value for name, value in json.loads(row["metrics"]).items() if name != "error"}
        times = [_rounded(row[f"{moment}_at"], _TIME_DIGITS) for moment in ("queued", "started", "finished")]
        error = row["error"][:_MOST_TEXT] if row["error"] else None
        letters = "".join(_letter(token) for token in tokens[-1])
        values = (
            row["number"], row["status"], _rounded(row["reward"]), row["controller_version"], row["finish_order"],
            row["attempts"], row["worker"], *times, error, _rounded(metrics), _curve(row["learning_curve"]), numbers,
            letters,
        )  # fmt: skip
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns, [{"name": site, "shape": shape} for site, shape in shapes.items()], patterns, tokens


def _dropping_nothing(trials: dict[str, list[Any]], patterns: list[Any]) -> list[float]:
    """The rewards of the finished trials without a pattern."""
    columns = zip(trials["status"], trials["reward"], trials["patterns"], strict=True)
    return [
        reward
        for status, reward, numbers in columns
        if status == Status.FINISHED and all(patterns[number] is None for number in numbers)
    ]


def _importance(tokens: list[list[int]], rewards: list[float]) -> dict[str, Any]:
    found = importances(tokens, rewards)
    return {
        "chance": _rounded(chance_level(tokens, rewards)) if found else None,
        "decisions": [
            {"place": one.place, "share": _rounded(one.share), "means": _rounded(one.means), "counts": one.counts}
            for one in found
        ],
    }


@functools.lru_cache(_PATTERNS)  # for a page that is written again and again
def _pattern(text: str, sizes: tuple[int, ...]) -> list[Any] | None:
    """A pattern as `masks.js` takes it, all lengths in cells, and in words; None for none."""
    fields = json.loads(text)
    if fields is None:
        return None
    pattern: Pattern = pattern_from_dict(fields, "trial")
    words = ", ".join(pattern.summary())
    if pattern.is_identity:
        return None
    pattern = pattern.resolve(sizes)
    drawn = _DRAWN.get(pattern.TYPE)
    return [*drawn(pattern, len(sizes)), words] if drawn else ["other", words]


def _on_map(pattern: Any, axes: int) -> list[Any]:
    lengths = list(pattern.sizes(axes)), list(pattern.strides(axes))
    turn = [pattern.rotate, pattern.shear_x, pattern.shear_y]
    return ["map", *lengths, pattern.repeat, turn, int(pattern.share_c), pattern.rate]


def _on_tokens(pattern: Any, axes: int) -> list[Any]:
    return ["tokens", pattern.size, pattern.stride, int(pattern.share_t), int(pattern.share_c), pattern.rate]


_DRAWN = {ConvPattern.TYPE: _on_map, TransformerPattern.TYPE: _on_tokens}  # by `masks.js`


def _decisions(space: dict[str, Any]) -> list[dict[str, Any]]:
    """Group, token and values of each decision, in the order of a trial's tokens."""
    grid, kinds = space["grid"], space.get("kinds", {})
    decisions = []
    for decision in space["decisions"]:
        group, _, token = decision.rpartition(" ")
        kind = kinds.get(group) or next((one for one in set(kinds.values()) if group.endswith(one)), "")
        values = grid.get(token) or grid.get(f"{kind} {token}") or []
        decisions.append({"group": group, "token": token, "values": values})
    return decisions


def _letter(token: int) -> str:
    """A token as one letter: there are far fewer values than letters."""
    return chr(48 + token)


def _curve(text: str | None) -> list[Any] | None:
    """A learning curve of not too many points."""
    if not text:
        return None
    losses = json.loads(text)
    step = math.ceil(len(losses) / _MOST_CURVE) or 1
    return _rounded([part[-1] for part in (losses[i : i + step] for i in range(0, len(losses), step))], 4)


def _log(directory: Path) -> str:
    """The log, or its end where it is long."""
    if not (directory / LOG).exists():
        return ""
    text = (directory / LOG).read_text("utf-8", errors="replace")
    if len(text) <= _MOST_LOG:
        return text
    cut = text[-_MOST_LOG:].partition("\n")[2]
    return f"... {text.count(chr(10)) - cut.count(chr(10))} lines before these are in {LOG}\n{cut}"


def _rounded(value: Any, digits: int = _DIGITS) -> Any:
    """Numbers with few digits, none that JSON lacks, no endless text: all of it may come from elsewhere."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _rounded(one, digits) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one, digits) for one in value]
    return str(value)[:_MOST_TEXT]
