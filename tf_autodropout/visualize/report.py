"""`report`: the page of a run in a notebook."""

import importlib
from typing import Any


def report(run: Any, height: int = 900) -> Any:
    """Shows the page of a run: every trial with its masks, the best so far, the final table; also while it runs.

    Args:
        run: Output directory of the run, or what has one as `directory`, such as what `tad.search.run` returns.
        height: Pixels that a notebook gives the page.

    Returns:
        `Page`: a notebook shows it, `.save("run.html")` writes it: one file, which needs no network.

    Raises:
        ValueError: the directory holds no run; a height below 1.

    Example:
        >>> import tf_autodropout as tad
        >>> short = {"steps": 20}  # of 200, for the sake of the example
        >>> found = tad.search.run("digits", trials=2, out="runs/page", settings=short, fresh_seeds=0, finalists=1)
        >>> tad.visualize.report(found).save("run.html")
    """
    # By name: the search is a layer above, which no other picture needs.
    return importlib.import_module("tf_autodropout.search.page").page(run, height)
