"""Eq. 3 with trials that come back in reverse order and up to 8 updates late: exact expectations."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.fakes import ScriptedEngine
from tf_autodropout.patterns import PatternSet, Site, TransformerPattern
from tf_autodropout.search.core import Trial
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.loop import search_loop
from tf_autodropout.search.searchers import Reinforce, reinforce
from tf_autodropout.search.searchers.controller import Controller
from tf_autodropout.search.searchers.learner import LearnerConfig, importance_weights, policy_loss
from tf_autodropout.search.space import SearchSpace

C, M = 18, 4
SEQUENCES = np.array(list(itertools.product(range(2), range(3))), np.int32)  # all of them, (6, L)
LETTER = LearnerConfig(learning_rate=0.02, bias_learning_rate=0.0, scale_advantages=False, ratio_clip=0.0)


class TinySpace(SearchSpace):
    vocabulary_sizes = (2, 3)

    def decode(self, tokens: Sequence[int]) -> PatternSet:
        return PatternSet({"site": TransformerPattern(size=1 + tokens[0], rate=(0.1, 0.5, 0.9)[tokens[1]])})


SPACE = TinySpace((Site("site", TransformerPattern, (8, 4), "site", "all"),))


class Blocks(ScriptedEngine):
    """Hands back the oldest C trials in reverse order, then the next C."""

    def __init__(self) -> None:
        super().__init__(lambda waiting: max(n for n in waiting if (n - 1) // C == (min(waiting) - 1) // C))


def gradient(controller: Controller, tokens: Any, weighting: Any, behaviour: Any, advantages: Any) -> np.ndarray:
    """Gradient of the learner's own loss, each sequence's term times `weighting`, as one vector."""
    with tf.GradientTape() as tape:
        log_prob, _ = controller.log_prob_and_entropy(tokens)
        weights = importance_weights(log_prob, tf.constant(behaviour, tf.float32), LETTER.ratio_clip)
        loss = policy_loss(log_prob, weights, tf.constant(weighting * advantages, tf.float32))
    found = tape.gradient(loss, controller.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return np.concatenate([np.ravel(tf.convert_to_tensor(g)) for g in found])


class Watched(Reinforce):
    """Checks every update against the exact policy gradient, before it is made."""

    def __init__(self) -> None:
        super().__init__(SPACE, seed=1, batch=M, config=LETTER)
        self.tables: list[np.ndarray] = []  # log-probability of every sequence under each version
        self.staleness: list[int] = []
        self.largest_ratio = self.largest_gradient = 0.0
        self._note()

    def _note(self) -> None:
        self.tables.append(self._controller.log_prob_and_entropy(SEQUENCES)[0].numpy().astype(np.float64))

    def update(self, trials: Sequence[Trial]) -> dict[str, float]:
        if self.version:  # the first batch is its own baseline
            self._check(trials)
        metrics = super().update(trials)
        self._note()
        return metrics

    def _check(self, trials: Sequence[Trial]) -> None:
        now = np.exp(self.tables[-1])
        rewards = np.array([reward(SPACE.decode(tokens)) for tokens in SEQUENCES])
        advantages = rewards - self._learner.baseline
        # Eq. 2, in expectation: the sum over all sequences of P(r) * (R(r) - b) * grad log P(r).
        exact = gradient(self._controller, SEQUENCES, len(now) * now, np.log(now), advantages)
        expected = np.zeros_like(exact)
        for trial in trials:
            table = self.tables[trial.suggestion.version]
            place = int(np.flatnonzero((trial.suggestion.tokens == SEQUENCES).all(1))[0])
            # What the ledger holds is the log-probability under the weights that suggested the trial.
            np.testing.assert_allclose(trial.suggestion.log_prob, table[place], atol=1e-5)
            self.staleness.append(self.version - trial.suggestion.version)
        # Eq. 3, in expectation: each trial is drawn by the version that suggested it.
        for version, count in Counter(trial.suggestion.version for trial in trials).items():
            table = self.tables[version]
            drawn = len(now) * np.exp(table) * count / len(trials)
            expected += gradient(self._controller, SEQUENCES, drawn, table, advantages)
            self.largest_ratio = max(self.largest_ratio, float((now / np.exp(table)).max()))
        np.testing.assert_allclose(expected, exact, atol=1e-5)
        self.largest_gradient = max(self.largest_gradient, float(np.abs(exact).max()))


def reward(patterns: PatternSet) -> float:
    (pattern,) = patterns.values()
    return pattern.rate * pattern.size


def test_the_weighted_update_is_unbiased_however_late_the_trials_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.score", reward)
    monkeypatch.setattr(
        reinforce,
        "Controller",
        lambda sizes, seed: Controller(sizes, hidden_dim=8, num_layers=1, num_heads=1, seed=seed),
    )
    monkeypatch.setattr(tf, "function", lambda function, **_: function)  # a few calls are not worth compiling
    searcher = Watched()
    ledger = Ledger(tmp_path, {"task": "tiny"})
    search_loop(searcher, ledger, Blocks(), SPACE.decode, 2 * C, C, M)
    ledger.close()
    assert max(searcher.staleness) == 8
    assert min(searcher.staleness) <= 1
    assert searcher.largest_ratio > 1.1  # the weights are not all 1, and not clipped
    assert searcher.largest_gradient > 1e-2  # nor is the gradient all 0
