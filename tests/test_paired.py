"""Paired statistics, against every flip of the signs counted by hand."""

import itertools
import math

import numpy as np
import pytest

from tf_autodropout.search.results.comparison import Row, verdict
from tf_autodropout.search.results.paired import holm, paired_lead

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("seeds", [2, 3, 6, 10])
@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
def test_the_p_is_the_share_of_sign_flips_that_lead_as_far(seeds, shift):
    ours, theirs = RNG.normal(size=seeds), RNG.normal(size=seeds) + shift
    lead = paired_lead(ours, theirs, lower_is_better=True)
    ahead = theirs - ours
    means = np.array([np.mean(ahead * signs) for signs in itertools.product((1, -1), repeat=seeds)])
    one_side = min((means >= ahead.mean() - 1e-12).mean(), (means <= ahead.mean() + 1e-12).mean())
    assert lead.mean == pytest.approx(ahead.mean())
    assert lead.p == pytest.approx(min(1.0, 2 * one_side))
    other = paired_lead(theirs, ours, lower_is_better=True)
    assert (other.mean, other.p) == (pytest.approx(-lead.mean), pytest.approx(lead.p))
    accuracy = paired_lead(ours, theirs, lower_is_better=False)
    assert accuracy.mean == pytest.approx(-lead.mean)


def test_a_common_swing_of_the_seeds_does_not_hide_a_lead():
    swing = np.array([0.0, 5.0, -4.0, 9.0, -7.0, 2.0])
    lead = paired_lead(swing, swing + np.array([1.0, 1.2, 0.9, 1.1, 0.8, 1.0]), lower_is_better=True)
    assert lead.p == 2 / 2**6
    assert lead.mean == pytest.approx(1.0)
    assert 0.8 < lead.low < 1.0 < lead.high < 1.2


def test_intervals_cover_as_often_as_they_say():
    inside = 0
    for _ in range(200):
        lead = paired_lead(np.zeros(10), RNG.normal(1.0, 1.0, 10), lower_is_better=True)
        inside += lead.low <= 1.0 <= lead.high
    assert 165 <= inside <= 199  # 95 % for large samples, about 90 % for ten


def test_edges():
    with pytest.raises(ValueError, match="equally many scores, at least one. Received: 2 and 1"):
        paired_lead([1, 2], [1], True)
    with pytest.raises(ValueError, match="Received: 0 and 0"):
        paired_lead([], [], True)
    one = paired_lead([1.0], [3.0], True)
    assert (one.mean, one.p, math.isnan(one.low)) == (2.0, 1.0, True)
    assert math.isnan(paired_lead([1.0, 2.0], [3.0, math.nan], True).mean)
    alike = paired_lead([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], True)
    assert (alike.low, alike.high) == (1.0, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def rows(*leads):
    found = np.linspace(60, 61, 6)
    spread = np.array([-0.02, 0.01, 0.0, 0.03, -0.01, -0.01])
    others = [Row(f"rival {lead:g}", (), tuple(found + lead + spread)) for lead in leads]
    return [Row("best PatternSet", (), tuple(found)), *others]


def test_the_verdict_is_about_all_opponents():
    text = verdict(rows(2.0, 0.5, 1.0), lower_is_better=True)
    assert text.startswith("The best PatternSet leads all 3 opponents, the closest, rival 0.5, by +0.50 [")
    assert "over 6 paired seeds; largest sign-flip p 0.0312." in text
    assert verdict(rows(2.0, 0.001), True).startswith("No clear winner: against rival 0.001")
    assert verdict(rows(-2.0), True).startswith("The best PatternSet trails rival -2 by -2.00")
    many = verdict(rows(-2.0, 1.0, 1.1), True)
    assert many.startswith("No clear winner"), "0.031 is not below 0.05 among three"
    few = [Row(row.name, (), row.test[:3]) for row in rows(2.0)]
    assert "3 seeds cannot give a p below 0.25." in verdict(few, True)
