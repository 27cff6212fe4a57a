"""The task `tabular`: a surrogate of real trials answers at once, so that searchers can be compared."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.children.surrogate import Surrogate
from tf_autodropout.search.core import Opponent, Progress, Result, unheard
from tf_autodropout.search.ledger.trial_table import TrialTable
from tf_autodropout.search.space import SearchSpace


@dataclass
class TabularTask:
    """Answers with what a `Surrogate` of a table of trials says, in a fraction of a millisecond.

    It is for comparing searchers, not for finding patterns: the surrogate knows nothing that the
    table does not hold.

    Args:
        table: Real trials.
        noise: Standard deviation of what is added to the reward of a training, in units of the reward;
            the spread that another seed would give; no reward falls below 0. `test` is without it.

    Raises:
        ValueError: a noise below 0.
    """

    table: TrialTable = field(repr=False)
    noise: float = 0.0
    name: str = field(default="tabular", init=False)
    score: str = field(default="surrogate reward", init=False)
    lower_is_better: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not self.noise >= 0:
            raise ValueError(f"Invalid value for 'noise'. Expected >= 0. Received: noise={self.noise!r}")

    @property
    def space(self) -> SearchSpace:
        return self.table.space

    @cached_property
    def surrogate(self) -> Surrogate:
        """The model, fitted at first use."""
        patterns = [self.space.decode(tokens) for tokens in self.table.tokens]
        return Surrogate(self.space.sites, patterns, self.table.rewards)

    def train(self, patterns: PatternSet, seed: int) -> Result:
        noise = self.noise * float(np.random.default_rng(seed).standard_normal())
        return Result(max(0.0, self.surrogate(patterns) + noise))

    def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
        trained = self.train(opponent.patterns, seed)
        return Result(trained.reward, {"valid": trained.reward, "test": self.surrogate(opponent.patterns)})

    def opponents(self) -> list[Opponent]:
        return [Opponent.none()]

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.table.to_json().encode()).hexdigest()
        return {"name": self.name, "noise": self.noise, "trials": len(self.table.rewards), "sha256": digest}


def tabular_task(table: str = "", noise: float = 0.0) -> TabularTask:
    """Makes the task `tabular`.

    Args:
        table: The output directory of a run, or a file that `TrialTable.save` wrote.
        noise: See `TabularTask`.

    Raises:
        ValueError: no table named, not a run and not such a file.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.patterns import Site
        >>> from tf_autodropout.search.space import SearchSpace
        >>> from tf_autodropout.search.tasks.tabular import tabular_task
        >>> from tf_autodropout.search.ledger.trial_table import TrialTable
        >>> space = SearchSpace((Site("ffn", tad.TransformerPattern, (8, 4), "ffn", "ffn"),), "stage")
        >>> tokens = tuple((1, 0, 0, 0, rate) for rate in range(5))
        >>> TrialTable(space, tokens, (1.0, 1.1, 1.3, 1.2, 0.9)).save("trials.json")
        >>> task = tabular_task("trials.json")
        >>> 1.0 < task.train(space.decode((1, 0, 0, 0, 2)), seed=0).reward < 1.4
        True
    """
    path = Path(table)
    if not table or not path.exists():
        raise ValueError(
            "Invalid value for 'table' (--table). Expected the directory of a run or a table of its trials. "
            f"Received: table={table!r}"
        )
    if path.is_dir():
        return TabularTask(TrialTable.from_run(path), noise)
    return TabularTask(TrialTable.load(path), noise)
