"""The commands `recipes` and `reproduce`: the paper's tables."""

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from tf_autodropout.search.terminal.console import make_console
from tf_autodropout.search.terminal.quiet import quiet_option, quiet_tensorflow
from tf_autodropout.search.terminal.words_line import WordsLine

_TABLES = ("table1", "table2", "table3", "table4")
_SCALES = ("tiny", "small", "full")


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
def recipes(names: tuple[str, ...]) -> None:
    """List the rows of the paper's tables, or show every number of the recipes NAME with its source."""
    console = make_console()

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    with quiet_tensorflow(), WordsLine(console):
        from tf_autodropout.search.recipes.registry import RECIPES, find

        shown = [find(name) for name in names]
    for recipe in shown:
        figure = "" if recipe.figure is None else f", {recipe.figure.value} ({recipe.figure.source})"
        say(f"{recipe.name}: {recipe.column}, {recipe.row}{figure}")
        tiny, small = recipe.at("tiny"), recipe.at("small")
        for name, setting in recipe.settings.items():
            scaled = {"tiny": tiny[name], "small": small[name]}
            others = "".join(f", {scale}: {value}" for scale, value in scaled.items() if value != setting.value)
            say(f"  {name}: {setting.value}{others}  [{setting.source}]")
        say(recipe.command())
    if shown:
        return
    table = Table(title="The paper's tables; none has been trained at full size here", title_justify="left")
    table.add_column("recipe", no_wrap=True)  # a name must be whole, to be typed
    for heading in ("data and network", "paper"):
        table.add_column(heading)
    for recipe in RECIPES.values():
        figure = "" if recipe.figure is None else recipe.figure.value
        table.add_row(escape(recipe.name), escape(recipe.column), figure)
    console.print(table)
    console.print("a recipe in full: tf-autodropout recipes NAME", markup=False)


@click.command()
@click.argument("table", metavar="TABLE", type=click.Choice(_TABLES))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory of the results and the table.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the data sets are.  [tiny: generated]")
@click.option("--scale", type=click.Choice(_SCALES), default="full", show_default=True, help="Sizes and steps.")
@click.option("--rows", multiple=True, help="Names or globs of rows, such as 'cifar10/*'.  [all but searches]")
@click.option("--patterns", help="A PatternSet: file, directory of a run, or preset.  [the search's in --out]")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trainings of each row.")
@quiet_option
def reproduce(
    table: str,
    out: Path,
    data_dir: Path | None,
    scale: str,
    rows: tuple[str, ...],
    patterns: str | None,
    seeds: int,
    quiet: bool,
) -> None:
    """Train the rows of TABLE, table1 to table4, that the data at hand allow; after a stop the same command goes on."""
    if data_dir is None and scale != "tiny":
        raise click.UsageError(f"--scale {scale} needs --data-dir, where the data sets are")
    console = make_console()
    line = WordsLine(console, quiet)
    with quiet_tensorflow(), line:
        from tf_autodropout.search.recipes.paper_table import head, table_lines
        from tf_autodropout.search.recipes.registry import of_table
        from tf_autodropout.search.recipes.reproduce import reproduce as run_table

        results = run_table(table, out, data_dir, scale, rows, patterns, seeds, line.tell, line.step)
    for heading, lines in table_lines(of_table(table), results):
        shown = Table(title=heading, title_justify="left")
        for name in head():
            shown.add_column(name)
        for cells in lines:
            shown.add_row(*map(escape, cells))
        console.print(shown)
    console.print(f"written: {out / f'{table}-{scale}.md'}", markup=False, soft_wrap=True)
