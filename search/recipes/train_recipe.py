"""`train_recipe`: one row of a table with one seed, from its data to its result file."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import invalid
from tf_autodropout.search.core import Progress, unheard
from tf_autodropout.search.recipes.data_sets import GENERATED, check_data_dir, folder
from tf_autodropout.search.recipes.recipe import FINAL, Recipe
from tf_autodropout.search.recipes.rows import RowResult, row_directory, row_file

_COPIES = 4  # of each weight: itself, gradient, momentum, average


class TooLittleMemory(ValueError):
    """A network does not fit into this machine; the message says what would."""


def data_of(recipe: Recipe, scale: str, data_dir: str | Path | None) -> str:
    """Returns the data set that a recipe reads at a scale, after a look that it is there.

    Args:
        recipe: The recipe.
        scale: At `"tiny"` without a `data_dir` it is a generated stand-in.
        data_dir: Where the data sets are.

    Raises:
        DataMissing: it is not there; what to download to where.
        ValueError: no directory named, or one that does not exist.
    """
    check_data_dir(data_dir)
    plan = recipe.at(scale)
    if data_dir is None:
        if scale != "tiny":
            raise invalid("data_dir", f"a directory with the data sets for scale '{scale}'", None)
        return GENERATED
    name = str(plan.get("data", recipe.data))
    for data in filter(None, (name, plan.get("labelled_data"))):
        folder(data, data_dir)
    return name


def make_training(
    recipe: Recipe, scale: str, data_dir: str | Path | None, patterns: PatternSet | None = None, seed: int = 0
) -> Any:
    """Makes the `Training` of a final.

    Args:
        recipe: Not a search.
        scale: `"tiny"`, `"small"` or `"full"`.
        data_dir: Where the data sets are.
        patterns: For rows that need them.
        seed: Seeds everything.

    Raises:
        DataMissing: its data set is not there or broken.
        TooLittleMemory: the weights with gradients and slots are larger than the free memory.
        ValueError: a search; no patterns for a row that needs them; patterns that do not fit.
    """
    if recipe.kind != FINAL:
        raise invalid("recipe", "a final, not a search", recipe.name)
    if recipe.needs_patterns and patterns is None:
        raise ValueError(f"{recipe.name} trains with found patterns: give --patterns FILE, DIR or PRESET")
    data, plan = data_of(recipe, scale, data_dir), recipe.at(scale)
    _check_memory(plan)
    training = _maker(recipe.training)(data, data_dir, plan, recipe.noise, patterns, seed)
    needed = _COPIES * 4 * training.facts["parameters"]
    if needed > (free := _free_memory()):
        raise TooLittleMemory(
            f"{recipe.name} needs {needed / 1e9:.1f} GB for its weights alone, {free / 1e9:.1f} GB are free: "
            "use --scale small, or a larger machine"
        )
    return training


def train_recipe(
    recipe: Recipe,
    scale: str,
    data_dir: str | Path | None,
    out: Path,
    patterns: PatternSet | None = None,
    patterns_from: str | None = None,
    seed: int = 0,
    progress: Progress = unheard,
) -> RowResult:
    """Trains one row with one seed, or goes on where that has stopped, and writes its result.

    Args:
        recipe: A final.
        scale: `"tiny"`, `"small"` or `"full"`.
        data_dir: Where the data sets are; None for a generated stand-in at `"tiny"`.
        out: Directory of the table.
        patterns: For rows that need them.
        patterns_from: Where they are from, for the result.
        seed: Seeds everything.
        progress: Called at each checkpoint.

    Raises:
        ValueError: see `make_training`; too little memory for a step.
        RuntimeError: the training diverged.
    """
    import tensorflow as tf

    begin = time.perf_counter()
    try:
        training = make_training(recipe, scale, data_dir, patterns, seed)
        scores = training.run(row_directory(out, recipe.name, scale, seed), progress)
    except FloatingPointError as error:
        raise RuntimeError(f"{recipe.name} diverged: {error}") from None
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise TooLittleMemory(
            f"{recipe.name} does not fit into memory at scale '{scale}': use --scale small"
        ) from error
    result = RowResult(
        recipe.name,
        scale,
        seed,
        data_of(recipe, scale, data_dir),
        scores,
        time.perf_counter() - begin,
        patterns_from if recipe.needs_patterns else None,
        training.facts,
        {name: value for name, value in recipe.at(scale).items() if value is not None},
    )
    result.save(row_file(out, recipe.name, scale, seed))
    return result


def _maker(training: str) -> Callable[..., Any]:
    if training in ("images", "uda"):
        from tf_autodropout.search.recipes import train_images

        return train_images.image_training if training == "images" else train_images.uda_training
    if training == "text":
        from tf_autodropout.search.recipes.train_text import text_training

        return text_training
    from tf_autodropout.search.recipes.train_translation import translation_training

    return translation_training


def _free_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _cached()


def _cached() -> int:
    """Memory that the system gives back when it is asked for; 0 where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Cached:")), 0)


def _check_memory(plan: Mapping[str, Any]) -> None:
    """Refuses a batch of images that alone is larger than what is free: the first maps are several times as large."""
    side, batch = plan.get("image_size", 0), plan.get("batch_size", 0)
    needed = batch * (1 + plan.get("unlabelled_ratio", 0) * 2) * side * side * 64  # the stem's maps, half the side
    if needed > (free := _free_memory()):
        raise TooLittleMemory(
            f"A batch of {batch} images of {side} pixels needs more than {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB "
            "are free: use --scale small, or a larger machine"
        )
