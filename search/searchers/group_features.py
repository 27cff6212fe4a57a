"""What the tokens of each group of sites are to a linear model of the reward."""

import itertools
from functools import cached_property

import numpy as np

from tf_autodropout.search.children.share import dropped_share
from tf_autodropout.search.space import SearchSpace

_OF_SHARE = ("size", "stride", "repeat", "rate")
_SHARE = 1 / 3  # the share dropped whose feature is 1, in the order of the others


class GroupFeatures:
    """Features of each way to fill the tokens of a group: all of them at once, `(ways, features)`.

    Of a group without a pattern (size 0) all are 0, whatever its other tokens. Of the others: 1; a one for the value of
    each token; the share that is dropped, and its square, since too little and too much are both bad.

    Args:
        space: The search space.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        tables: dict[object, np.ndarray] = {}
        self.ways: list[np.ndarray] = []  # tokens of each way, a table for each group
        self.tables: list[np.ndarray] = []
        self.kinds: list[int] = []  # groups of one kind have features in common
        kinds: dict[object, int] = {}
        grids: dict[object, np.ndarray] = {}
        decisions = list(space.decisions)
        self.columns: list[slice] = []  # of each group among the tokens
        first = 0
        for name, sites in space.groups.items():
            values = [decision.values for decision in decisions if decision.group == name]
            names = tuple(decision.token for decision in decisions if decision.group == name)
            self.columns.append(slice(first, first + len(values)))
            first += len(values)
            kind = (sites[0].kind, names)
            kinds.setdefault(kind, len(kinds))
            self.kinds.append(kinds[kind])
            if kind not in grids:
                grids[kind] = np.array(list(itertools.product(*(range(len(v)) for v in values))), np.int16)
            self.ways.append(grids[kind])
            key = (kind, sites[0].shape)
            if key not in tables:
                tables[key] = self._table(name, grids[kind], names)
            self.tables.append(tables[key])

    @cached_property
    def _steps(self) -> list[np.ndarray]:
        """What a token counts in the number of a way, for each group."""
        sizes = [ways.max(0).astype(np.int64) + 1 for ways in self.ways]
        return [np.append(np.cumprod(size[:0:-1])[::-1], 1) for size in sizes]

    def rows(self, tokens: np.ndarray) -> list[np.ndarray]:
        """Returns the features of each group, `(n, features)`, for tokens `(n, L)`."""
        numbers = [tokens[:, c].astype(np.int64) @ step for c, step in zip(self.columns, self._steps, strict=True)]
        return [table[number].astype(np.float64) for table, number in zip(self.tables, numbers, strict=True)]

    def _table(self, group: str, ways: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        site = self._space.groups[group][0]
        alone = SearchSpace((site,))
        # All that the share depends on: a few of the many ways.
        relevant = np.where(np.isin(names, _OF_SHARE), ways, 0)
        few, place = np.unique(relevant, axis=0, return_inverse=True)
        share = np.array([dropped_share(site, alone.decode(way)[site.name]) for way in few.tolist()])[place] / _SHARE
        active = ways[:, names.index("size")] > 0
        columns = [np.ones(len(ways)), share, share**2]
        columns += [ways[:, token] == value for token in range(len(names)) for value in range(ways[:, token].max() + 1)]
        return (np.stack(columns, 1) * active[:, None]).astype(np.float32)
