"""The data card of a released table."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tf_autodropout.search.released.benchmark import benchmark
from tf_autodropout.search.released.table import COLUMNS, by_name, read_table

# What each task trains on, by whom, and on what terms; none of it is in the table.
DATA = {
    "pydoc": "The language reference of CPython, as the running Python carries it; Python Software Foundation License.",
    "digits": "Optical Recognition of Handwritten Digits, Alpaydin and Kaynak, through scikit-learn; CC BY 4.0.",
    "cifar10-small": "CIFAR-10, Krizhevsky 2009; its authors name no licence.",
    "ptb": "Penn Treebank as prepared by Mikolov; the text belongs to the Linguistic Data Consortium.",
    "wikitext-2": "WikiText-2, Merity et al. 2017; CC BY-SA.",
    "multi30k": "Multi30k task 1, Elliott et al. 2016; Creative Commons, non-commercial.",
    "iwslt14": "TED talks of IWSLT'14; Creative Commons, non-commercial, no derivatives.",
}
_LIMITS = (
    "A search looks where it expects high rewards: its trials are no uniform sample of the space. `log_prob` is not in "
    "the table, for searchers that have none; random PatternSets are those named so.",
    "Trials have one seed each, by which the best of them are chosen: the highest rewards are in part luck. Use the "
    "means of those with repeats, on seeds that chose nothing: role `fresh`.",
    "Test scores are those of role `fresh` alone. What is tuned by them is tuned on test data.",
    "`valid` of tuning and finalists is computed from the reward, which is all that a ledger keeps of them; seconds "
    "are of the machine at hand and its load, and only of search trials.",
    "Small children on small data: what ranks PatternSets here need not rank them in large networks.",
)


def card(file: Path) -> str:
    """Returns the Markdown of a table: fields, runs, seeds, repeats and noise, licences, limits.

    Args:
        file: That `write_table` wrote.
    """
    rows, about = read_table(file)
    lines = [
        f"# Data card of `{file.name}`",
        "",
        f"{len(rows)} trainings of child networks with dropout patterns, each from scratch: all that the ledgers of "
        f"{len(about)} searches hold. The table is of this project, Apache-2.0 as its code; the data that the children "
        "are trained on are not in it. Made by `benchmarks/released_table.py`.",
        "",
        "Pham and Le, AutoDropout, AAAI 2021, footnote 1, announces such a table; it was never published. These "
        "trials are this project's own, on its own grids.",
        "",
        "## How to ask it",
        "",
        "```python",
        "import pyarrow.parquet as pq",
        "import tf_autodropout as tad",
        "",
        f'recorded = tad.search.benchmark("{rows[0]["task"] if rows else "pydoc"}")  # table="..." for another file',
        "best = max(recorded, key=lambda patterns: recorded[patterns].reward)",
        "print(recorded[best], recorded.noise)",
        "```",
        "",
        f'Without this package: `pyarrow.parquet.read_table("{file.name}")`, or `pandas.read_parquet`; what the runs '
        'are is in the metadata of its schema, under `b"tf_autodropout"`, as JSON.',
        "",
        "## Fields",
        "",
        "| column | type | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in COLUMNS),
        "",
        "## Runs",
        "",
        "| run | searcher | seed | trainings | of these | tf_autodropout |",
        "|---|---|---:|---:|---|---|",
        *(_run(name, own, about[name]) for name, own in by_name(rows, "run")),
        "",
        "Seeds: all derive from the search's own. Tuning and finalists share theirs, the seeds of the race; so do all "
        "lines of the final table, the fresh seeds, which were used for nothing else: both are paired.",
        "",
        "## Repeats and noise",
        "",
        "A PatternSet's trainings on several seeds, whatever their role. Noise: standard deviation of the reward from "
        "seed to seed, pooled.",
        "",
        "| task | PatternSets | with two seeds or more | most seeds | noise of the reward |",
        "|---|---:|---:|---:|---:|",
        *(
            _noise(file, task, json.loads(text))
            for task, text in dict.fromkeys((r["task"], r["settings"]) for r in rows)
        ),
        "",
        "## Tasks, their data and its licence",
        "",
    ]
    for task, own in by_name(rows, "task"):
        lines += [f"- `{task}`: {DATA.get(task, 'a task that does not come with the package.')}"]
        lines += [f"  Settings: `{text}`." for text in dict.fromkeys(row["settings"] for row in own)]
    return "\n".join([*lines, "", "## Known limits", "", *(f"- {limit}" for limit in _LIMITS)]) + "\n"


def _run(name: str, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    roles = ", ".join(f"{count} {role}" for role, count in Counter(row["role"] for row in rows).items())
    fallen = Counter(row["status"] for row in rows if row["status"] != "finished")
    told = roles + "".join(f"; {count} {status}" for status, count in sorted(fallen.items()))
    searcher, seed = about["config"]["searcher"]["name"], about["config"]["seed"]
    return f"| `{name}` | `{searcher}` | {seed} | {len(rows)} | {told} | {rows[0]['version']} |"


def _noise(file: Path, task: str, settings: Mapping[str, Any]) -> str:
    recorded = benchmark(task, file, **settings)
    most = max((len(answer.trainings) for answer in recorded.values()), default=0)
    mean = statistics.fmean(answer.reward for answer in recorded.values())
    return (
        f"| `{task}` | {len(recorded)} | {len(recorded.repeated)} | {most} | "
        f"{_shown(recorded.noise)}, of a mean reward of {mean:.4f} |"
    )


def _shown(noise: float) -> str:
    return "not known" if math.isnan(noise) else f"{noise:.4f}"
