"""What the benchmarks of searches compute from their trainings: figure5.py, population.py, reward_models.py."""

import numpy as np
import pytest

from tests.benchmark_scripts import script
from tf_autodropout.patterns import PatternSet, Site, TransformerPattern
from tf_autodropout.search.space import SearchSpace

SPACE = SearchSpace(tuple(Site(name, TransformerPattern, (32, 96), name, name) for name in ("ffn", "output")))


def test_figure_5_tells_leads_over_random_and_who_overtakes_whom() -> None:
    figure5 = script("figure5")
    slow, fast = np.linspace(0.1, 1.0, 16), np.minimum(np.linspace(0.2, 3.2, 16), 2.0)
    curves = {"thompson": np.stack([fast, fast + 0.1]), "random": np.stack([slow, slow + 0.1])}
    lines = figure5.table(curves)
    assert "| thompson | 16 | 2.0500 [2.0000, 2.1000] | +1.0000 [+1.0000, +1.0000] |" in lines
    assert "| random | 8 | 0.5700 [0.5200, 0.6200] |  |" in lines
    assert "- What `random` has after 16 trials (1.0500): `thompson` after 5." in lines
    assert not any("What `thompson`" in line for line in lines)  # random never has it
    labels = [line.get_label() for line in figure5.figure(curves, "pydoc").axes[0].get_lines()]
    assert labels == ["thompson", "random"]


def test_mutation_stays_on_the_grid_and_changes_about_the_share_that_it_says() -> None:
    population = script("population")
    sizes, rng = (5,) * 40, np.random.default_rng(0)
    tokens = tuple(int(rng.integers(5)) for _ in sizes)
    children = np.array([population.mutated(tokens, sizes, rng) for _ in range(500)])
    assert children.min() >= 0
    assert children.max() <= 4
    changed = (children != np.array(tokens)).mean()
    # Drawn anew it is another one in 4 of 5; a step off the edge of the grid stays.
    inner = np.mean([0.5 + 0.5 * (0 < token < 4) for token in tokens])
    assert changed == pytest.approx(0.1 * 0.8 + 0.2 * inner, abs=0.01)


def test_pair_terms_are_products_of_two_groups() -> None:
    features = script("reward_models").Features
    both = PatternSet({"ffn": TransformerPattern(size=1, rate=0.3), "output": TransformerPattern(size=1, rate=0.3)})
    one = PatternSet({"ffn": both["ffn"]})
    plain, pairs = features(SPACE), features(SPACE, pairs=True)
    width = plain([one]).shape[1]
    np.testing.assert_array_equal(pairs([one, both])[:, :width], plain([one, both]))
    assert not pairs([one])[:, width:].any()
    share = plain([both])[0, 1]
    assert share > 0
    assert pairs([both])[0, width:].reshape(3, 3)[1, 1] == pytest.approx(share**2)


def test_a_cheap_trial_that_tells_nothing_has_no_correlation_and_a_copy_has_one() -> None:
    correlation = script("cheap_trials").correlation
    full = np.random.default_rng(0).normal(size=64)
    assert correlation(2 * full + 1, full) == "1.00 [1.00, 1.00]"
    low, high = correlation(np.random.default_rng(1).normal(size=64), full).split("[")[1].rstrip("]").split(", ")
    assert float(low) < 0 < float(high)
