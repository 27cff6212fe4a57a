"""The classics, tuned on validation: one rate over a grid, then a rate for each role, then a race.

The race goes on from the seed of the grid, and has as many trainings beyond it as that of the search's finalists.
Every choice is a pure function of the rewards so far, which are in the ledger: tuning goes on where it stopped, and
nothing is trained twice. All candidates share their seeds.
"""

from collections.abc import Callable, Mapping, Sequence

from tf_autodropout.search.core import Engine, Opponent, Scoring, Training
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.results.evaluation import Evaluation, evaluate
from tf_autodropout.search.results.race import DIVERGED, paired_seed, race, race_budget, stored
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.tasks.opponents import RATES, Classic

_LADDER = (0.0, *sorted(RATES))
TUNED = "tuning "  # what the ledger knows the trainings by begins so
_GRID = 2 / 3  # of the trainings, at most, go to one rate for all roles

Rates = tuple[float, ...]  # one for each role


class Tuning:
    """Tunes classics with a given number of trainings.

    Args:
        engine: Of the search; no trial may be there.
        ledger: Ledger of the search.
        space: Of the task.
        classics: To tune.
        budget: Number of trainings.
        seed: Seed of the search.
        progress: Called with a few words before each training.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        space: SearchSpace,
        classics: Sequence[Classic],
        budget: int,
        seed: int,
        progress: Callable[[str], None],
    ) -> None:
        self._engine, self._ledger, self._space, self._seed = engine, ledger, space, seed
        self._classics, self._left, self._progress = classics, budget, progress
        self._rewards: list[dict[Rates, float]] = [{} for _ in classics]  # by rates, on the first seed

    def run(self, finalists: int) -> list[Opponent]:
        """Returns each classic at its best rates; those of no training at their usual rate.

        Args:
            finalists: Number of the best candidates that race in the end; their trainings are not of the budget, as
                those of the search's own finalists are not.
        """
        if self._classics and self._left:
            self._try_grid()
            self._try_roles()
            self._try_rates(len(RATES))  # with what is left
        chosen = self._raced(finalists)
        return [classic.at(dict(zip(classic.roles, rates, strict=True))) for classic, rates in chosen]

    def _try_grid(self) -> None:
        each = max(1, min(len(RATES), int(_GRID * self._left) // len(self._classics)))
        self._try_rates(each)

    def _try_rates(self, count: int) -> None:
        self._train(
            [(place, (rate,) * len(c.roles)) for rate in RATES[:count] for place, c in enumerate(self._classics)]
        )

    def _try_roles(self) -> None:
        """Coordinate search from the best rates of the classics, the best one first."""
        order = sorted(range(len(self._classics)), key=lambda place: -max(self._rewards[place].values(), default=0.0))
        for place in order:
            while self._left > 0 and len(self._classics[place].roles) > 1 and self._rewards[place]:
                start = self._best(place)
                steps = [self._steps(start, role) for role in range(len(start))]
                self._train([(place, rates) for ahead in steps for rates in ahead])
                better = [max(ahead, key=lambda rates: self._rewards[place].get(rates, -1.0)) for ahead in steps]
                together = tuple(
                    rates[role] if self._rewards[place].get(rates, -1.0) > self._rewards[place][start] else start[role]
                    for role, rates in enumerate(better)
                )
                self._train([(place, together)])
                if self._best(place) == start:
                    break

    def _steps(self, start: Rates, role: int) -> list[Rates]:
        """The neighbours on the ladder of rates of one role; nothing at all sites is no classic."""
        at = _LADDER.index(start[role])
        rates = [_LADDER[step] for step in (at - 1, at + 1) if 0 <= step < len(_LADDER)]
        return [(*start[:role], rate, *start[role + 1 :]) for rate in rates if rate or sum(start) > start[role]]

    def _best(self, place: int) -> Rates:
        rewards = self._rewards[place]
        return max(rewards, key=lambda rates: rewards[rates])

    def _train(self, wanted: Sequence[tuple[int, Rates]]) -> None:
        new = [one for one in dict.fromkeys(wanted) if one[1] not in self._rewards[one[0]]][: self._left]
        evaluations = [
            Evaluation(self._name(one), 0, self._work(one, paired_seed(self._seed, 0)), self._words(one), DIVERGED)
            for one in new
        ]
        for (place, rates), earned in zip(
            new, evaluate(self._engine, self._ledger, evaluations, self._progress), strict=True
        ):
            self._rewards[place][rates] = earned["reward"]
        self._left -= len(new)

    def _raced(self, finalists: int) -> list[tuple[Classic, Rates]]:
        """The choice for each classic: of those that raced the best, else the highest reward on the first seed."""
        tried = [(place, rates) for place, rewards in enumerate(self._rewards) for rates in rewards]
        tried.sort(key=lambda one: -self._rewards[one[0]][one[1]])
        top = tried[:finalists] if finalists > 1 else []
        means: Mapping[tuple[int, Rates], float] = {}
        if len(top) > 1:
            names = [self._name(one) for one in top]
            race(
                self._engine,
                self._ledger,
                names,
                [lambda seed, one=one: self._work(one, seed) for one in top],  # type: ignore[misc]
                race_budget(len(top)) + len(top),  # as many new ones as the search's finalists have
                self._seed,
                lambda place: self._words(top[place]),
                self._progress,
            )
            earned = [[reward for reward in row if reward is not None] for row in stored(self._ledger, names)]
            means = {one: sum(row) / len(row) for one, row in zip(top, earned, strict=True)}
        chosen = []
        for place, classic in enumerate(self._classics):
            own = [one for one in top if one[0] == place and one in means]
            if own:
                chosen.append((classic, max(own, key=lambda one: means[one])[1]))
            else:
                chosen.append(
                    (classic, self._best(place) if self._rewards[place] else (RATES[0],) * len(classic.roles))
                )
        return chosen

    def _opponent(self, one: tuple[int, Rates]) -> Opponent:
        classic = self._classics[one[0]]
        return classic.at(dict(zip(classic.roles, one[1], strict=True)))

    def _work(self, one: tuple[int, Rates], seed: int) -> Training | Scoring:
        """A training that sees no test data, where the task can do it by patterns alone."""
        opponent = self._opponent(one)
        return Training(opponent.patterns, seed) if opponent.fits(self._space) else Scoring(opponent, seed)

    def _name(self, one: tuple[int, Rates]) -> str:
        return f"{TUNED}{self._opponent(one).name}"

    def _words(self, one: tuple[int, Rates]) -> str:
        return f"{self._opponent(one).name}, a classic that is tuned"
