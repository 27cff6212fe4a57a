"""A race: the beaten are dropped, the close ones get their trainings, and it goes on from what there is."""

import numpy as np
import pytest

from tf_autodropout.search.results.race import MOST, standing


def run_race(means, noise, budget, rng):
    """Asks for what is wanted until nothing is; returns rewards and the end."""
    rewards = [[] for _ in means]
    common = rng.normal(0, 1, MOST)  # a seed that is kind to all
    while (now := standing(rewards, budget)).wanted:
        for place, seed in now.wanted:
            assert seed == len(rewards[place])
            rewards[place].append(means[place] + common[seed] + noise * rng.normal())
    return rewards, now


def test_two_seeds_for_all_then_the_close_ones_alone():
    rewards, now = run_race([5.0, 4.99, 3.0, 2.0, 1.0, 4.98], 0.1, 18, np.random.default_rng(0))
    counts = [len(row) for row in rewards]
    assert counts[2:5] == [2, 2, 2]
    assert min(counts[0], counts[1], counts[5]) == 4
    assert sum(counts) <= 18
    assert set(now.alive) <= {0, 1, 5}


def test_it_finds_the_best_more_often_than_equal_shares_do():
    raced = shared = 0
    for seed in range(300):
        means = [10.0, 9.7, 9.0, 8.5, 8.0, 7.5]
        _, now = run_race(means, 0.4, 18, np.random.default_rng(seed))
        raced += now.alive[0] == 0
        rng = np.random.default_rng(seed + 1000)
        shared += np.argmax(np.array(means) + 0.4 * rng.normal(size=(3, 6)).mean(0)) == 0
    assert raced > shared + 5


@pytest.mark.parametrize(
    ("rewards", "wanted"),
    [
        ([[], []], ((0, 0), (1, 0), (0, 1), (1, 1))),
        ([[1.0, None], [1.0, 1.0]], ((0, 1),)),
        ([[1.0, 1.1], [1.1, 1.0]], ((0, 2), (1, 2))),
    ],
)
def test_what_it_waits_for(rewards, wanted):
    assert standing(rewards, 6).wanted == wanted


def test_edges():
    assert standing([[1.0, 1.0]], 100).wanted == ()
    assert standing([[]], 0).wanted == ((0, 0), (0, 1))
    assert standing([[0.0, 2.0], [1.0, 1.0]], 4).alive == (1,)  # a diverged one is out
    assert standing([[0.0, 0.0], [0.0, 0.0]], 4).alive == (0, 1)
    even = [[1.0] * MOST, [1.0] * MOST]
    assert standing(even, 10**6) == standing(even, 2 * MOST)
