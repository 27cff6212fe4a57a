"""The table of all trainings of several runs, as one Parquet file."""

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.document import written_beside
from tf_autodropout.search.results.trainings import PastRun, PastTraining

SHIPPED = "trials.parquet"  # beside this file
_KEY = b"tf_autodropout"

# Name, type, meaning.
COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("run", pa.string(), "Name of the run; its settings are in the file's metadata."),
    ("task", pa.string(), "Name of the task."),
    ("settings", pa.string(), "What the task says of data, child and training, as a JSON object."),
    ("searcher", pa.string(), "Name of the searcher."),
    ("search_seed", pa.int64(), "Seed of the search, from which all others of its run derive."),
    (
        "role",
        pa.string(),
        "`trial`: of the search; `tuning`: of the classics; `finalist`: a trial's PatternSet in the race of the best; "
        "`fresh`: for the final table; `trial 0`: no dropout beside a search.",
    ),
    ("name", pa.string(), "What was trained, as the run's table calls it."),
    ("trial", pa.int64(), "Number of the trial whose PatternSet it is; null for opponents."),
    ("training_seed", pa.int64(), "Seed of the training: weights, order of the examples, masks."),
    (
        "status",
        pa.string(),
        "`finished`; `stopped`: ended early; `invalid`: diverged; `failed`: every attempt raised.",
    ),
    ("patterns", pa.string(), "The PatternSet as JSON, for `tf_autodropout.PatternSet.from_json`; null if drawn anew."),
    ("schedule", pa.string(), "Empty; or how patterns change while training, for opponents that do so."),
    ("tokens", pa.list_(pa.int16()), "Index of each decision of the task's space; null for patterns outside of it."),
    ("reward", pa.float64(), "On validation data, more is better; 0 for an invalid one, null for a failed one."),
    ("valid", pa.float64(), "Score on validation data, in units of the test score; null where it is not known."),
    ("test", pa.float64(), "Score on test data; null for all roles but `fresh`: no choice was made by it."),
    ("steps", pa.int64(), "Training steps."),
    ("seconds", pa.float64(), "Of the training and its validation on the machine at hand; null after the search."),
    ("learning_curve", pa.list_(pa.float32()), "Mean training losses of equally many steps each; null after it."),
    ("error", pa.string(), "Why it failed or is invalid."),
    ("version", pa.string(), "Of tf_autodropout, which wrote the ledger."),
)
_SCHEMA = pa.schema([(name, kind) for name, kind, _ in COLUMNS])


def write_table(runs: Sequence[PastRun], file: Path) -> int:
    """Writes all trainings of some runs, one row a training.

    Args:
        runs: What `past_run` has returned.
        file: Parquet file to write: beside its place, then renamed.

    Returns:
        Number of rows.

    Raises:
        ValueError: two runs of one name.
    """
    names = [run.name for run in runs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"Expected runs of different names. Received: {', '.join(sorted(twice))} more than once")
    rows = [_row(run, training) for run in runs for training in run.trainings]
    told = json.dumps({run.name: _about(run) for run in runs}, sort_keys=True)
    table = pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata({_KEY: told}))
    with written_beside(file) as beside:
        pq.write_table(table, beside, compression="zstd", compression_level=19)
    return len(rows)


def read_table(file: Path | None = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns the rows of a table, and what it says of each run: config, sites, score.

    Args:
        file: That `write_table` wrote; None for the one that comes with the package.

    Raises:
        ValueError: no such file, or one without these columns.
    """
    source = files("tf_autodropout.search.released") / SHIPPED if file is None else Path(file)
    try:
        with source.open("rb") as stream:
            table = pq.read_table(stream)
        about = json.loads((table.schema.metadata or {})[_KEY])
        return table.select(_SCHEMA.names).cast(_SCHEMA).to_pylist(), about
    except (OSError, KeyError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise ValueError(f"Expected '{source}' to be a released table. Received: {error}") from None


def _row(run: PastRun, training: PastTraining) -> dict[str, Any]:
    own = {name: getattr(training, name) for name in ("role", "name", "trial", "schedule", "reward", "valid", "test")}
    own |= {name: getattr(training, name) for name in ("steps", "seconds", "tokens", "error")}
    return own | {
        "run": run.name,
        "task": run.settings["name"],
        "settings": json.dumps(run.settings, sort_keys=True),
        "searcher": run.config["searcher"]["name"],
        "search_seed": run.config["seed"],
        "training_seed": training.seed,
        "status": training.status.value,
        # Without its provenance, which is the row.
        "patterns": None if training.patterns is None else PatternSet(training.patterns).to_json(),
        "learning_curve": training.curve,
        "version": run.version,
    }


def _about(run: PastRun) -> dict[str, Any]:
    """What the rows of a run have in common, its space among it: the config names sites, not what they share."""
    space = run.task.space
    sites = [[site.name, site.kind.TYPE, list(site.shape), site.block, site.stage] for site in space.sites]
    return {
        "config": run.config,
        "sites": sites,
        "granularity": space.granularity,
        "score": run.task.score,
        "lower_is_better": run.task.lower_is_better,
    }


def by_name(rows: Sequence[dict[str, Any]], column: str) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Yields each value of a column and its rows, in the order in which they first occur."""
    for value in dict.fromkeys(row[column] for row in rows):
        yield value, [row for row in rows if row[column] == value]
