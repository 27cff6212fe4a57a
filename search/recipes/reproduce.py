"""`reproduce`: all rows of a table that the data at hand allow, and the table beside the paper's."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import check_int
from tf_autodropout.search.core import Progress, unheard
from tf_autodropout.search.recipes.carrying import load_patterns
from tf_autodropout.search.recipes.data_sets import DataMissing
from tf_autodropout.search.recipes.paper_table import write_paper_table
from tf_autodropout.search.recipes.recipe import SEARCH, Recipe
from tf_autodropout.search.recipes.registry import of_table
from tf_autodropout.search.recipes.rows import RowResult, load_rows, row_directory, row_file
from tf_autodropout.search.recipes.train_recipe import TooLittleMemory, data_of, train_recipe

_PROXY = "tf_autodropout.search.recipes.proxies:proxy"


def reproduce(
    table: str,
    out: str | Path,
    data_dir: str | Path | None = None,
    scale: str = "full",
    rows: Sequence[str] = (),
    patterns: str | None = None,
    seeds: int = 1,
    tell: Callable[[str], None] = lambda text: None,
    progress: Progress = unheard,
) -> list[RowResult]:
    """Trains the rows of a table that the data at hand allow; goes on where an earlier call has stopped.

    Args:
        table: `"table1"` to `"table4"`.
        out: Directory of results and table.
        data_dir: Where the data sets are; None for generated stand-ins at scale `"tiny"`.
        scale: `"tiny"`, `"small"` or `"full"`.
        rows: Names or globs without the table; none for all. A search is run only if its whole name is given.
        patterns: A file, a directory of a run or a preset, for the rows of AutoDropout. None: what the search of the
            same network has found in `out`, if it has been run; else these rows are left out.
        seeds: Trainings of each row, with seeds 0, 1, ...; rows are paired over them.
        tell: Told of each row.
        progress: Called at each checkpoint of a training.

    Returns:
        All results of this scale in `out`. The table is in `out`, as `TABLE-SCALE.md`.

    Raises:
        ValueError: a bad argument; not one row whose data is there.
    """
    check_int("seeds", seeds, 1)
    out, chosen = Path(out), of_table(table, rows)
    given = None if patterns is None else load_patterns(patterns)
    chosen = [r for r in chosen if r.kind != SEARCH or r.name.partition("/")[2] in rows]  # searches by name only
    left_out: dict[str, str] = {}
    ready: list[Recipe] = []
    errors: list[DataMissing] = []
    last: TooLittleMemory | None = None
    for recipe in chosen:
        try:
            data_of(recipe, scale, data_dir)
            ready.append(recipe)
        except DataMissing as error:
            errors.append(error)
            left_out[recipe.name] = "no data"
            tell(f"{recipe.name}: left out. {error}")
    if errors and not ready:
        raise errors[0]

    def write() -> None:
        title = f"Table {table[-1]} at scale {scale}"
        write_paper_table(out / f"{table}-{scale}.md", title, of_table(table), load_rows(out, scale), left_out)

    for recipe in ready:
        if recipe.kind == SEARCH:
            if not row_file(out, recipe.name, scale, 0).is_file():
                tell(f"{recipe.name}: searching")
                _search(recipe, scale, data_dir, out)
            write()
    for seed in range(seeds):
        for recipe in ready:
            if recipe.kind == SEARCH or row_file(out, recipe.name, scale, seed).is_file():
                continue
            found, origin = (given, patterns) if given is not None else _found(recipe, scale, out)
            if recipe.needs_patterns and found is None:
                left_out[recipe.name] = "no patterns"
                continue
            tell(f"{recipe.name}, seed {seed}")
            try:
                train_recipe(recipe, scale, data_dir, out, found, origin, seed, progress)
            except TooLittleMemory as error:
                left_out[recipe.name], last = "too little memory", error
                tell(str(error))
            except RuntimeError as error:  # diverged: the other rows do not
                left_out[recipe.name] = "diverged"
                tell(str(error))
            write()
    write()
    if last is not None and not load_rows(out, scale):
        raise last
    return load_rows(out, scale)


def _search(recipe: Recipe, scale: str, data_dir: str | Path | None, out: Path) -> None:
    """Runs the search of a recipe, or goes on with it, and writes its best reward as a result."""
    from tf_autodropout.search.run_search import run
    from tf_autodropout.search.search_config import SearchConfig
    from tf_autodropout.search.tasks.text import REWARD_SCALE

    plan = recipe.at(scale)
    settings = {"recipe": recipe.name, "scale": scale, "data_dir": None if data_dir is None else str(data_dir)}
    directory = row_directory(out, recipe.name, scale, 0)
    config = replace(SearchConfig.paper(), fresh_seeds=0)
    start = time.perf_counter()
    found = run(_PROXY, plan["trials"], directory / "search", config=config, settings=settings)
    seconds = time.perf_counter() - start
    # Rewards are shares of right answers, and 80 over perplexities.
    scores = {recipe.score: REWARD_SCALE / found.reward if recipe.lower_is_better else 100 * found.reward}
    result = RowResult(recipe.name, scale, 0, data_of(recipe, scale, data_dir), scores, seconds, plan=plan)
    result.save(row_file(out, recipe.name, scale, 0))


def _found(recipe: Recipe, scale: str, out: Path) -> tuple[PatternSet | None, str | None]:
    """What the search of the same place has found in this directory."""
    search = f"table{recipe.table}/{recipe.place}/search"
    directory = row_directory(out, search, scale, 0) / "search"
    return (load_patterns(str(directory)), str(directory)) if (directory / "best.json").is_file() else (None, None)
