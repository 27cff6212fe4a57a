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
        TypeError: `run` is no directory and has none.
        ValueError: the directory holds no run; a height below 1.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.patterns import Site
        >>> from tf_autodropout.search.ledger.trial_table import TrialTable
        >>> from tf_autodropout.search.space import SearchSpace
        >>> space = SearchSpace((Site("ffn", tad.TransformerPattern, (8, 4), "ffn", "ffn"),), "stage")
        >>> trials = tuple((1, 0, 0, 0, rate) for rate in range(5))
        >>> TrialTable(space, trials, (1.0, 1.1, 1.3, 1.2, 0.9)).save("trials.json")
        >>> of = {"table": "trials.json"}  # a search that trains nothing, for the sake of the example
        >>> found = tad.search.run("tabular", 4, "runs/page", settings=of, finalists=1, fresh_seeds=0)
        >>> tad.visualize.report(found).save("run.html")
    """
    # By name: the search is a layer above, which no other picture needs.
    return importlib.import_module("tf_autodropout.search.page").page(run, height)
