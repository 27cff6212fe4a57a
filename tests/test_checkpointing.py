"""On PyTorch, a block that is run again in the backward pass draws what it drew in the forward pass.

`test_other_backends` runs this file; for TensorFlow there is `test_rematerialization`.
"""

import gc
import weakref

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests.test_each_backend import BACKEND
from tf_autodropout.layers import pattern_layers

if BACKEND != "torch":
    pytest.skip("PyTorch alone", allow_module_level=True)

import torch
from torch.utils.checkpoint import checkpoint

L = keras.layers
X = torch.tensor(np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype("float32"), requires_grad=True)
HALF = tad.ConvPattern(size=3, rate=0.8)


def convnet(calls=1, mutable=False):
    image = keras.Input((6, 6, 3))
    drop = tad.PatternDropout(HALF, seed=3, mutable=mutable)
    x = L.Conv2D(4, 3, padding="same", activation="tanh")(image)
    for _ in range(calls):
        x = L.Conv2D(4, 3, padding="same", activation="tanh")(drop(x))
    return keras.Model(image, x)


def run(model, x=X):
    return model(x, training=True)


def layers_of(model):
    return [layer for layers in pattern_layers(model).values() for layer in layers]


def gradients(model, call, steps=2, backward=None):
    """Losses and gradients of some steps from one random state, and the random states after them."""
    for layer in layers_of(model):
        layer.reseed(3)
    variables = [one.value for one in model.trainable_variables]
    found = []
    for _ in range(steps):
        for one in variables:
            one.grad = None
        loss = (call(X) ** 2).sum()
        (backward or torch.autograd.backward)(loss)
        found += [loss.detach().numpy(), *(one.grad.numpy().copy() for one in variables)]
    return found, [np.array(layer.seed_state.numpy()) for layer in layers_of(model)]


def assert_alike(model, again, plain=None, backward=None):
    (wanted, moved), (got, after) = (
        gradients(model, plain or (lambda x: run(model, x))),
        gradients(model, again, backward=backward),
    )
    assert not np.allclose(wanted[0], wanted[len(wanted) // 2]), "each step draws anew"
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    assert np.array_equal(moved, after), "the second run does not move the random state on"


@pytest.mark.parametrize("mutable", [False, True])
@pytest.mark.parametrize("reentrant", [False, True])
def test_the_gradient_belongs_to_the_mask_of_the_forward_pass(reentrant, mutable):
    model = convnet(mutable=mutable)
    assert_alike(model, lambda x: checkpoint(lambda x: run(model, x), x, use_reentrant=reentrant))


def test_remat_of_keras():
    model = convnet()
    assert_alike(model, keras.remat(lambda x: run(model, x)))


def test_layers_built_in_a_scope_that_rematerializes():
    plain = convnet()
    with keras.RematScope(mode="full"):
        model = convnet()
    model.set_weights(plain.get_weights())
    for one, other in zip(
        gradients(model, lambda x: run(model, x))[0], gradients(plain, lambda x: run(plain, x))[0], strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_layer_called_twice_in_a_block(reentrant):
    model = convnet(calls=2)
    assert_alike(model, lambda x: checkpoint(lambda x: run(model, x), x, use_reentrant=reentrant))


@pytest.mark.parametrize("reentrant", [False, True])
def test_one_layer_in_two_blocks(reentrant):
    """The blocks are run again in the other order."""
    image = keras.Input((6, 6, 3))
    drop = tad.PatternDropout(HALF, seed=3)
    first, second = L.Conv2D(4, 3, activation="tanh"), L.Conv2D(4, 3, activation="tanh")
    model = keras.Model(image, second(drop(first(drop(image)))))
    blocks = [lambda x, one=one: one(drop(x, training=True)) for one in (first, second)]

    def again(x):
        for block in blocks:
            x = checkpoint(block, x, use_reentrant=reentrant)
        return x

    assert_alike(model, again)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("outside", [False, True])
def test_a_block_inside_a_block(inside, outside):
    model = convnet(calls=2)

    def inner(x):
        return checkpoint(lambda x: run(model, x), x, use_reentrant=inside)

    assert_alike(model, lambda x: checkpoint(lambda x: inner(x) + 0, x, use_reentrant=outside))


def test_gradients_taken_twice_and_steps_without_any():
    model = convnet(calls=2)
    block = keras.remat(lambda x: run(model, x))
    with torch.no_grad():
        block(X)
    block(X)
    loss = (block(X) ** 2).sum()
    weights = [one.value for one in model.trainable_variables]
    one, other = (torch.autograd.grad(loss, weights, retain_graph=True) for _ in range(2))
    for got, wanted in zip(one, other, strict=True):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def test_blocks_that_begin_with_the_same_tensor():
    model = convnet()

    def block(x, factor):
        return checkpoint(lambda x, factor: run(model, x) * factor, x, factor, use_reentrant=False)

    assert_alike(model, lambda x: block(x, 2.0) + block(x, 3.0), plain=lambda x: run(model, x) * 2 + run(model, x) * 3)


def test_gradients_on_another_thread():
    """As on a GPU, where PyTorch runs the backward pass on a thread of its own."""
    import threading

    def backward(loss):
        thread = threading.Thread(target=loss.backward)
        thread.start()
        thread.join()

    model = convnet(calls=2)
    assert_alike(model, keras.remat(lambda x: run(model, x)), backward=backward)


def test_transformers():
    inputs = keras.Input((5, 8))
    plain = keras.Model(inputs, L.MultiHeadAttention(2, 4)(inputs, inputs))
    model = tad.regularize(plain, tad.TransformerPattern(size=1, rate=0.4))
    text = torch.tensor(np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32"))
    block = keras.remat(lambda x: run(model, x))
    assert_alike(model, lambda _: block(text), plain=lambda _: run(model, text))


def test_nothing_is_kept_after_the_backward_pass():
    model = convnet()
    drawn = []
    layer = layers_of(model)[0]
    before = layer._next_seed
    layer._next_seed = lambda: (drawn.append(seed := before()), seed)[1]
    (keras.remat(lambda x: run(model, x))(X) ** 2).sum().backward()
    (seed,) = drawn
    kept = weakref.ref(seed)
    del seed
    drawn.clear()
    gc.collect()
    assert kept() is None
