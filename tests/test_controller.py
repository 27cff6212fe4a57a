"""The controller: sampling and scoring are one distribution."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tf_autodropout.search.searchers.controller import Controller


def shaken(sizes: list[int], scale: float = 0.3, **kwargs: int) -> Controller:
    """A controller whose weights are far from uniform."""
    controller = Controller(sizes, **kwargs)
    rng = np.random.default_rng(0)
    for variable in controller.trainable_variables:
        variable.assign(variable.numpy() + scale * rng.standard_normal(variable.shape))
    return controller


def test_an_untrained_controller_is_uniform() -> None:
    sizes = [6, 5, 2, 4]
    tokens, log_prob = Controller(sizes).sample(8, (0, 0))
    np.testing.assert_allclose(log_prob, -np.log(sizes).sum(), rtol=1e-5)
    assert (tokens.numpy() < sizes).all()
    assert (tokens.numpy() >= 0).all()


def test_sampling_with_a_cache_agrees_with_teacher_forcing() -> None:
    controller = shaken([6, 5, 2, 4] * 10, scale=0.1)
    tokens, log_prob = controller.sample(16, (3, 4))
    scored, _ = controller.log_prob_and_entropy(tokens)
    np.testing.assert_allclose(log_prob, scored, atol=2e-4)
    assert np.std(log_prob) > 0.1  # far from uniform, or the test would say nothing


def test_probabilities_of_all_sequences_sum_to_one_and_entropy_is_right() -> None:
    sizes = [3, 2, 4]
    controller = shaken(sizes)
    everything = list(itertools.product(*map(range, sizes)))
    log_prob, _ = controller.log_prob_and_entropy(everything)
    assert np.exp(log_prob.numpy().astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-5)
    # The entropy along a sequence is that of each step given the tokens before: its expectation
    # over sequences is the entropy of the whole distribution.
    p = np.exp(log_prob.numpy().astype(np.float64))
    _, entropy = controller.log_prob_and_entropy(everything)
    assert (p * entropy.numpy()).sum() == pytest.approx(-(p * np.log(p)).sum(), abs=1e-4)


def test_samples_follow_the_distribution() -> None:
    sizes = [3, 2]
    controller = shaken(sizes)
    everything = list(itertools.product(*map(range, sizes)))
    log_prob, _ = controller.log_prob_and_entropy(everything)
    p = np.exp(log_prob.numpy().astype(np.float64))
    draws = np.concatenate([controller.sample(256, (0, i))[0].numpy() for i in range(16)])
    counts = np.array([(draws == row).all(1).sum() for row in np.array(everything)])
    chi2 = ((counts - len(draws) * p) ** 2 / (len(draws) * p)).sum()
    assert chi2 < 20.5  # 99.9 % quantile of chi-square with 5 degrees of freedom


def test_each_token_depends_on_the_tokens_before_and_on_no_later_one() -> None:
    controller = shaken([4, 4, 4, 4])
    base = np.array([[0, 1, 2, 3]])

    def steps(tokens: np.ndarray) -> np.ndarray:
        scores = []
        for length in range(1, 5):  # sum over all continuations = score of the prefix
            tails = itertools.product(range(4), repeat=4 - length)
            full = np.array([[*tokens[0, :length], *tail] for tail in tails])
            scores.append(np.log(np.exp(controller.log_prob_and_entropy(full)[0].numpy()).sum()))
        return np.diff(scores, prepend=0.0)

    changed = base.copy()
    changed[0, 1] = 3
    before, after = steps(base), steps(changed)
    assert before[0] == pytest.approx(after[0], abs=1e-5)
    assert abs(before[2] - after[2]) > 1e-3
    assert abs(before[3] - after[3]) > 1e-3


def test_the_same_seed_gives_the_same_samples() -> None:
    first, second = Controller([5] * 6, seed=1), Controller([5] * 6, seed=1)
    np.testing.assert_array_equal(first.sample(4, (1, 2))[0], second.sample(4, (1, 2))[0])
    assert (first.sample(4, (1, 2))[0].numpy() != first.sample(4, (1, 3))[0].numpy()).any()


def test_gradients_reach_every_weight_once_it_is_not_uniform() -> None:
    controller = shaken([3, 4, 2])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(controller.log_prob_and_entropy([[0, 3, 1], [2, 0, 0]])[0])
    gradients = tape.gradient(loss, controller.trainable_variables)
    assert all(gradient is not None for gradient in gradients)


@pytest.mark.parametrize("sizes", [[], [3, 0]])
def test_bad_sizes_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="vocabulary_sizes"):
        Controller(sizes)
