"""UDA's losses against NumPy, and what reaches the gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_autodropout.search.recipes.uda import UDA, consistency_loss, tsa_threshold

RNG = np.random.default_rng(0)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def reference(original: np.ndarray, augmented: np.ndarray, temperature: float, threshold: float) -> np.ndarray:
    p, q = softmax(original / temperature), softmax(augmented)
    return (p * (np.log(p) - np.log(q))).sum(-1) * (softmax(original).max(-1) > threshold)


@pytest.mark.parametrize(("temperature", "threshold"), [(1.0, 0.0), (0.4, 0.8), (0.4, 0.5)])
def test_the_consistency_loss_is_the_formula(temperature: float, threshold: float) -> None:
    original, augmented = (RNG.normal(0, 2, (50, 7)).astype(np.float32) for _ in range(2))
    loss = consistency_loss(original, augmented, temperature, threshold)
    expected = reference(original.astype(float), augmented.astype(float), temperature, threshold)
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-5)
    if threshold:
        assert 0 < (expected == 0).sum() < 50


def test_no_gradient_flows_into_the_prediction_on_the_original() -> None:
    x, y = (tf.Variable(RNG.normal(size=(3, 4)).astype(np.float32)) for _ in range(2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(consistency_loss(x, y, 0.4))
    assert tape.gradient(loss, x) is None


@pytest.mark.parametrize(("schedule", "half"), [("linear", 0.5), ("log", 1 - np.exp(-2.5)), ("exp", np.exp(-2.5))])
def test_annealing_rises_from_chance_to_one(schedule: str, half: float) -> None:
    assert float(tsa_threshold(schedule, 1.0, 10)) == pytest.approx(1.0, abs=0.01)
    assert float(tsa_threshold(schedule, 0.5, 10)) == pytest.approx(half * 0.9 + 0.1)
    assert float(tsa_threshold(schedule, 0.0, 10)) == pytest.approx(0.1, abs=0.01)


def linear() -> keras.Model:
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="d")], name="linear")


def batch() -> tuple[dict[str, np.ndarray], np.ndarray]:
    x = {name: RNG.normal(size=(n, 6)).astype(np.float32) for name, n in (("labelled", 4), ("original", 8))}
    return {**x, "augmented": RNG.normal(size=(8, 6)).astype(np.float32)}, np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]


@pytest.mark.parametrize("tsa", [None, "linear"])
def test_a_step_of_fit_minimizes_both_losses(tsa: str | None) -> None:
    network, (x, y) = linear(), batch()
    model = UDA(network, weight=2.0, temperature=0.4, threshold=0.3, tsa=tsa, steps=10)
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    logits = {name: x[name] @ network.get_weights()[0] for name in x}  # the bias begins at 0
    probability = softmax(logits["labelled"])
    losses = -np.log((probability * y).sum(-1))
    if tsa:
        kept = (probability * y).sum(-1) < 1 / 3  # at step 0
        assert 0 < kept.sum() < 4
        losses = losses[kept]
    expected = losses.mean() + 2.0 * reference(logits["original"], logits["augmented"], 0.4, 0.3).mean()
    data = tf.data.Dataset.from_tensors((x, y))  # 4 labelled with 8 unlabelled
    loss = model.fit(data, shuffle=False, verbose=0).history["loss"][0]
    assert loss == pytest.approx(expected, rel=1e-4)


def test_it_evaluates_as_the_network() -> None:
    network, (x, y) = linear(), batch()
    model = UDA(network)
    np.testing.assert_array_equal(model.predict(x["labelled"], verbose=0), network.predict(x["labelled"], verbose=0))
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    network.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    assert model.evaluate(x["labelled"], y, verbose=0) == network.evaluate(x["labelled"], y, verbose=0)


def test_an_unknown_annealing_is_said() -> None:
    with pytest.raises(ValueError, match="Expected one of linear, log, exp or None"):
        UDA(linear(), tsa="cubic")
