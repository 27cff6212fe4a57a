"""Real searches, real opponents: does the found PatternSet beat the best equally tuned classic on test data?

For each task: searches with several seeds, each of which ends with the honest table of `run`: the classics tuned
with as many trainings as the search had trials, random PatternSets, TrivialPattern, on ten fresh seeds that all
share. One row a search: the lead over the classic that validation has chosen, over the best classic on test, over
TrivialPattern and over random PatternSets, paired, with a BCa interval and the exact sign-flip p; below it the same
networks on validation. Then the mean of the searches: each fresh seed's lead averaged over the searches, and the test
on these.

    python benchmarks/campaign.py --tasks pydoc --out runs/campaign          # pydoc: about an hour on 2 quiet cores
    python benchmarks/campaign.py --tasks cifar10-small ptb --settings data_dir=../shared/data/... --out runs/campaign

All trials are kept in `--out`, a run for each search, and a stopped campaign goes on where it stopped. The table is
written to benchmarks/campaign.md, a section a task; sections of tasks that this call does not name stay.
"""

import argparse
import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environment import environment

from tf_autodropout.patterns.document import write_text
from tf_autodropout.search import EngineConfig, run
from tf_autodropout.search.core import NO_DROPOUT
from tf_autodropout.search.results.comparison import RANDOM, TRIVIAL, Row, described, verdict
from tf_autodropout.search.results.paired import paired_lead
from tf_autodropout.search.tasks.registry import TASKS, make_task

NONE = NO_DROPOUT
SPLITS = {"test": "", "valid": ", on validation"}


def rivals(rows: Sequence[Row], lower: bool) -> dict[str, Row]:
    """Returns the lines that a found PatternSet has to beat, by what the table calls them."""
    by_name = {row.name: row for row in rows[1:]}
    classics = [row for name, row in by_name.items() if name not in (NONE, RANDOM, TRIVIAL)]
    best = min if lower else max
    found = {
        "tuned classic, by validation": best(classics, key=lambda row: statistics.fmean(row.valid)),
        "best classic on test": best(classics, key=lambda row: row.mean),
    }
    return found | {name: by_name[name] for name in (TRIVIAL, RANDOM, NONE) if name in by_name}


def ahead_by(found: Sequence[float], rival: Sequence[float], lower: bool) -> list[float]:
    """Returns how far the found PatternSet is ahead on each seed."""
    sign = 1 if lower else -1
    return [sign * (b - a) for a, b in zip(found, rival, strict=True)]


def cell(ahead: Sequence[float]) -> str:
    """Returns a lead over the seeds, its interval and p."""
    lead = paired_lead(ahead, [0.0] * len(ahead), False)
    return f"{described(lead)}, p {lead.p:.3g}"


def section(task: str, score: str, lower: bool, searches: dict[int, Sequence[Row]], trials: int, searcher: str) -> str:
    """Returns the Markdown of one task."""
    names = list(rivals(next(iter(searches.values())), lower))
    lines = [
        f"## {task}",
        "",
        f"{environment()} {trials} trials by `{searcher}`, {trials} trainings for the classics; {score}; "
        f"{len(next(iter(searches.values()))[0].test)} fresh seeds. A lead is positive where the found PatternSet is "
        "better: mean of the paired differences [95 %], p of the sign-flip test. On validation the same networks are "
        "measured on the examples by which search and tuning have chosen: what is left of a lead on test was learned "
        "about the task, the rest about these examples.",
        "",
        "| search | found | " + " | ".join(f"lead over {name}" for name in names) + " | verdict |",
        "|---|---:|" + "---:|" * len(names) + "---|",
    ]
    of_all: dict[str, dict[str, list[list[float]]]] = {split: {name: [] for name in names} for split in SPLITS}
    for seed, rows in searches.items():
        for split, where in SPLITS.items():
            cells, mine = [], getattr(rows[0], split)
            for name, rival in rivals(rows, lower).items():
                ahead = ahead_by(mine, getattr(rival, split), lower)
                of_all[split][name].append(ahead)
                cells.append(f"{cell(ahead)} ({rival.name})")
            said = "" if where else f"{verdict(rows, lower)} "
            lines.append(f"| seed {seed}{where} | {statistics.fmean(mine):.2f} | {' | '.join(cells)} | {said}|")
    if len(searches) > 1:
        for split, where in SPLITS.items():
            means = [
                cell([statistics.fmean(column) for column in zip(*of_all[split][name], strict=True)]) for name in names
            ]
            found = statistics.fmean(statistics.fmean(getattr(rows[0], split)) for rows in searches.values())
            lines.append(f"| mean{where} | {found:.2f} | {' | '.join(means)} | |")
    return "\n".join(lines) + "\n"


def write_section(path: Path, task: str, text: str) -> None:
    """Puts a section into the table; the others stay."""
    head = "# Campaigns on real data\n\nBy `benchmarks/campaign.py`, whose docstring says what is measured.\n"
    before = path.read_text("utf-8") if path.exists() else head
    sections = dict(re.findall(r"(?ms)^## (\S+)\n(.*?)(?=^## |\Z)", before))
    sections[task] = text.split("\n", 1)[1].rstrip() + "\n"
    body = "\n".join(f"## {name}\n{content.rstrip()}\n" for name, content in sections.items())
    write_text(path, f"{before.split('## ')[0].rstrip()}\n\n{body}")


def main() -> None:
    """Runs what is missing and writes the table after each search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["pydoc"], choices=list(TASKS))
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of the tasks, JSON or text")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the searches")
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--searcher", default="thompson")
    parser.add_argument("--fresh-seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, help="processes; default: one a core")
    parser.add_argument("--out", type=Path, default=Path("runs/campaign"))
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in options.settings)
    for task in options.tasks:
        given: dict[str, Any] = {name: _value(value) for name, value in settings.items()}
        made = make_task(task, **given)
        searches: dict[int, Sequence[Row]] = {}
        for seed in options.seeds:
            result = run(
                task,
                options.trials,
                options.out / f"{task}-{options.searcher}-{options.trials}-{seed}",
                EngineConfig("processes", workers=options.workers),
                seed=seed,
                settings=given,
                searcher=options.searcher,
                fresh_seeds=options.fresh_seeds,
                progress=lambda words: print(f"  {words}", flush=True),
            )
            searches[seed] = result.rows
            print(f"{task}, seed {seed}: {verdict(result.rows, made.lower_is_better)}", flush=True)
            text = section(task, made.score, made.lower_is_better, searches, options.trials, options.searcher)
            write_section(options.table, task, text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


if __name__ == "__main__":
    main()
