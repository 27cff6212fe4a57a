"""The child: compiled once, fresh for every trial."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_autodropout.layers import PatternDropout, pattern_layers
from tf_autodropout.models import transformer_lm, wide_resnet
from tf_autodropout.patterns import ConvPattern, PatternSet, TransformerPattern
from tf_autodropout.search.children.child import Child, Split

NOTHING = PatternSet({})
HEAVY = PatternSet({"ffn": TransformerPattern(size=1, rate=0.4), "value": TransformerPattern(size=2, share_c=True)})
THIRD = PatternSet({"softmax": TransformerPattern(size=4, stride=2, share_t=True, rate=0.3)})


def text_child(jit_compile: bool = True, learning_rate: float = 0.01) -> Child:
    stream = tf.constant(np.random.default_rng(0).integers(0, 20, 400), tf.int32)

    def windows(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        window = tf.gather(stream, index[:, None] + tf.range(9)[None, :])
        return window[:, :-1], window[:, 1:]

    return Child(
        transformer_lm(20, 8, num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=32, mutable=True),
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, 6)),
        tf.nn.sparse_softmax_cross_entropy_with_logits,
        Split(windows, 391),
        steps=6,
        batch_size=4,
        steps_per_call=2,
        jit_compile=jit_compile,
    )


@pytest.fixture(scope="module")
def child() -> Child:
    return text_child()


def trial(child: Child, patterns: PatternSet, seed: int) -> tuple[list[float], list[np.ndarray]]:
    child.reset(patterns, seed)
    curve = child.train()
    return curve, [variable.numpy() for variable in child.model.trainable_variables]


def test_three_trials_with_different_patterns_trace_the_step_once(child: Child) -> None:
    curves = [trial(child, patterns, 1)[0] for patterns in (NOTHING, HEAVY, THIRD)]
    assert child.traces == 1
    assert child._train_steps.experimental_get_tracing_count() == 1
    assert len({tuple(curve) for curve in curves}) == 3  # the patterns did act


def test_a_trial_repeats_to_the_bit_whatever_came_between(child: Child) -> None:
    first = trial(child, HEAVY, 7)
    trial(child, THIRD, 8)
    again = trial(child, HEAVY, 7)
    assert first[0] == again[0]
    for a, b in zip(first[1], again[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_re_used_child_equals_a_new_one(child: Child) -> None:
    trial(child, HEAVY, 3)
    used, new = trial(child, THIRD, 4), trial(text_child(), THIRD, 4)
    np.testing.assert_allclose(used[0], new[0], rtol=1e-6)


def test_another_seed_changes_weights_order_and_masks(child: Child) -> None:
    child.reset(HEAVY, 1)
    state = [v.numpy() for v in child.model.variables], child._schedule.numpy()
    child.reset(HEAVY, 2)
    other = [v.numpy() for v in child.model.variables], child._schedule.numpy()
    assert (state[1] != other[1]).any()
    by_name = {v.path: (a, b) for v, a, b in zip(child.model.variables, state[0], other[0], strict=True)}
    assert all((a != b).any() for path, (a, b) in by_name.items() if path.endswith("seed_generator_state"))
    assert all((a != b).any() for path, (a, b) in by_name.items() if path.endswith(("kernel", "embeddings")))
    # Shuffled entries: the same values, so the same distribution as the builder's initializer.
    for path, (a, b) in by_name.items():
        if path.endswith(("kernel", "embeddings")):
            np.testing.assert_array_equal(np.sort(a, None), np.sort(b, None))


def test_every_layer_of_a_child_has_a_seed_of_its_own(child: Child) -> None:
    child.reset(HEAVY, 1)
    layers = [layer for twins in pattern_layers(child.model).values() for layer in twins]
    assert len(layers) == 8  # seven sites, the skip connections of attention and feed-forward apart
    assert len({int(layer.seed_state.numpy()[0]) for layer in layers}) == 8


def test_optimizer_slots_and_iterations_start_anew_but_the_learning_rate_stays(child: Child) -> None:
    trial(child, HEAVY, 1)
    assert int(child.optimizer.iterations) == 6
    child.reset(NOTHING, 1)
    assert int(child.optimizer.iterations) == 0
    moments = [v for v in child.optimizer.variables if "momentum" in v.path or "velocity" in v.path]
    assert moments
    assert all(not v.numpy().any() for v in moments)

    fixed = Child(
        wide_resnet(10, 1, (8, 8, 1), mutable=True),
        keras.optimizers.SGD(0.05),
        tf.nn.sparse_softmax_cross_entropy_with_logits,
        Split(lambda i: (tf.zeros((4, 8, 8, 1)), tf.zeros((4,), tf.int32)), 4),
        steps=2,
        batch_size=4,
        steps_per_call=1,
    )
    fixed.optimizer.learning_rate = 0.02
    fixed.reset(NOTHING, 0)
    assert float(fixed.optimizer.learning_rate) == pytest.approx(0.02)


def test_batch_statistics_start_anew() -> None:
    images = tf.constant(np.random.default_rng(0).normal(3.0, 2.0, (16, 8, 8, 1)), tf.float32)
    inputs = keras.Input((8, 8, 1))  # one site: a whole Wide ResNet takes a minute to compile
    h = keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3)(inputs))
    h = PatternDropout(ConvPattern(), site="bn", mutable=True)(h)
    child = Child(
        keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(h))),
        keras.optimizers.SGD(0.05),
        tf.nn.sparse_softmax_cross_entropy_with_logits,
        Split(lambda i: (tf.gather(images, i), tf.zeros_like(i)), 16),
        steps=2,
        batch_size=8,
        steps_per_call=2,
    )
    child.reset(PatternSet({"bn": ConvPattern(size=1)}), 0)
    child.train()
    means = [v for v in child.model.variables if v.path.endswith("moving_mean")]
    assert any(v.numpy().any() for v in means)
    child.reset(NOTHING, 0)
    assert not any(v.numpy().any() for v in means)


def test_every_example_is_seen_once_an_epoch(child: Child) -> None:
    order = child._order(np.random.default_rng(0)).reshape(-1)
    assert len(set(order.tolist())) == len(order) == 24
    small = text_child()
    small._train = Split(small._train.examples, 10)  # 8 of 10 fit an epoch of batches of 4
    order = small._order(np.random.default_rng(0)).reshape(3, 8)
    assert [len(set(epoch)) for epoch in order.tolist()] == [8, 8, 8]


def test_evaluation_is_the_mean_over_the_split_whatever_the_batch(child: Child) -> None:
    child.reset(NOTHING, 0)
    split = Split(lambda i: (tf.tile(i[:, None] % 20, [1, 8]), i), 10)

    def measure(targets: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"index": tf.cast(targets, tf.float32), "logit": logits[:, 0, 0]}

    results = [child.evaluate(split, measure, size) for size in (10, 4, 3, 16)]
    assert results[0]["index"] == pytest.approx(4.5)
    for result in results[1:]:
        assert result == pytest.approx(results[0], rel=1e-5)


def test_a_training_that_ends_early_goes_on_as_if_it_had_not(child: Child) -> None:
    whole = trial(child, HEAVY, 7)
    child.reset(HEAVY, 7)
    begun = child.train(ends=lambda done: done == 4)
    rest = child.train(done=4)
    assert begun + rest == whole[0]
    for variable, expected in zip(child.model.trainable_variables, whole[1], strict=True):
        np.testing.assert_array_equal(variable.numpy(), expected)
    for done in (3, 6, -2):
        with pytest.raises(ValueError, match=f"Expected 'done' to be a multiple of 2 below 6. Received: done={done}"):
            child.train(done=done)


@pytest.mark.slow
def test_a_diverging_child_says_so() -> None:
    child = text_child(learning_rate=1e30)
    child.reset(NOTHING, 0)
    with pytest.raises(FloatingPointError, match="steps"):
        child.train()
    child.reset(NOTHING, 0)  # and the next trial starts clean
    assert all(np.isfinite(v.numpy()).all() for v in child.model.trainable_variables)


def test_calls_divide_the_steps() -> None:
    child = text_child()
    for steps, most, expected in ((600, 50, 50), (7, 50, 7), (101, 50, 1), (98, 50, 49)):
        again = Child(child.model, child.optimizer, child._loss, child._train, steps, 4, most)
        assert again._steps_per_call == expected


def test_bad_settings_are_refused() -> None:
    child = text_child()
    for steps, batch_size, match in ((0, 4, "steps"), (6, 1000, "batch_size")):
        with pytest.raises(ValueError, match=match):
            Child(child.model, child.optimizer, child._loss, child._train, steps, batch_size, steps_per_call=2)
    with pytest.raises(ValueError, match="nowhere"):
        child.reset(PatternSet({"nowhere": TransformerPattern()}), 0)
    with pytest.raises(TypeError, match="TransformerPattern"):
        child.reset(PatternSet({"ffn": ConvPattern(size=1)}), 0)
