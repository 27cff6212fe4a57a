"""`tf-autodropout analyse`: what the best PatternSet of a run owes to which of its parts."""

from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape

from tf_autodropout.search.terminal.quiet import quiet_tensorflow


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings of each variation.")
def analyse(directory: Path, seeds: int) -> None:
    """Retrain the best PatternSet of the run in DIR with sites left out, moved and made uniform, on paired seeds."""
    console = Console()
    status = console.status("loading TensorFlow")
    with status, quiet_tensorflow():
        from tf_autodropout.search.analysis.analyse import PICTURE, TABLE
        from tf_autodropout.search.analysis.analyse import analyse as run_analysis

        def tell(text: str) -> None:
            status.update(escape(text))

        run_analysis(directory, seeds, tell=tell)
    console.print(Markdown((directory / TABLE).read_text("utf-8")))
    console.print(f"written: {directory / TABLE}, {directory / PICTURE}", markup=False, soft_wrap=True)
