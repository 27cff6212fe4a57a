"""A race on paired seeds: the beaten are dropped, and their trainings go to the close ones.

Ours, a simple one of its kind. Every contender is trained on the same seeds, one more a round. After the second
round those are dropped whose mean is behind the leader's by more than twice the standard error of the difference. A
seed that is kind to all is kind to none: what counts is the residual of contender and seed, pooled over those still in
the race, which ends with one left, or with the budget.

Reference:
    Maron and Moore, Hoeffding Races, NeurIPS 1993; Birattari et al., A Racing Algorithm for Configuring Metaheuristics,
    GECCO 2002: racing on blocks, which are seeds here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.core import INVALID_REWARD, Engine, Scoring, Training
from tf_autodropout.search.ledger import Ledger, LedgerReader
from tf_autodropout.search.results.evaluation import Evaluation, evaluate

FIRST = 2  # seeds before anybody is dropped
MOST = 10  # seeds of one contender
_ERRORS = 2.0  # standard errors that a beaten one is behind
_LEAST_FREEDOM = 3  # degrees of freedom before a standard error is believed


@dataclass(frozen=True)
class Standing:
    """Where a race stands.

    Args:
        alive: Places of those still in it, the best first.
        wanted: Place and number of the seed of each training that the race waits for; none: it is over.
    """

    alive: tuple[int, ...]
    wanted: tuple[tuple[int, int], ...]


def standing(rewards: Sequence[Sequence[float | None]], budget: int) -> Standing:
    """Returns where a race stands: a pure function of the rewards, so that it goes on where it stopped.

    Args:
        rewards: Of each contender, by the number of the seed; None or nothing for what is not there yet.
        budget: Trainings of all together; the first two seeds of each are trained whatever it says.

    Example:
        >>> from tf_autodropout.search.results.race import standing
        >>> standing([[1.0, 1.1], [0.2, 0.3], [0.9, 1.1], [0.1, 0.2]], budget=8).alive
        (0, 2)
    """
    alive, seeds, spent = list(range(len(rewards))), 0, 0
    while True:
        more = FIRST if not seeds else 1
        over = seeds and (len(alive) < 2 or seeds >= MOST or spent + len(alive) > budget)
        if over:
            return Standing(tuple(_ranked(rewards, alive, seeds)), ())
        ahead = [(place, seed) for seed in range(seeds, seeds + more) for place in alive]
        if missing := tuple((p, s) for p, s in ahead if s >= len(rewards[p]) or rewards[p][s] is None):
            return Standing(tuple(_ranked(rewards, alive, seeds)), missing)
        seeds, spent = seeds + more, spent + more * len(alive)
        alive = _left(rewards, alive, seeds)


def _ranked(rewards: Sequence[Sequence[float | None]], alive: Sequence[int], seeds: int) -> list[int]:
    means = {place: np.mean(rewards[place][:seeds]) if seeds else 0.0 for place in alive}  # type: ignore[arg-type]
    return sorted(alive, key=lambda place: (-means[place], place))


def _left(rewards: Sequence[Sequence[float | None]], alive: list[int], seeds: int) -> list[int]:
    """Those who are not beaten; who has diverged is, unless all have."""
    sound = [place for place in alive if INVALID_REWARD not in rewards[place][:seeds]]
    if not sound:
        return alive
    earned = np.array([rewards[place][:seeds] for place in sound], float)  # (contenders, seeds)
    means = earned.mean(1)
    freedom = (len(sound) - 1) * (seeds - 1)
    if freedom < _LEAST_FREEDOM:
        return sound
    residual = earned - means[:, None] - earned.mean(0) + earned.mean()
    error = np.sqrt(2 * np.sum(residual**2) / freedom / seeds)
    return [place for place, mean in zip(sound, means, strict=True) if mean >= means.max() - _ERRORS * error]


def race(
    engine: Engine,
    ledger: Ledger,
    names: Sequence[str],
    works: Sequence[Callable[[int], Training | Scoring]],
    budget: int,
    seed: int,
    describe: Callable[[int], str],
    progress: Callable[[str], None],
) -> Standing:
    """Runs a race to its end and returns how it ended; what is in the ledger is not trained again.

    Args:
        engine: Of the search; no trial may be there.
        ledger: Ledger of the search.
        names: What the ledger knows the contenders by.
        works: From a seed to the training of each.
        budget: See `standing`.
        seed: Seed of the search; those of the race derive from it and were not used for any trial.
        describe: From the place of a contender to what a user hears of it.
        progress: Called with that before each training.
    """
    while True:
        now = standing(stored(ledger, names), budget)
        if not now.wanted:
            return now
        evaluations = [
            Evaluation(names[place], index, works[place](paired_seed(seed, index)), describe(place), DIVERGED)
            for place, index in now.wanted
        ]
        evaluate(engine, ledger, evaluations, progress)


DIVERGED = {"reward": INVALID_REWARD}


def race_budget(finalists: int) -> int:
    """Returns the trainings of a race of so many."""
    return (FIRST + 1) * finalists


def paired_seed(seed: int, index: int) -> int:
    """Returns a seed that all contenders of a search share."""
    return site_seed(seed, "confirm", index)


def stored(ledger: LedgerReader, names: Sequence[str]) -> list[list[float | None]]:
    """Returns the rewards of a race as far as the ledger has them."""
    found = [[ledger.evaluation(name, index) for index in range(MOST)] for name in names]
    return [[None if one is None else one["reward"] for one in row] for row in found]
