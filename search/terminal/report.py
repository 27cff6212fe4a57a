"""`tf-autodropout report`: the state of a run, on the terminal or as a page."""

import sys
from pathlib import Path

import click
from rich.console import Console

from tf_autodropout.search.ledger import LedgerReader, stored_config
from tf_autodropout.search.terminal.console import make_console
from tf_autodropout.search.terminal.quiet import quiet_option, quiet_tensorflow

PAGE = "report.html"
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("directory", metavar="DIR", type=_PATH)
@click.option("--html", is_flag=True, help=f"Write a page that shows every trial: one file, {PAGE} in DIR.")
@click.option("--out", type=_PATH, help=f"Another .html file for the page.  [{PAGE} in DIR]")
@click.option(
    "--watch",
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="Write the page again every so many seconds, and let it load itself, until the run is complete.",
)
@quiet_option
def report(directory: Path, html: bool, out: Path | None, watch: float | None, quiet: bool) -> None:
    """Show the state of a run: trials, best PatternSet, final table; with --html as a page, also while it runs."""
    console = make_console()
    if not html:
        if out or watch:
            raise click.UsageError(f"{'--out' if out else '--watch'} needs --html.")
        print_report(console, directory)
        return
    from tf_autodropout.search.page import page, write_page

    target = out or directory / PAGE
    page(directory)  # says what is wrong with the directory before anything of the file
    if watch and not quiet:
        console.print(f"{target}: written every {watch:g} s until the run is complete; Ctrl-C ends it", markup=False)
    try:
        write_page(directory, target, watch)
    except KeyboardInterrupt:  # the way to end it
        print(file=sys.stderr)
        write_page(directory, target)  # a page that does not wait for another one
    console.print(f"written: {target}", markup=False, soft_wrap=True)


def print_report(console: Console, directory: Path) -> None:
    """Prints the state of the run in a directory; raises `ValueError` if it holds none."""
    config = stored_config(directory)
    if config is None:
        raise ValueError(f"{directory} holds no run")
    with quiet_tensorflow():
        from tf_autodropout.search.results.report import print_report

        reader = LedgerReader(directory)
        try:
            print_report(console, directory, reader, config)
        finally:
            reader.close()
