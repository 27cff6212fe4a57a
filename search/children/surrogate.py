"""A model of the reward, fitted on real trials, that answers for any PatternSet."""

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.model_selection import KFold, cross_val_predict

from tf_autodropout.patterns import Pattern, PatternSet, Site
from tf_autodropout.search.children.share import dropped_share

_FOLDS = 5


class Surrogate:
    """Boosted trees on what the patterns of all sites are: their fields, and roughly how much they drop.

    A PatternSet, not its tokens, is what counts: patterns of size 0 are all alike, whatever their
    other tokens. Trees of depth 3 see interactions of three fields, within a site and between sites.

    Args:
        sites: The sites of the network, all of one kind.
        patterns: PatternSets of real trials, at least 5.
        rewards: Their rewards.

    Raises:
        ValueError: fewer than 5 trials.

    Reference:
        Friedman, Greedy Function Approximation: A Gradient Boosting Machine, Annals of Statistics 2001; on
        surrogates as benchmarks, Eggensperger et al., Efficient Benchmarking of Hyperparameter Optimizers
        via Surrogates, AAAI 2015.
    """

    def __init__(self, sites: Sequence[Site], patterns: Sequence[PatternSet], rewards: Sequence[float]) -> None:
        if len(patterns) < _FOLDS:
            raise ValueError(f"Expected {_FOLDS} or more trials. Received: {len(patterns)}")
        self._sites = sites
        self._features, self._rewards = np.array([self._row(p) for p in patterns]), np.array(rewards)
        self._trees = _Trees(_model().fit(self._features, self._rewards))

    def __call__(self, patterns: PatternSet) -> float:
        """Returns the modelled reward."""
        return self._trees(self._row(patterns))

    def quality(self) -> dict[str, float]:
        """Returns R² and Spearman's rank correlation on trials held out, by 5-fold cross-validation."""
        folds = KFold(_FOLDS, shuffle=True, random_state=0)
        predicted = cross_val_predict(_model(), self._features, self._rewards, cv=folds)
        ranks = [np.unique(values, return_inverse=True)[1] for values in (predicted, self._rewards)]
        return {
            "r2": float(1 - np.mean((self._rewards - predicted) ** 2) / self._rewards.var()),
            "rank_correlation": float(np.corrcoef(ranks[0], ranks[1])[0, 1]),
        }

    def _row(self, patterns: PatternSet) -> list[float]:
        return [value for site in self._sites for value in _features(site, patterns.get(site.name))]


class _Trees:
    """A fitted model's answer for one row; scikit-learn's own checks take a hundred times as long."""

    def __init__(self, model: GradientBoostingRegressor) -> None:
        trees = [estimator.tree_ for estimator in model.estimators_[:, 0]]
        nodes = max(tree.node_count for tree in trees)
        self._feature, self._left, self._right = (np.zeros((len(trees), nodes), int) for _ in range(3))
        self._threshold, self._value = (np.zeros((len(trees), nodes)) for _ in range(2))
        for row, tree in enumerate(trees):
            here = np.arange(tree.node_count)
            leaf = tree.children_left < 0  # goes on to itself
            self._feature[row, here] = np.where(leaf, 0, tree.feature)
            self._threshold[row, here] = tree.threshold
            self._left[row, here] = np.where(leaf, here, tree.children_left)
            self._right[row, here] = np.where(leaf, here, tree.children_right)
            self._value[row, here] = model.learning_rate * tree.value[:, 0, 0]
        self._depth = max(tree.max_depth for tree in trees)
        self._start = float(model.init_.constant_.item())
        self._rows = np.arange(len(trees))

    def __call__(self, features: Sequence[float]) -> float:
        x, node = np.array(features, np.float32), np.zeros_like(self._rows)  # scikit-learn compares float32
        for _ in range(self._depth):
            left = x[self._feature[self._rows, node]] <= self._threshold[self._rows, node]
            node = np.where(left, self._left[self._rows, node], self._right[self._rows, node])
        return self._start + float(self._value[self._rows, node].sum())


def _model() -> GradientBoostingRegressor:
    return GradientBoostingRegressor(n_estimators=300, learning_rate=0.03, max_depth=3, subsample=0.5, random_state=0)


def _features(site: Site, pattern: Pattern | None) -> list[float]:
    """The share of cells or tokens dropped, nearly, and all fields; zeros for the identity."""
    pattern = pattern or site.kind()
    sizes = pattern.within(site.sizes).sizes(len(site.sizes))
    others = [value for name, value in vars(pattern).items() if name != "size"]
    row = [dropped_share(site, pattern), *map(float, sizes), *map(float, others)]
    return [0.0] * len(row) if pattern.is_identity else row
