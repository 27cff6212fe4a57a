"""TPE: Optuna's tree-structured Parzen estimator. The only file that imports Optuna."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_autodropout.search.searchers.history import History
from tf_autodropout.search.searchers.staleness import staleness
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.trial import Suggestion, Trial

try:
    import optuna
except ImportError as error:
    raise ImportError("The searcher 'tpe' needs Optuna. Install it: pip install 'tf_autodropout[tpe]'") from error

optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line a trial is for the loop's observers


class TPE:
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
        self._seed, self._version = seed, 0
        self._history = History(len(self._distributions))
        self._study = self._new_study()

    @property
    def version(self) -> int:
        return self._version

    def suggest(self, count: int) -> list[Suggestion]:
        suggestions = []
        for _ in range(count):
            params = self._study.ask(self._distributions).params
            suggestions.append(Suggestion(tuple(params[name] for name in self._distributions), 0.0, self._version))
        return suggestions

    def update(self, trials: Sequence[Trial]) -> dict[str, float]:
        self._history.add(trials)
        metrics = {"mean_reward": float(self._history.rewards[-len(trials) :].mean())}
        metrics |= staleness(trials, self._version)
        self._version += 1
        self._study = self._new_study()
        return metrics

    def state(self) -> bytes:
        return self._history.state()

    def restore(self, version: int, state: bytes | None, suggested: int) -> None:
        self._history.restore(state)
        self._version = version
        self._study = self._new_study()
        self.suggest(suggested)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "optuna": optuna.__version__}

    def _new_study(self) -> optuna.Study:
        seed = int(np.random.SeedSequence([self._seed & 0xFFFFFFFF, self._version]).generate_state(1)[0])
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        study.add_trials(
            optuna.trial.create_trial(
                params=dict(zip(self._distributions, row, strict=True)),
                distributions=self._distributions,
                value=reward,
            )
            for row, reward in zip(self._history.tokens.tolist(), self._history.rewards.tolist(), strict=True)
        )
        return study
