"""The command line `tf-autodropout`."""

import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tf_autodropout.patterns.checks import printable
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.engines.temporary_files import temporary_files_in_block
from tf_autodropout.search.ledger import FILE_NAME, check_directory
from tf_autodropout.search.search_config import SearchConfig
from tf_autodropout.search.space import GRANULARITIES
from tf_autodropout.search.tasks.registry import check_task
from tf_autodropout.search.terminal.analyse_command import analyse
from tf_autodropout.search.terminal.console import make_console
from tf_autodropout.search.terminal.doctor import doctor
from tf_autodropout.search.terminal.engine_options import engine_options, place_options
from tf_autodropout.search.terminal.progress import ProgressLine
from tf_autodropout.search.terminal.quiet import quiet_option, quiet_tensorflow
from tf_autodropout.search.terminal.recipe_commands import recipes, reproduce
from tf_autodropout.search.terminal.report import print_report, report
from tf_autodropout.search.terminal.search_options import search_options
from tf_autodropout.search.terminal.sections import SectionCommand
from tf_autodropout.search.terminal.step_line import StepLine
from tf_autodropout.search.terminal.stored_arguments import stored_arguments
from tf_autodropout.search.terminal.task_options import task_list, task_options
from tf_autodropout.search.terminal.template import template
from tf_autodropout.version import __version__

_EXIT_BAD_INPUT, _EXIT_STOPPED = 2, 130
_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_RETRY = click.option("--retry-failed", is_flag=True, help="Take up again the trials that have failed.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tf-autodropout")
def cli() -> None:
    """Learn dropout patterns for a network, look at them, compare them with the classics."""


@cli.command(
    cls=SectionCommand,
    help="Search patterns for TASK, then retrain the best PatternSet and the classics on fresh seeds and "
    f"compare them on test data. After a stop the same command goes on.\n\n\b\nTasks:\n{task_list()}",
)
@click.argument("task", metavar="TASK")
@click.option("--out", type=_PATH, required=True, help="Directory for ledger, best.json, pictures, table.")
@click.option("--trials", type=click.IntRange(1), default=64, show_default=True, help="Trials of the whole run.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seeds everything.")
@click.option("--granularity", type=click.Choice(GRANULARITIES), help="Sites that share one decision.  [task's own]")
@_RETRY
@quiet_option
@search_options
@task_options
@engine_options
def search(
    task: str,
    out: Path,
    trials: int,
    seed: int,
    retry_failed: bool,
    quiet: bool,
    config: SearchConfig,
    engine: EngineConfig,
    **task_settings: Any,
) -> None:
    """Runs a search with a live line and ends with the table."""
    settings = {name: value for name, value in task_settings.items() if value is not None}
    task = _resolved(task)
    if engine.follows:
        _follow(task, settings, engine, quiet)
        return
    check_directory(out)
    own = {"trial_zero": config.trial_zero or ":" in task}  # a network that nobody has searched yet
    arguments = {"task": task, "trials": trials, "seed": seed, "settings": settings, "retry_failed": retry_failed}
    _search(out, engine, quiet, **arguments, **config.to_dict() | own)


@cli.command(cls=SectionCommand)
@click.argument("directory", metavar="DIR", type=_PATH)
@click.option("--trials", type=click.IntRange(1), help="Trials of the whole run, to make more.  [as before]")
@_RETRY
@quiet_option
@place_options
def resume(directory: Path, trials: int | None, retry_failed: bool, quiet: bool, engine: EngineConfig) -> None:
    """Go on with the search in DIR; everything else is as it was begun, but it may go on elsewhere."""
    if engine.follows and not (directory / FILE_NAME).exists():
        raise ValueError(
            f"{directory} holds no run here: this process trains along with the first worker of its strategy, which "
            "has it. Give the command that began it, tf-autodropout search TASK with its options, on each of them: it "
            "goes on as well"
        )
    arguments = stored_arguments(directory)
    if trials is not None and trials < arguments["trials"]:
        raise ValueError(
            f"Invalid value for 'trials'. Expected at least those of the run, {arguments['trials']}. Received: {trials}"
        )
    arguments = {"warm_start": False} | arguments  # of a run that was begun before there was one
    engine = replace(engine, precision=arguments.pop("precision", "float32"))
    if engine.follows:
        _follow(arguments["task"], arguments["settings"], engine, quiet)
        return
    changed = ({"trials": trials} if trials else {}) | ({"retry_failed": True} if retry_failed else {})
    _search(directory, engine, quiet, **arguments | changed)


@cli.command()
@click.argument("directory", metavar="DIR", type=_PATH)
@click.option("--parquet", "file", type=_PATH, required=True, help="File to write; its data card goes to FILE.md.")
def export(directory: Path, file: Path) -> None:
    """Write all trials of a run as one table, also while it runs."""
    from tf_autodropout.search.ledger.export import export_trials

    count, card = export_trials(directory, file)
    make_console().print(f"written: {file}, {count} trials, and {card}", markup=False, soft_wrap=True)


for _command in (report, doctor, recipes, reproduce, analyse):
    cli.add_command(_command)


def _search(out: Path, engine: EngineConfig, quiet: bool, **arguments: Any) -> None:
    """A search with a live line that ends with the table; `arguments` are those of `run`."""
    console = make_console()
    trials = arguments["trials"]
    name, seed = Path(arguments["task"]).name, arguments["seed"]
    title = f"{name}: {trials} trials by {arguments['searcher']}, seed {seed}, into {out}"
    line = ProgressLine(console, title, trials, verbose=0 if quiet else "auto")
    with quiet_tensorflow(), line, temporary_files_in_block():
        from tf_autodropout.search.run_search import run
        from tf_autodropout.search.terminal.interrupt import Interrupt

        interrupt = Interrupt()

        def training(words: str) -> None:
            interrupt.check()
            line.training(words)

        run(out=out, engine=engine, **arguments, observers=[line, interrupt], progress=training)
        interrupt.restore()
    if not quiet:
        console.print()
    print_report(console, out)
    files = sorted(path.name for path in out.iterdir() if not path.name.startswith("ledger.sqlite-"))
    console.print(printable(f"\nin {out}: {', '.join(files)}"), markup=False)


@cli.command(
    cls=SectionCommand,
    help="Train one child of TASK outside a search and print its scores on validation and test.\n\n"
    f"\b\nTasks:\n{task_list(granularity=False)}",
)
@click.argument("task", metavar="TASK")
@click.option("--patterns", "file", type=_FILE, help="A saved PatternSet, such as best.json.  [no dropout]")
@click.option("--out", type=_PATH, help="New directory for result.json and patterns.json.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seeds everything.")
@quiet_option
@task_options
def train(task: str, file: Path | None, out: Path | None, seed: int, quiet: bool, **task_settings: Any) -> None:
    """Trains one child with a live line."""
    from tf_autodropout.patterns import PatternSet

    settings = {name: value for name, value in task_settings.items() if value is not None}
    task = _resolved(task)
    patterns = PatternSet.load(file) if file else PatternSet({})
    console = make_console()
    line = StepLine(console, quiet)
    with quiet_tensorflow(), line, temporary_files_in_block():
        from tf_autodropout.search.terminal.interrupt import Interrupt
        from tf_autodropout.search.train_child import train_child

        interrupt = Interrupt()

        def hear(step: int, steps: int, loss: float) -> None:
            interrupt.check()
            line(step, steps, loss)

        try:
            trained = train_child(task, patterns, seed, out, settings, hear)
        except KeyboardInterrupt:
            print("stopped; the same command begins anew", file=sys.stderr)
            sys.exit(_EXIT_STOPPED)
        finally:
            interrupt.restore()
    console.print(f"{trained.score}: {trained.test:.2f}, on validation {trained.valid:.2f}, {trained.seconds:.0f} s")
    for sample in trained.samples:
        console.print()
        for name, text in sample.items():
            console.print(printable(f"{name:12}{text}"), markup=False)
    if out:
        files = ", ".join(sorted(path.name for path in out.iterdir()))
        console.print(printable(f"in {out}: {files}"), markup=False)


@cli.command()
@click.argument("file", metavar="FILE.py", type=_PATH)
def init(file: Path) -> None:
    """Write a file to begin with: a model, its data and the search, with comments; it runs as it is."""
    if file.suffix != ".py" or not file.parent.is_dir():
        raise ValueError(f"cannot write to {file}: expected a new .py file in a directory that exists")
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(template(file.name))
    except FileExistsError:
        raise ValueError(f"{file} exists; name a new file") from None
    make_console().print(f"written: {file}\ntf-autodropout search {file}:build --out runs/{file.stem}", markup=False)


def _resolved(task: str) -> str:
    """Checks the name of a task; that of a file holds from wherever the search goes on."""
    check_task(task)
    place, _, function = task.rpartition(":")
    return f"{Path(place).resolve()}:{function}" if place.endswith(".py") else task


def _follow(task: str, settings: dict[str, Any], engine: EngineConfig, quiet: bool) -> None:
    """Trains along with the first worker, which has the search and its directory."""
    console = make_console(quiet=quiet)
    console.print(f"{task}: training along with the first worker of the strategy")
    with quiet_tensorflow(), temporary_files_in_block():
        from tf_autodropout.search.engines.multi_worker import follow
        from tf_autodropout.search.tasks.registry import make_task

        placement = engine.prepare()
        follow(make_task(task, **settings), placement)
    console.print("the search has ended; its first worker has the results")


@cli.command()
@click.argument("file", metavar="FILE.json", type=_FILE)
@click.option("--out", type=_PATH, help="Picture to write (.png, .pdf, .svg).  [beside FILE.json, as .png]")
@click.option(
    "--side", type=click.IntRange(1), default=16, show_default=True, help="Map side or length if FILE names no shapes."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seeds the masks.")
def plot(file: Path, out: Path | None, side: int, seed: int) -> None:
    """Draw the masks of each site of a saved PatternSet, such as best.json."""
    from tf_autodropout.patterns import PatternSet

    patterns = PatternSet.load(file)
    target = out or file.with_suffix(".png")
    if not target.parent.is_dir() or target.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"cannot write to {target}: expected a .png, .pdf or .svg in a directory that exists")
    shapes: dict[str, Any] = {
        site: (side, side, 1) if pattern.ON_MAPS else (side, side) for site, pattern in patterns.items()
    }
    named = patterns.provenance.get("sites")
    for site, shape in named.items() if isinstance(named, dict) else ():
        if site in shapes and isinstance(shape, list) and len(shape) == len(shapes[site]):
            shapes[site] = tuple(shape)
    with quiet_tensorflow():
        from tf_autodropout.search.results.curve import save_figure
        from tf_autodropout.visualize import plot as draw

        save_figure(draw(patterns, shapes, seed=seed), target)
    make_console().print(f"written: {target}", markup=False)


def main() -> None:
    """Entry point: bad input is one line on stderr and exit code 2."""
    try:
        sys.exit(cli(standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
    except click.ClickException as error:
        _fail(error.format_message(), _EXIT_BAD_INPUT)
    except ValueError as error:  # LedgerError and DocumentError are ValueErrors
        _fail(str(error), _EXIT_BAD_INPUT)
    except SyntaxError as error:  # in the file of a task
        _fail(f"{error.filename}, line {error.lineno}: {error.msg}", _EXIT_BAD_INPUT)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), _EXIT_BAD_INPUT)
    except (click.exceptions.Abort, KeyboardInterrupt):
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(_EXIT_STOPPED)
    except sqlite3.Error as error:
        _fail(f"the ledger cannot be read: {error}", 1)
    except (RuntimeError, ImportError) as error:  # an extra that is not installed
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    print(f"error: {' '.join(printable(message).split())}", file=sys.stderr)
    sys.exit(code)
