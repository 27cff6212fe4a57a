"""TPE: Optuna's tree-structured Parzen estimator. The only file that imports Optuna."""

from typing import Any

import numpy as np

from tf_autodropout.search.searchers.history_searcher import HistorySearcher
from tf_autodropout.search.space import SearchSpace

try:
    import optuna
except ImportError as error:
    raise ImportError("The searcher 'tpe' needs Optuna. Install it: pip install 'tf_autodropout[tpe]'") from error

optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line a trial is for the loop's observers


class TPE(HistorySearcher):
    """Suggests what is likely among the best trials and unlikely among the others, as Optuna's TPESampler.

    All decisions are categorical parameters, and the sampler has its default settings: it models them
    jointly, and counts the suggestions of the same version that are still out as bad ones, so that they
    differ. After every update a new study in memory takes in all trials learned from: what it suggests
    is fixed by them, the seed and the version.

    A suggestion's log-probability is not to be had from Optuna: it is given as 0.

    Args:
        space: The search space.
        seed: Seeds the sampler.

    Raises:
        ImportError: Optuna is not installed.

    Reference:
        Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; Optuna, `TPESampler`.
    """

    name = "tpe"

    def __init__(self, space: SearchSpace, seed: int) -> None:
        # Names in ascending order: Optuna sorts parameters by name.
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            f"{decision:04d}": optuna.distributions.CategoricalDistribution(range(size))
            for decision, size in enumerate(space.vocabulary_sizes)
        }
        super().__init__(space, seed)
        self._learn()

    def restore(self, version: int, state: bytes | None, suggested: int) -> None:
        super().restore(version, state, 0)
        self.suggest(suggested)  # the study counts what is still out

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "optuna": optuna.__version__}

    def _draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        params = self._study.ask(self._distributions).params  # the study draws from a generator of its own
        return tuple(params[name] for name in self._distributions)

    def _learn(self) -> dict[str, float]:
        seed = int(np.random.SeedSequence([self._seed & 0xFFFFFFFF, self._version]).generate_state(1)[0])
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._study.add_trials(
            optuna.trial.create_trial(
                params=dict(zip(self._distributions, row, strict=True)),
                distributions=self._distributions,
                value=reward,
            )
            for row, reward in zip(self._history.tokens.tolist(), self._history.rewards.tolist(), strict=True)
        )
        return {}
