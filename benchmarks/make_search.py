"""How often does `make search` name a winner, and how long does it take? Its search on other seeds.

    python benchmarks/make_search.py --out runs/make_search        # ten seeds: 75 minutes on two quiet cores
    python benchmarks/make_search.py --seeds 0 1                   # what is in --out stays in the table

Each is `make search SEED=...`: 32 trials of `pydoc` by the default searcher in two processes, the classics tuned with
as many trainings, ten fresh seeds. The time is that of the log, from its first line to its last: a search that was
stopped, or had other work beside it, says more than it took. Results: `benchmarks/make_search.md`.
"""

import argparse
import json
import re
from datetime import datetime
from pathlib import Path

from environment import environment

from tf_autodropout.patterns.document import write_text
from tf_autodropout.search import EngineConfig, run
from tf_autodropout.search.results.comparison import Row, leads, verdict
from tf_autodropout.search.results.log_file import FILE_NAME
from tf_autodropout.search.results.report import ROWS

TRIALS, WORKERS, FRESH, WINS = 32, 2, 10, "The best PatternSet leads all"


def minutes(log: Path) -> str:
    """Returns the time from the first line of a log to its last, as minutes and seconds."""
    times = re.findall(r"(?m)^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", log.read_text("utf-8"))
    seconds = int((datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0])).total_seconds())
    return f"{seconds // 60}:{seconds % 60:02}"


def main() -> None:
    """Runs the seeds that are asked for, and writes the table of all that have ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(10)))
    parser.add_argument("--out", type=Path, default=Path("runs/make_search"))
    options = parser.parse_args()
    for seed in options.seeds:
        engine = EngineConfig("processes", workers=WORKERS)
        run("pydoc", TRIALS, options.out / str(seed), engine, seed=seed, fresh_seeds=FRESH)
    ended = sorted((path.parent for path in options.out.glob(f"*/{ROWS}")), key=lambda path: int(path.name))
    lines, wins = [], 0
    for directory in ended:
        table = json.loads((directory / ROWS).read_text("utf-8"))
        rows, lower = (
            [Row.of(row["name"], row["valid"], row["test"]) for row in table["rows"]],
            table["lower_is_better"],
        )
        said = verdict(rows, lower)
        wins += said.startswith(WINS)
        rival, lead = min(zip(rows[1:], leads(rows, lower), strict=True), key=lambda pair: pair[1].mean)
        ahead = f"{lead.mean:+.2f} [{lead.low:+.2f}, {lead.high:+.2f}], p {lead.p:.3g}"
        leading, time = "yes" if said.startswith(WINS) else "no", minutes(directory / FILE_NAME)
        lines.append(f"| {directory.name} | {rows[0].mean:.2f} | {rival.name} | {ahead} | {leading} | {time} |")
    text = [
        "# `make search` on several seeds",
        "",
        "What is measured, and how: the docstring of `make_search.py`, whose command made this.",
        "",
        f"{environment()} A winner in {wins} of {len(ended)} seeds.",
        "",
        "| seed | best PatternSet, test perplexity | closest opponent | lead over it | leads all | time |",
        "|---:|---:|---|---:|---|---:|",
        *lines,
        "",
    ]
    write_text(Path(__file__).with_suffix(".md"), "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
