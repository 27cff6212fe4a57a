"""`tf-autodropout analyse`: what the best PatternSet of a run owes to which of its parts."""

from pathlib import Path

import click
from rich.markdown import Markdown

from tf_autodropout.search.engines.temporary_files import temporary_files_in_block
from tf_autodropout.search.terminal.console import make_console
from tf_autodropout.search.terminal.quiet import quiet_option, quiet_tensorflow
from tf_autodropout.search.terminal.words_line import WordsLine


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings of each variation.")
@quiet_option
def analyse(directory: Path, seeds: int, quiet: bool) -> None:
    """Retrain the best PatternSet of the run in DIR with sites left out, moved and made uniform, on paired seeds."""
    console = make_console()
    line = WordsLine(console, quiet)
    with quiet_tensorflow(), line, temporary_files_in_block():
        from tf_autodropout.search.analysis.analyse import PICTURE, TABLE
        from tf_autodropout.search.analysis.analyse import analyse as run_analysis

        run_analysis(directory, seeds, tell=line.tell)
    console.print(Markdown((directory / TABLE).read_text("utf-8")))
    console.print(f"written: {directory / TABLE}, {directory / PICTURE}", markup=False, soft_wrap=True)
