"""Makes the released table and its data card from the ledgers of campaigns.

    python benchmarks/released_table.py runs/campaign            # all runs in it; seconds

Every directory below the given ones that holds a ledger is a run; runs that are at work may be read, what is
unfinished in them is left out. Tasks are made to know their sites, so their data must be where the runs had it. The
table goes to search/released/trials.parquet, from where `tad.search.benchmark` answers, with the card beside it; both
come with the package.
"""

import argparse
from pathlib import Path

from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.ledger import FILE_NAME
from tf_autodropout.search.released.card import card
from tf_autodropout.search.released.table import SHIPPED, write_table
from tf_autodropout.search.results.trainings import PastRun, past_run

PLACE = Path(__file__).parents[1] / "search" / "released" / SHIPPED
LARGEST = 1_000_000  # bytes: it is in the repository and in every wheel


def runs_in(directories: list[Path]) -> list[PastRun]:
    """Returns the runs in some directories, or below them, by name; those of surrogates are no trainings."""
    found = sorted({file.parent for one in directories for file in one.rglob(FILE_NAME)}, key=lambda place: place.name)
    if not found:
        raise SystemExit(f"Expected runs in {', '.join(map(str, directories))}. Found no {FILE_NAME}")
    runs = [past_run(place) for place in found]
    return [run for run in runs if run.settings["name"] != "tabular" and run.trainings]


def make_table(runs: list[PastRun], file: Path) -> None:
    """Writes table and card."""
    rows = write_table(runs, file)
    write_text(file.with_name(f"{file.name}.md"), card(file))
    size = file.stat().st_size
    print(f"{file}: {rows} trainings of {len(runs)} runs, {size / 1000:.0f} kB")
    if size > LARGEST:
        raise SystemExit(f"Expected a table of at most {LARGEST} bytes: leave out the oldest runs")


def main() -> None:
    """Writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path, help="runs, or directories of runs")
    parser.add_argument("--table", type=Path, default=PLACE)
    options = parser.parse_args()
    make_table(runs_in(options.directories), options.table)


if __name__ == "__main__":
    main()
