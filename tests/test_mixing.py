"""Manifold Mixup and MoEx against NumPy, and how often and where they mix."""

import numpy as np
import pytest
import tensorflow as tf

from tf_autodropout.models import wide_resnet
from tf_autodropout.search.recipes.mixing import ManifoldMixup, MixingClassifier, MomentExchange

RNG = np.random.default_rng(0)
PLACES = ["images", "stage1_block1_add", "stage2_block1_add"]


def small() -> tf.keras.Model:
    return wide_resnet(10, 1, (8, 8, 3))


def test_manifold_mixup_is_a_weighted_mean_of_two_examples() -> None:
    x, partner = RNG.normal(size=(5, 3, 3, 2)).astype(np.float32), np.array([3, 0, 4, 1, 2])
    mixed = ManifoldMixup().mixed(x, partner, 0.3)
    np.testing.assert_allclose(mixed, 0.3 * x + 0.7 * x[partner], rtol=1e-6)


def test_moment_exchange_gives_each_position_the_moments_of_its_partner() -> None:
    x = RNG.normal(1.0, 3.0, (4, 5, 5, 64)).astype(np.float32)
    partner = np.array([2, 3, 1, 0])
    mixed = np.array(MomentExchange(epsilon=1e-5).mixed(x, partner, 0.9))
    mean, deviation = x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(mixed, (x - mean) / deviation * deviation[partner] + mean[partner], atol=1e-4)
    np.testing.assert_allclose(mixed.mean(-1), x[partner].mean(-1), atol=1e-4)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_network_mixes_at_the_place_that_is_drawn(place: int) -> None:
    """At place 0 mixing the input is the same as giving the network mixed images; elsewhere it is not."""
    network = small()
    model = MixingClassifier(network, PLACES, alpha=1.0)
    x, partner = RNG.normal(size=(4, 8, 8, 3)).astype(np.float32), np.array([1, 0, 3, 2])
    plain = small()
    plain.set_weights(network.get_weights())
    with model._mixture.of(partner, 0.25, place):
        mixed = model(x, training=True).numpy()
    by_hand = plain(0.25 * x + 0.75 * x[partner], training=True).numpy()
    assert np.allclose(mixed, by_hand, atol=1e-4) is (place == 0)
    assert not np.allclose(mixed, plain(x, training=True).numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", [{"alpha": 2.0}, {"exchange": 0.5}])
def test_outside_a_training_step_nothing_is_mixed(kind: dict[str, float]) -> None:
    network = small()
    x = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
    before = network(x).numpy()
    model = MixingClassifier(network, PLACES[1:2], **kind)  # type: ignore[arg-type]
    np.testing.assert_array_equal(model(x).numpy(), before)
    assert model.network.output_shape == (None, 10)


def test_labels_are_mixed_by_the_same_weight_and_partner() -> None:
    model = MixingClassifier(small(), PLACES, alpha=1.0)
    seen = {}
    model.compile("sgd", lambda y, p: seen.setdefault("y", tf.identity(y))[:, 0] * 0.0 + p[:, 0], run_eagerly=True)
    model.draw = lambda count: (np.array([1, 0]), 0.25, 0)  # type: ignore[method-assign]
    model.fit(np.zeros((2, 8, 8, 3), np.float32), np.eye(10, dtype=np.float32)[:2], verbose=0)
    np.testing.assert_allclose(seen["y"][:, :2], [[0.25, 0.75], [0.75, 0.25]])


def test_draws_are_of_the_stated_share_places_and_weights() -> None:
    """Of 400 steps at probability 0.25 between 65 and 135 mix (4 sigma), at each of three places some."""
    model = MixingClassifier(small(), PLACES, alpha=2.0, probability=0.25, seed=3)
    draw = tf.function(lambda: model.draw(6))
    draws = [draw() for _ in range(400)]
    places = np.array([int(place) for *_, place in draws])
    weights = np.array([float(weight) for _, weight, _ in draws])
    assert 65 <= (places >= 0).sum() <= 135
    assert {0, 1, 2} <= set(places.tolist())
    assert (weights[places < 0] == 1).all()
    assert abs(weights[places >= 0].mean() - 0.5) < 0.1  # Beta(2, 2): mean 1/2, deviation 0.22
    assert all(sorted(partner.numpy()) == list(range(6)) for partner, *_ in draws[:5])


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(ValueError, match="either alpha or exchange"):
        MixingClassifier(small(), PLACES)
    with pytest.raises(ValueError, match="No such layer"):
        MixingClassifier(small(), ["nowhere"], alpha=1.0)
