"""A block that is run again in the backward pass draws what it drew in the forward pass."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tf_autodropout.layers import pattern_layers

L = keras.layers
X = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype("float32")

HALF = tad.ConvPattern(size=3, rate=0.8)


def convnet(pattern: Any = HALF, calls: int = 1) -> keras.Model:
    image = keras.Input((6, 6, 3))
    drop = tad.PatternDropout(pattern, seed=3)
    x = L.Conv2D(4, 3, padding="same", activation="tanh")(image)
    for _ in range(calls):
        x = L.Conv2D(4, 3, padding="same", activation="tanh")(drop(x))
    return keras.Model(image, x)


def gradients(model: keras.Model, run: Callable[..., Any], jit_compile: bool | None, steps: int = 2) -> list[Any]:
    """Losses and gradients of some steps from one random state."""
    for layers in pattern_layers(model).values():
        for layer in layers:
            layer.reseed(3)

    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(run(tf.constant(X)) ** 2)
        return loss, tape.gradient(loss, model.trainable_variables)

    function = step if jit_compile is None else tf.function(step, jit_compile=jit_compile)
    return [np.asarray(one) for _ in range(steps) for one in tf.nest.flatten(function())]


def assert_alike(
    model: keras.Model,
    again: Callable[..., Any],
    jit_compile: bool | None = None,
    plain: Callable[..., Any] | None = None,
) -> None:
    wanted_ones = gradients(model, plain or (lambda x: model(x, training=True)), jit_compile)
    moved = [layer.seed_state.numpy() for layers in pattern_layers(model).values() for layer in layers]
    recomputed = gradients(model, again, jit_compile)
    after = [layer.seed_state.numpy() for layers in pattern_layers(model).values() for layer in layers]
    assert not np.allclose(wanted_ones[0], wanted_ones[len(wanted_ones) // 2]), "each step draws anew"
    for got, wanted in zip(recomputed, wanted_ones, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    assert np.array_equal(moved, after), "the second run does not move the random state on"


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "XLA"])
def test_the_gradient_belongs_to_the_mask_of_the_forward_pass(jit_compile):
    model = convnet()
    assert_alike(model, tf.recompute_grad(lambda x: model(x, training=True)), jit_compile)


def test_remat_of_keras():
    model = convnet()
    assert_alike(model, keras.remat(lambda x: model(x, training=True)))


def test_layers_built_in_a_scope_that_rematerializes():
    plain = convnet()
    with keras.RematScope(mode="full"):
        model = convnet()
    model.set_weights(plain.get_weights())
    wanted = gradients(plain, lambda x: plain(x, training=True), None)
    got = gradients(model, lambda x: model(x, training=True), None)  # in graph mode Keras fails with `training=`
    for one, other in zip(got, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4)


def test_a_layer_called_twice_in_a_block():
    model = convnet(calls=2)
    assert_alike(model, tf.recompute_grad(lambda x: model(x, training=True)))


def test_one_layer_in_two_blocks():
    """The blocks are run again in the other order."""
    image = keras.Input((6, 6, 3))
    drop = tad.PatternDropout(HALF, seed=3)
    first, second = L.Conv2D(4, 3, activation="tanh"), L.Conv2D(4, 3, activation="tanh")
    model = keras.Model(image, drop(second(drop(first(image)))))
    blocks = [tf.recompute_grad(lambda x, one=one: drop(one(x), training=True)) for one in (first, second)]
    assert_alike(model, lambda x: blocks[1](blocks[0](x)))


def test_a_block_inside_a_block():
    model = convnet()
    inner = tf.recompute_grad(lambda x: model(x, training=True))
    assert_alike(model, tf.recompute_grad(lambda x: inner(x) + 0))


def test_gradients_taken_twice_and_steps_without_any():
    model = convnet()
    block = tf.recompute_grad(lambda x: model(x, training=True))
    block(tf.constant(X))
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(block(tf.constant(X)) ** 2)
    one, other = (tape.gradient(loss, model.trainable_variables) for _ in range(2))
    for got, wanted in zip(one, other, strict=True):
        assert np.allclose(got, wanted)


def test_blocks_that_begin_with_the_same_tensor():
    model = convnet()
    block = tf.recompute_grad(lambda x, y: model(x, training=True) * y)
    x, factors = tf.constant(X), [tf.constant(2.0), tf.constant(3.0)]
    assert_alike(
        model,
        lambda _: block(x, factors[0]) + block(x, factors[1]),
        plain=lambda _: sum(model(x, training=True) * y for y in factors),
    )


def test_transformers():
    inputs = keras.Input((5, 8))
    plain = keras.Model(inputs, L.MultiHeadAttention(2, 4)(inputs, inputs))
    model = tad.regularize(plain, tad.TransformerPattern(size=1, rate=0.4))
    text = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32"))
    block = tf.recompute_grad(lambda x: model(x, training=True))
    wanted = gradients(model, lambda _: model(text, training=True), None)
    for got, one in zip(gradients(model, lambda _: block(text), None), wanted, strict=True):
        assert got == pytest.approx(one, rel=1e-4, abs=1e-4)
