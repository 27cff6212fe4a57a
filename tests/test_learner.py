"""Eq. 2 and 3, by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.test_controller import shaken
from tf_autodropout.search.searchers.controller import Controller
from tf_autodropout.search.searchers.learner import Learner, LearnerConfig, importance_weights, policy_loss

SIZES = [3, 2, 2]


def score_gradients(controller: Controller, tokens: np.ndarray) -> list[list[np.ndarray]]:
    """Gradient of log P of each sequence, one sequence at a time."""
    result = []
    for row in tokens:
        with tf.GradientTape() as tape:
            log_prob = controller.log_prob_and_entropy(row[None])[0][0]
        gradients = tape.gradient(
            log_prob, controller.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        result.append([tf.convert_to_tensor(g).numpy().astype(np.float64) for g in gradients])
    return result


def loss_gradient(controller: Controller, tokens: np.ndarray, behaviour: np.ndarray, r: np.ndarray, b: float):
    with tf.GradientTape() as tape:
        log_prob, _ = controller.log_prob_and_entropy(tokens)
        weights = importance_weights(log_prob, tf.constant(behaviour, tf.float32))
        loss = policy_loss(log_prob, weights, tf.constant(r - b, tf.float32))
    gradients = tape.gradient(loss, controller.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [-tf.convert_to_tensor(g).numpy() for g in gradients]


def test_eq_3_by_hand_with_stale_and_fresh_trials_mixed() -> None:
    old, new = shaken(SIZES, 0.1), shaken(SIZES, -0.1)
    stale, stale_log_prob = (x.numpy() for x in old.sample(5, (0, 1)))
    fresh, fresh_log_prob = (x.numpy() for x in new.sample(3, (0, 2)))
    tokens = np.concatenate([stale, fresh])
    behaviour = np.concatenate([stale_log_prob, fresh_log_prob])
    rewards, baseline = np.array([0.9, 0.1, 0.5, 0.7, 0.3, 0.8, 0.2, 0.6]), 0.45

    now = new.log_prob_and_entropy(tokens)[0].numpy().astype(np.float64)
    ratio = np.exp(now - behaviour)
    assert np.abs(ratio[:5] - 1).max() > 0.05  # stale indeed
    np.testing.assert_allclose(ratio[5:], 1.0, atol=1e-4)
    scores = score_gradients(new, tokens)
    by_hand = [
        sum(w * (r - baseline) * g[k] for w, r, g in zip(ratio, rewards, scores, strict=True)) / len(tokens)
        for k in range(len(new.trainable_variables))
    ]
    for mine, ours in zip(by_hand, loss_gradient(new, tokens, behaviour, rewards, baseline), strict=True):
        np.testing.assert_allclose(ours, mine, atol=1e-5)
    assert max(np.abs(g).max() for g in by_hand) > 1e-3


def test_at_zero_staleness_eq_3_equals_eq_2() -> None:
    controller = shaken(SIZES)
    tokens, behaviour = (x.numpy() for x in controller.sample(6, (5, 5)))
    rewards = np.linspace(0, 1, 6)
    scores = score_gradients(controller, tokens)
    eq_2 = [
        sum((r - 0.5) * g[k] for r, g in zip(rewards, scores, strict=True)) / 6
        for k in range(len(controller.trainable_variables))
    ]
    for mine, ours in zip(eq_2, loss_gradient(controller, tokens, behaviour, rewards, 0.5), strict=True):
        np.testing.assert_allclose(ours, mine, atol=1e-5)


def test_ratio_clip_limits_weights_from_above_only() -> None:
    weights = importance_weights(tf.constant([0.0, 2.0, -3.0]), tf.constant([0.0, 0.0, 0.0]), ratio_clip=1.5)
    np.testing.assert_allclose(weights, [1.0, 1.5, np.exp(-3.0)], rtol=1e-6)


def learner(**settings: float) -> Learner:
    return Learner(Controller([2, 2], num_layers=1, seed=0), LearnerConfig(**settings))


def test_updates_raise_the_probability_of_what_is_rewarded() -> None:
    mine = learner(learning_rate=0.05)
    for step in range(30):
        tokens, log_prob = (x.numpy() for x in mine.controller.sample(16, (0, step)))
        metrics = mine.update(tokens, log_prob, tokens[:, 0] == 1)
    log_prob, _ = mine.controller.log_prob_and_entropy([[1, 0], [1, 1]])
    assert np.exp(log_prob).sum() > 0.9
    assert metrics["effective_sample_size"] == pytest.approx(16, abs=0.01)


def test_the_baseline_is_a_moving_average_and_after_restore_a_learner_goes_on_alike() -> None:
    first = learner(baseline_decay=0.8)
    second = Learner(Controller([2, 2], num_layers=1, seed=7), LearnerConfig(baseline_decay=0.8))
    assert first.baseline is None
    tokens, behaviour = [[0, 1], [1, 0]], [np.log(0.25)] * 2
    assert first.update(tokens, behaviour, [1.0, 3.0])["baseline"] == pytest.approx(2.0)  # the first batch's own
    second.restore(first.state())
    for mine in (first, second):
        assert mine.update(tokens, behaviour, [4.0, 8.0])["baseline"] == pytest.approx(0.8 * 2.0 + 0.2 * 6.0)
    assert first.baseline == second.baseline
    for a, b in zip(first.controller.variables, second.controller.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_restore_refuses_another_controllers_state() -> None:
    with pytest.raises(ValueError, match="another controller"):
        learner().restore(Learner(Controller([2, 2], num_layers=2)).state())


def test_bad_batches_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="as many"):
        learner().update([[0, 0]], [0.0, 0.0], [1.0])
    with pytest.raises(ValueError, match="finite"):
        learner().update([[0, 0]], [0.0], [float("nan")])
    with pytest.raises(ValueError, match="learning_rate"):
        LearnerConfig(learning_rate=0.0)
    with pytest.raises(ValueError, match="baseline_decay"):
        LearnerConfig(baseline_decay=1.0)
    with pytest.raises(ValueError, match="ratio_clip"):
        LearnerConfig(ratio_clip=-1.0)


@pytest.mark.slow
def test_the_fraction_of_clipped_weights_is_logged() -> None:
    mine = learner(ratio_clip=1.0)
    # Under the untrained controller each has probability 1/4: ratios 0.5, 1 and 2, so one is above 1.
    metrics = mine.update([[0, 0], [0, 1], [1, 1]], np.log([0.5, 0.25, 0.125]).tolist(), [0.0, 1.0, 0.5])
    assert metrics["clipped_fraction"] == pytest.approx(1 / 3)
    assert metrics["largest_weight"] == pytest.approx(1.0)
    assert learner(ratio_clip=0.0).update([[0, 0]], [np.log(1e-9)], [1.0])["clipped_fraction"] == 0.0


@pytest.mark.slow
def test_replayed_trials_are_weighed_like_fresh_ones_and_the_oldest_are_forgotten() -> None:
    mine = learner(replay=3, scale_advantages=False, ratio_clip=0.0)
    batches = [([[0, 1], [1, 1]], [0.2, 0.8]), ([[1, 0], [0, 0]], [0.9, 0.1]), ([[1, 1], [0, 1]], [0.5, 0.3])]
    for tokens, rewards in batches[:2]:
        mine.update(tokens, [np.log(0.25)] * 2, rewards)
    tokens = np.array([[1, 1], *batches[1][0], *batches[2][0]])  # three of four, then the fresh ones
    rewards = np.array([0.8, *batches[1][1], *batches[2][1]])
    assert mine.baseline is not None
    by_hand = loss_gradient(mine.controller, tokens, np.full(5, np.log(0.25)), rewards, mine.baseline)
    fresh = loss_gradient(mine.controller, tokens[3:], np.full(2, np.log(0.25)), rewards[3:], mine.baseline)
    norm, alone = (math.sqrt(sum(float((g**2).sum()) for g in one)) for one in (by_hand, fresh))
    assert abs(norm / alone - 1) > 0.05
    metrics = mine.update(batches[2][0], [np.log(0.25)] * 2, batches[2][1])
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=2e-3)  # float32, once compiled
    assert metrics["effective_sample_size"] <= 5
    again = learner(replay=3, scale_advantages=False, ratio_clip=0.0)
    again.restore(mine.state())
    for one in (mine, again):
        one.update([[0, 0]], [np.log(0.25)], [0.7])
    for a, b in zip(mine.controller.variables, again.controller.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    with pytest.raises(ValueError, match="another controller"):
        learner().restore(mine.state())


@pytest.mark.slow
def test_more_gradient_steps_go_further() -> None:
    moved = []
    for epochs in (1, 3):
        mine = learner(epochs=epochs)
        mine.update([[0, 1], [1, 0]], [np.log(0.25)] * 2, [1.0, 0.0])
        moved.append(float(mine.controller.log_prob_and_entropy([[0, 1]])[0][0]))
    assert moved[1] > moved[0] > np.log(0.25)
    with pytest.raises(ValueError, match="epochs"):
        LearnerConfig(epochs=0)
