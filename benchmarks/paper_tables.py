"""The paper's four tables beside what was run here, as one page.

Trains nothing by itself: `tf-autodropout reproduce` does. It collects the results of any number of its directories.

    tf-autodropout reproduce table1 --rows 'cifar10/*' --scale small --seeds 3 --data-dir D --out runs/table1
    python benchmarks/paper_tables.py runs/table1 runs/table4 --scale small --table benchmarks/paper_tables.md

Results: `benchmarks/paper_tables.md`.
"""

import argparse
from pathlib import Path

from environment import environment

from tf_autodropout.search.recipes.paper_table import head, table_lines
from tf_autodropout.search.recipes.registry import RECIPES, TABLES, of_table
from tf_autodropout.search.recipes.rows import RowResult, load_rows


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="*", type=Path, help="those of `reproduce --out`")
    parser.add_argument("--scale", default="small", choices=("tiny", "small", "full"))
    parser.add_argument("--table", type=Path, help="write the page to this file")
    options = parser.parse_args()
    rows: list[RowResult] = [row for directory in options.directories for row in load_rows(directory, options.scale)]
    done = {row.recipe for row in rows}
    lines = [
        "# The paper's tables and what was run here",
        "",
        f"{environment()} Scale `{options.scale}`: {len(done)} of {len(RECIPES)} rows run. "
        "Command: `python benchmarks/paper_tables.py`, after `tf-autodropout reproduce` for each row.",
        "",
        "Pham and Le, AutoDropout, AAAI 2021. The paper's figures are those of its main text and, where a source is "
        "named, of that; its appendix could not be obtained, and figures that could not be are left out. **At scale "
        "`small` networks, data and steps are a fraction of the paper's, so the two columns are not to be compared "
        "with each other**: what can be compared is rows of one block with each other, over the same seeds. ± is the "
        "standard deviation over seeds, brackets are 95 % bootstrap intervals of the paired difference (none below "
        "two seeds).",
        "",
    ]
    for table in TABLES:
        lines += [f"## Table {table[-1]}", ""]
        for heading, cells in table_lines(of_table(table), rows):
            lines += [f"### {heading}", ""]
            lines += [f"| {' | '.join(row)} |" for row in (head(), ["---"] * len(head()), *cells)]
            lines.append("")
    text = "\n".join(lines)
    print(text)
    if options.table:
        options.table.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
