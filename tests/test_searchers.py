"""All searchers behind one interface, and what each of them does."""

import itertools
import math
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.fakes import SPACE, score
from tf_autodropout.patterns import ConvPattern, PatternSet, Site
from tf_autodropout.search.children.share import dropped_share
from tf_autodropout.search.core import Searcher, Status, Suggestion, Trial
from tf_autodropout.search.searchers import SEARCHERS, RegularizedEvolution, Thompson, make_searcher
from tf_autodropout.search.searchers.group_features import GroupFeatures
from tf_autodropout.search.searchers.history import History
from tf_autodropout.search.searchers.staleness import staleness
from tf_autodropout.search.searchers.warm_start import WarmStart
from tf_autodropout.search.space import SearchSpace

SIZES = SPACE.vocabulary_sizes


def finished(suggestions: Sequence[Suggestion], reward: Callable[[Sequence[int]], float] | None = None) -> list[Trial]:
    reward = reward or (lambda tokens: score(SPACE.decode(tokens)))
    return [
        Trial(number, s, SPACE.decode(s.tokens), Status.FINISHED, 1, reward(s.tokens))
        for number, s in enumerate(suggestions)
    ]


def taught(searcher: Searcher, updates: int = 3, batch: int = 8, **kwargs) -> Searcher:
    for _ in range(updates):
        searcher.update(finished(searcher.suggest(batch), **kwargs))
    return searcher


CHEAP = [name for name in SEARCHERS if SEARCHERS[name] != "Reinforce"]  # its compilation takes long; see test_loop.py


@pytest.mark.parametrize("name", CHEAP)
def test_suggestions_are_in_the_space_and_a_restored_searcher_goes_on_to_the_bit(name: str) -> None:
    searcher = taught(make_searcher(name, SPACE, 5))
    suggestions, state = searcher.suggest(6), searcher.state()
    assert all(SPACE.decode(s.tokens) is not None and s.version == 3 for s in suggestions)
    assert len({s.tokens for s in suggestions}) > 1
    resumed = make_searcher(name, SPACE, 5)
    resumed.restore(3, state, suggested=2)
    assert resumed.suggest(4) == suggestions[2:]
    assert resumed.state() == state
    for one in (searcher, resumed):
        taught(one, 1)
    assert searcher.state() == resumed.state()
    assert searcher.suggest(3) == resumed.suggest(3)
    assert searcher.version == 4
    resumed.restore(0, None, suggested=1)
    assert resumed.suggest(2) == make_searcher(name, SPACE, 5).suggest(3)[1:]


@pytest.mark.parametrize("name", CHEAP)
def test_another_seed_gives_other_suggestions_and_settings_are_told(name: str) -> None:
    first, second = make_searcher(name, SPACE, 1), make_searcher(name, SPACE, 2)
    assert [s.tokens for s in first.suggest(4)] != [s.tokens for s in second.suggest(4)]
    assert first.describe()["name"] == name


def test_the_command_line_knows_the_names_without_loading_tensorflow_or_optuna() -> None:
    code = (
        "import sys; import tf_autodropout.search.terminal.cli; from tf_autodropout.search.searchers import SEARCHERS;"
        "print(*SEARCHERS, *(m for m in ('tensorflow', 'optuna') if m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["thompson", "reinforce", "paper", "evolution", "tpe", "random"]


def test_a_missing_optuna_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "tf_autodropout.search.searchers.tpe", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'tf_autodropout\[tpe\]'"):
        make_searcher("tpe", SPACE, 0)


@pytest.mark.parametrize("name", ["thompson", "evolution", "tpe"])
def test_what_is_rewarded_comes_more_often(name: str) -> None:
    wanted = (3, 1, 1, 0, 2, 4, 2, 0, 1, 1)

    def reward(tokens: Sequence[int]) -> float:
        return float(np.mean([a == b for a, b in zip(tokens, wanted, strict=True)]))

    searcher = taught(make_searcher(name, SPACE, 0), updates=20, batch=16, reward=reward)
    mean = np.mean([reward(s.tokens) for s in searcher.suggest(16)])
    assert mean > 0.6  # uniformly random: 0.31


def test_a_history_keeps_the_newest_and_comes_back() -> None:
    history = History(2, keep=3)
    trials = [Trial(i, Suggestion((i, 300), 0.0, 0), PatternSet({}), reward=i / 2) for i in range(5)]
    history.add(trials[:2])
    history.add(trials[2:])
    assert history.tokens.tolist() == [[2, 300], [3, 300], [4, 300]]
    assert history.rewards.tolist() == [1.0, 1.5, 2.0]
    again = History(2, keep=3)
    again.restore(history.state())
    assert (again.tokens == history.tokens).all()
    assert (again.rewards == history.rewards).all()
    assert again.state() == history.state()
    again.restore(None)
    assert len(again) == 0


def test_staleness_counts_updates() -> None:
    trials = [Trial(i, Suggestion((0,), 0.0, version), PatternSet({}), reward=0.0) for i, version in enumerate([5, 2])]
    assert staleness(trials, 6) == {"mean_staleness": 2.5, "largest_staleness": 4}


def test_evolution_changes_one_decision_of_a_member_of_the_population() -> None:
    searcher = RegularizedEvolution(SPACE, 0, population=6, tournament=3)
    first, second = finished(searcher.suggest(4)), finished(searcher.suggest(4))
    searcher.update(first)
    assert searcher.suggest(1)[0].log_prob == pytest.approx(-np.log(SIZES).sum())  # not full yet
    searcher.update(second)
    members = [t.suggestion.tokens for t in (first + second)[-6:]]  # the two oldest are forgotten
    for suggestion in searcher.suggest(40):
        distances = [sum(a != b for a, b in zip(m, suggestion.tokens, strict=True)) for m in members]
        assert 1 in distances


def test_evolution_prefers_the_best_of_a_tournament_as_often_as_it_says() -> None:
    searcher = RegularizedEvolution(SPACE, 0, population=4, tournament=2)
    members = [
        tuple(v * min(i, size - 1) for v, size in zip([1, 1, 0, 0, 1] * 2, SIZES, strict=True)) for i in range(4)
    ]
    suggestions = [Suggestion(tokens, 0.0, 0) for tokens in members]
    rewards = dict(zip(members, [0.1, 0.4, 0.3, 0.2], strict=True))
    searcher.update(finished(suggestions, reward=lambda tokens: rewards[tuple(tokens)]))
    draws = [s.tokens for s in searcher.suggest(4000)]
    # By hand: of two draws with replacement, the best rank is 0, 1, 2 or 3 with 7, 5, 3, 1 of 16.
    parents = [min(members, key=lambda m: sum(a != b for a, b in zip(m, tokens, strict=True))) for tokens in draws]
    counts = np.array([parents.count(member) for member in (members[1], members[2], members[3], members[0])])
    expected = 4000 * np.array([7, 5, 3, 1]) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # 99.9 % of chi-square with 3 degrees of freedom


def test_evolutions_log_probabilities_are_those_of_all_mutants() -> None:
    searcher = RegularizedEvolution(SPACE, 3, population=5, tournament=2)
    taught(searcher, updates=1, batch=5)
    members = {m for m in map(tuple, searcher._history.tokens.tolist())}
    mutants = {
        (*m[:i], value, *m[i + 1 :]) for m in members for i, size in enumerate(SIZES) for value in range(size)
    } - members
    total = sum(math.exp(searcher._log_prob(tokens)) for tokens in mutants)
    assert total == pytest.approx(1.0)
    draw = searcher.suggest(1)[0]
    assert draw.log_prob == searcher._log_prob(draw.tokens)


def model_by_hand(trials: Sequence[Trial], metrics: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of all ways of both groups, mean and covariance of their scores: the joint Gaussian, conditioned."""
    grid = [list(itertools.product(*map(range, SIZES[:5]))), list(itertools.product(*map(range, SIZES[5:])))]
    tables = []
    for site, ways in zip(SPACE.sites, grid, strict=True):
        rows = []
        for way in ways:
            pattern = SPACE.decode(way * 2)[site.name]
            affected = 1.0 if pattern.size >= 8 else pattern.size / max(1, pattern.size + pattern.stride)
            share = 3 * affected * pattern.rate
            onehot = np.concatenate([np.eye(size)[token] for size, token in zip(SIZES[:5], way, strict=True)])
            rows.append(np.array([1, share, share**2, *onehot]) * (way[0] > 0))
        tables.append(np.array(rows))
    width = tables[0].shape[1]
    zero = np.zeros_like(tables[0])
    first, second = (np.concatenate(parts, 1) for parts in ((tables[0], zero, tables[0]), (zero, tables[1], tables[1])))
    place = [{way: number for number, way in enumerate(ways)} for ways in grid]
    x = np.array([first[place[0][t.suggestion.tokens[:5]]] + second[place[1][t.suggestion.tokens[5:]]] for t in trials])
    noise, score, shared = (metrics[name] for name in ("noise_deviation", "score_deviation", "shared"))
    prior = np.diag(score**2 * np.repeat([1 - shared, 1 - shared, shared / 2], width))
    y = np.array([t.reward for t in trials])
    gain = prior @ x.T @ np.linalg.inv(x @ prior @ x.T + noise**2 * np.eye(len(y)))
    return np.concatenate([first, second]), gain @ (y - y.mean()), prior - gain @ x @ prior


def test_thompsons_posterior_is_that_of_the_joint_gaussian() -> None:
    for count in (24, 80):  # fewer trials than features, and more
        searcher = Thompson(SPACE, 0, exploration=1.0)
        trials = finished(searcher.suggest(count))
        metrics = searcher.update(trials)
        x, mean, covariance = model_by_hand(trials, metrics)
        draws = [np.concatenate(searcher._scores(np.random.default_rng(seed))) for seed in range(3000)]
        width = len(draws[0]) // 2
        ways = len(x) // 2
        at = [0, 7, 100, 333, 599]
        mine = np.stack(
            [
                np.concatenate([x[at, :width] @ d[:width], x[[ways + p for p in at], width : 2 * width] @ d[width:]])
                for d in draws
            ]
        )
        rows = x[[*at, *(ways + p for p in at)]]
        spread = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", rows, covariance, rows), 0))
        np.testing.assert_allclose(mine.mean(0), rows @ mean, atol=4 * spread.max() / np.sqrt(3000))
        np.testing.assert_allclose(mine.std(0), spread, rtol=0.08, atol=1e-6)


def test_features_of_maps_of_several_sizes_and_of_no_pattern() -> None:
    maps = tuple(
        Site(name, ConvPattern, (side, side, 4), name, name) for name, side in (("a", 16), ("b", 8), ("c", 16))
    )
    space = SearchSpace((*maps, *SPACE.sites))
    features = GroupFeatures(space)
    assert features.kinds == [0, 0, 0, 1, 1]
    assert features.tables[0] is features.tables[2]  # as large as each other
    rng = np.random.default_rng(0)
    tokens = np.array([[rng.integers(size) for size in space.vocabulary_sizes] for _ in range(20)])
    rows = features.rows(tokens)
    for number, row in enumerate(tokens.tolist()):
        patterns = space.decode(row)
        for group, (site, columns) in enumerate(zip(space.sites, features.columns, strict=True)):
            assert rows[group][number][1] == pytest.approx(3 * dropped_share(site, patterns[site.name]), rel=1e-6)
            assert rows[group][number][0] == (not patterns[site.name].is_identity)
            assert rows[group][number].sum() == pytest.approx(
                0.0
                if patterns[site.name].is_identity
                else 1 + rows[group][number][1] + rows[group][number][2] + (columns.stop - columns.start)
            )
            way = np.flatnonzero((features.ways[group] == row[columns]).all(1))
            np.testing.assert_array_equal(features.tables[group][way[0]], rows[group][number].astype(np.float32))


def test_thompson_without_exploration_suggests_the_best_mean() -> None:
    searcher = Thompson(SPACE, 0, exploration=0.0)
    trials = finished(searcher.suggest(40))
    x, mean, _ = model_by_hand(trials, searcher.update(trials))
    values = (x @ mean).reshape(2, -1)
    grid = list(itertools.product(*map(range, SIZES[:5])))
    for suggestion in searcher.suggest(3):
        for group, tokens in enumerate((suggestion.tokens[:5], suggestion.tokens[5:])):
            assert values[group][grid.index(tokens)] == pytest.approx(values[group].max(), abs=1e-6)


def test_thompson_suggests_the_same_whatever_the_unit_of_the_reward() -> None:
    suggested = []
    for unit in (1.0, 1e-8, 1e8):
        searcher = Thompson(SPACE, 0)
        searcher.update(finished(searcher.suggest(40), reward=lambda t, unit=unit: unit * (1 + sum(t))))
        suggested.append([s.tokens for s in searcher.suggest(20)])
    assert suggested[0] == suggested[1] == suggested[2]


def test_thompson_takes_what_it_learns_at_one_site_for_likely_at_others() -> None:
    searcher = Thompson(SPACE, 0)
    suggestions = searcher.suggest(60)
    searcher.update(finished(suggestions, reward=lambda t: float(t[0] == 2) + float(t[5] == 2)))
    assert searcher._learn()["shared"] > 0


def test_thompson_starts_uniformly_and_bears_equal_rewards() -> None:
    searcher = Thompson(SPACE, 0)
    draws = np.array([s.tokens for s in searcher.suggest(3000)])
    for decision, size in enumerate(SIZES):
        counts, expected = np.bincount(draws[:, decision], minlength=size), 3000 / size
        assert ((counts - expected) ** 2 / expected).sum() < 25  # 99.9 % of chi-square with 5 is 20.5; ten of them
    metrics = taught(searcher, reward=lambda tokens: 0.5).update(finished(searcher.suggest(4), reward=lambda t: 0.5))
    assert all(math.isfinite(value) for value in metrics.values())
    assert len({s.tokens for s in searcher.suggest(8)}) > 1


class OwnLogProb(Thompson):
    def log_prob(self, tokens: Sequence[int]) -> float:
        return -float(sum(tokens))


@pytest.mark.parametrize("capacity", [1, 4])
def test_a_warm_start_suggests_the_given_ones_first_and_goes_on_after_a_stop_at_any_point(capacity: int) -> None:
    first = [(0,) * 10, (1,) * 4 + (0,) * 6, (3, 1, 0, 0, 1) * 2]

    def make() -> WarmStart:
        return WarmStart(OwnLogProb(SPACE, 3), first)

    whole, made = make(), []  # an update after each trial
    stops = []
    for _ in range(8):
        made += whole.suggest(capacity)
        stops.append((whole.version, whole.state() if whole.version else None, capacity))
        whole.update(finished(made[-1:]))
    assert [s.tokens for s in made[:3]] == first
    assert [s.log_prob for s in made[:3]] == [0.0, -4.0, -10.0]
    assert whole.describe() == OwnLogProb(SPACE, 3).describe() | {"first": 3}
    one = make()
    again = []
    for version in range(8):
        again += one.suggest(capacity)
        one.update(finished(again[-1:]))
        other = make()
        other.restore(version + 1, one.state(), 0)
        one = other
    assert again == made


def test_a_restored_warm_start_has_given_what_it_had() -> None:
    first = [(token,) * 10 for token in (0, 1, 1, 0)]
    whole = WarmStart(Thompson(SPACE, 0), first)
    expected = whole.suggest(6)
    for suggested in range(6):
        part = WarmStart(Thompson(SPACE, 0), first)
        part.restore(0, None, suggested)
        assert part.suggest(6 - suggested) == expected[suggested:]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: RegularizedEvolution(SPACE, 0, population=0), "population"),
        (lambda: RegularizedEvolution(SPACE, 0, tournament=0), "tournament"),
        (lambda: Thompson(SPACE, 0, exploration=-1.0), "exploration"),
        (lambda: Thompson(SPACE, 0, exploration=math.nan), "exploration"),
    ],
)
def test_bad_settings_are_refused(make: Callable[[], Searcher], name: str) -> None:
    with pytest.raises(ValueError, match=f"Invalid value for '{name}'"):
        make()
