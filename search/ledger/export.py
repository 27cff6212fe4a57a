"""The table of all trials as one Parquet file, with a data card beside it."""

import itertools
import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tf_autodropout.patterns.document import FORMAT_VERSION, write_text, written_beside
from tf_autodropout.search.core import LEARNING_CURVE
from tf_autodropout.search.ledger import SCHEMA_VERSION, LedgerError, LedgerReader, stored_config
from tf_autodropout.version import __version__, version_of

_TIME = pa.timestamp("us", "UTC")
_GROUP = 1024  # trials in memory at once
_PACKAGES = ("tensorflow", "tensorflow-tpu", "keras", "pyarrow")

# Name, type, meaning. The names are those of the ledger.
COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("number", pa.int64(), "Number of the trial, from 1 in the order of suggestion."),
    ("tokens", pa.list_(pa.int32()), "Index of the value chosen for each decision, in the order listed below."),
    ("patterns", pa.string(), "The PatternSet as JSON, for `tf_autodropout.PatternSet.from_json`."),
    (
        "status",
        pa.string(),
        "`finished`; `stopped`: ended early; `failed`: every attempt raised; `invalid`: diverged; `queued`, `running`.",
    ),
    (
        "reward",
        pa.float64(),
        "On validation data, more is better; for a stopped trial the one to be expected at its end, 0 for an invalid "
        "one, null for a failed or unfinished one.",
    ),
    (
        "log_prob",
        pa.float64(),
        "Behaviour log-probability (natural logarithm): of the tokens under the searcher that suggested them.",
    ),
    ("controller_version", pa.int64(), "Number of updates the searcher had made when it suggested the trial."),
    ("consumed_by", pa.int64(), "Number of the update that learned from the trial; null if none did."),
    ("finish_order", pa.int64(), "Place in the order of finishing, from 1; null if unfinished."),
    ("queued_at", _TIME, "When the trial was suggested (UTC)."),
    ("started_at", _TIME, "When its last attempt began (UTC); null if none did."),
    ("finished_at", _TIME, "When its outcome was written (UTC); null if unfinished."),
    ("attempts", pa.int64(), "How often its training began, those included that ended with the search's own process."),
    ("failures", pa.int64(), "How many attempts failed."),
    ("error", pa.string(), "Reason of the last failed or invalid attempt; null if none was."),
    ("worker", pa.string(), "Where the last attempt ran; null: in the search's own process."),
    ("learning_curve", pa.list_(pa.float64()), f"`{LEARNING_CURVE}`: mean training loss of equally many steps each."),
    ("metrics", pa.string(), "Everything else the task reported, as a JSON object."),
)
_SCHEMA = pa.schema([(name, kind) for name, kind, _ in COLUMNS])
_DECODE: dict[str, Callable[[Any], Any]] = {
    "tokens": json.loads,
    "learning_curve": json.loads,
    "queued_at": lambda seconds: round(1e6 * seconds),
    "started_at": lambda seconds: round(1e6 * seconds),
    "finished_at": lambda seconds: round(1e6 * seconds),
}


def export_trials(directory: Path, file: Path) -> tuple[int, Path]:
    """Writes all trials of a run, also while it is at work: one row a trial, as of one moment.

    Args:
        directory: Output directory of the run.
        file: Parquet file to write; the data card goes to its name with `.md` added.

    Returns:
        Number of trials and path of the card.

    Raises:
        ValueError: a file whose name does not end in `.parquet` or whose directory does not exist.
            `LedgerError`, a `ValueError`: the directory holds no run.

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, footnote 1, announces such a table; it was never published.
    """
    if file.suffix != ".parquet" or not file.parent.is_dir():
        raise ValueError(f"cannot write to {file}: expected a .parquet file in a directory that exists")
    config = stored_config(directory)
    reader = LedgerReader(directory)  # refuses a directory without a run
    assert config is not None
    try:
        count, statuses = _write_table(reader, file, config)
    finally:
        reader.close()
    card = file.with_name(f"{file.name}.md")
    write_text(card, _card(file.name, statuses, config))
    return count, card


def _write_table(reader: LedgerReader, file: Path, config: Mapping[str, Any]) -> tuple[int, dict[str, int]]:
    statuses: dict[str, int] = {}
    schema = _SCHEMA.with_metadata({"tf_autodropout": json.dumps(config)})
    with written_beside(file) as beside, pq.ParquetWriter(beside, schema, compression="zstd") as writer:
        rows = reader.rows()
        while group := list(itertools.islice(rows, _GROUP)):
            for row in group:
                statuses[row["status"]] = statuses.get(row["status"], 0) + 1
            try:
                columns = {name: [_cell(name, row[name]) for row in group] for name in _SCHEMA.names}
                table = pa.table(columns, schema=schema)
            except (ValueError, TypeError, OverflowError) as error:  # ArrowInvalid is a ValueError
                numbers = f"{group[0]['number']} to {group[-1]['number']}"
                raise LedgerError(
                    f"the ledger is damaged: a value of trials {numbers} is none that a search writes ({error})"
                ) from error
            writer.write_table(table)
    return sum(statuses.values()), statuses


def _cell(name: str, value: Any) -> Any:
    return value if value is None or name not in _DECODE else _DECODE[name](value)


def _card(name: str, statuses: Mapping[str, int], config: Mapping[str, Any]) -> str:
    """The data card: what the table holds, how it came about, how to read it."""
    task = dict(config["task"])
    space = task.pop("space")
    installed = {"tf_autodropout": __version__} | {package: version_of(package) for package in _PACKAGES}
    versions = ", ".join(f"{package} {version}" for package, version in installed.items() if version)
    lines = [
        f"# Data card of `{name}`",
        "",
        f"{sum(statuses.values())} trials of a search for dropout patterns: "
        f"{', '.join(f'{count} {status}' for status, count in sorted(statuses.items())) or 'none yet'}. "
        "Each is one child network, trained from scratch with one PatternSet and scored on validation data; "
        "test data took no part.",
        "",
        "## How to load it",
        "",
        "```python",
        "import pyarrow.parquet as pq",
        "import tf_autodropout as tad",
        "",
        f'trials = pq.read_table("{name}").to_pylist()  # or pandas.read_parquet',
        'best = max((t for t in trials if t["status"] == "finished"), key=lambda t: t["reward"])',
        'patterns = tad.PatternSet.from_json(best["patterns"])',
        "```",
        "",
        "The run's settings are in the file too, as JSON:",
        '`pyarrow.parquet.read_schema(FILE).metadata[b"tf_autodropout"]`.',
        "",
        "## Columns",
        "",
        "| column | type | meaning |",
        "|---|---|---|",
        *(f"| `{column}` | {kind} | {meaning} |" for column, kind, meaning in COLUMNS),
        "",
        "## The search",
        "",
        *(f"- {key}: `{json.dumps(config[key], sort_keys=True)}`" for key in sorted(config.keys() - {"task"})),
        f"- task: `{json.dumps(task, sort_keys=True)}`",
        f"- space: version {space['version']}, {space['kind']}, one decision a {space['granularity']} and token",
        f"- written with {versions}, Python {platform.python_version()}; ledger schema {SCHEMA_VERSION}, "
        f"PatternSet format {FORMAT_VERSION}",
        "",
        "## Sites",
        "",
        "Shapes are without the batch: `(H, W, C)` of a map, `(T, C)` of a Transformer's tokens and features. At "
        "`softmax`, on attention probabilities, the tokens are the keys and the features are heads and queries.",
        "",
        "| site | shape |",
        "|---|---|",
        *(f"| `{site}` | {tuple(shape)} |" for site, shape in space["sites"].items()),
        "",
        "## Values of each token",
        "",
        "Sizes and strides of ConvPatterns are fractions of a map's smaller side, those of TransformerPatterns are "
        "in tokens. The grids are this project's own: the paper's are in an appendix that is not public.",
        "",
        "| token | values, index 0 first |",
        "|---|---|",
        *(f"| `{token}` | {', '.join(map(str, values))} |" for token, values in space["grid"].items()),
        "",
        "## Decisions, in the order of `tokens`",
        "",
        *(f"{place}. `{decision}`" for place, decision in enumerate(space["decisions"])),
    ]
    return "\n".join(lines) + "\n"
