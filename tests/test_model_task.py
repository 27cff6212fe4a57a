"""Any compiled Keras model as a child: `fit` as it is, everything put back, errors before anything is trained."""

import pickle
import re
import time
from collections.abc import Callable
from typing import Any

import cloudpickle
import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from tests import own_models
from tests.own_models import CLASSES, DATA, LOSS, X, Y, compiled, convnet, in_order, network
from tf_autodropout.layers import pattern_layers
from tf_autodropout.patterns import ConvPattern, PatternSet, Schedule, TransformerPattern
from tf_autodropout.search.core import INPUT_SHARE, RUNG_REWARDS, STOPPED_AT, Opponent, Rung, Status, Suggestion, Trial
from tf_autodropout.search.tasks.model_task import ModelTask
from tf_autodropout.search.tasks.objective import Objective
from tf_autodropout.search.tasks.opponents import classics_for
from tf_autodropout.search.terminal.progress import ProgressLine
from tf_autodropout.surgery.copying import copy_model

NOTHING = PatternSet({})


def task(model: Any = convnet, **given: Any) -> ModelTask:
    return ModelTask(model, **{**DATA, "epochs": 2} | given)


def heavy(of: ModelTask) -> PatternSet:
    """Something at every site."""
    kinds = {ConvPattern: ConvPattern(size=2), TransformerPattern: TransformerPattern(size=1, rate=0.4)}
    return PatternSet({site.name: kinds[site.kind] for site in of.space.sites})


def weights_after(of: ModelTask, patterns: PatternSet, seed: int) -> tuple[Any, list[np.ndarray]]:
    result = of.train(patterns, seed)
    return result, [np.array(w.numpy()) for w in of.child._weights]


@pytest.fixture(scope="module")
def shared() -> ModelTask:
    return task()


def test_a_trial_repeats_to_the_bit_whatever_came_between_and_traces_once(shared: ModelTask) -> None:
    patterns = heavy(shared)
    first, weights = weights_after(shared, patterns, 7)
    state = shared.child._state.numpy()
    step = shared.child.model.train_function
    other, others = weights_after(shared, NOTHING, 8)
    again, repeated = weights_after(shared, patterns, 7)
    assert first.metrics["train_loss"] == again.metrics["train_loss"]
    assert first.reward == again.reward
    for a, b in zip(weights, repeated, strict=True):
        np.testing.assert_array_equal(a, b)
    for name, value in shared.child._state.numpy().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)
    assert shared.child.model.train_function is step
    assert other.metrics["train_loss"] != first.metrics["train_loss"]
    assert any((a != b).any() for a, b in zip(weights, others, strict=True))


@pytest.mark.slow
def test_patterns_act_and_another_process_would_get_the_same(shared: ModelTask) -> None:
    patterns = heavy(shared)
    assert shared.train(patterns, 1).metrics["train_loss"] != shared.train(NOTHING, 1).metrics["train_loss"]
    keras.Sequential([keras.layers.BatchNormalization()])  # Keras numbers what comes after it on
    sent = pickle.loads(cloudpickle.dumps(shared))
    assert "child" not in vars(sent)
    assert sent.space.describe() == shared.space.describe()
    assert sent.describe() == shared.describe()
    tf.random.set_seed(99)  # whatever the program around it has set
    assert sent.train(patterns, 1).metrics["train_loss"] == shared.train(patterns, 1).metrics["train_loss"]
    expected = shared.train(patterns, 1).metrics["train_loss"]
    tf.random.set_seed(3)
    assert shared.train(patterns, 1).metrics["train_loss"] == expected


def test_names_do_not_depend_on_what_was_built_before(shared: ModelTask) -> None:
    assert [site.name for site in shared.space.sites] == ["batch_normalization", "batch_normalization_1"]
    assert shared.own_dropout == ["Dropout(0.2)"]
    assert shared.describe()["own_dropout"] == ["Dropout(0.2)"]


def two_outputs(optimizer: Any, **options: Any) -> keras.Model:
    model = network()
    other = keras.layers.Dense(1, name="other")(model.layers[-2].output)
    model = keras.Model(model.input, {"top": model.output, "other": other})
    losses = {"top": LOSS, "other": "mse"}
    return compiled(model, optimizer, loss=losses, metrics={"top": ["accuracy"]}, **options)


Adam = keras.optimizers.Adam
SCHEDULE = keras.optimizers.schedules.CosineDecay(0.05, 8)
Y2 = {"top": Y[:32], "other": Y[:32].astype(np.float32)}
V2 = (X[32:], {"top": Y[32:], "other": Y[32:].astype(np.float32)})
HONOURED: dict[str, tuple[Callable[[], keras.Model], dict[str, Any]]] = {
    "plain": (convnet, {}),
    "clipping and a schedule": (lambda: compiled(network(), Adam(SCHEDULE, global_clipnorm=0.1)), {}),
    "accumulation": (lambda: compiled(network(), Adam(0.05, gradient_accumulation_steps=2)), {}),
    "average of weights": (lambda: compiled(network(), Adam(0.05, use_ema=True, ema_overwrite_frequency=3)), {}),
    "weight decay": (lambda: compiled(network(), keras.optimizers.AdamW(0.05, weight_decay=0.5)), {}),
    "class weights": (convnet, {"class_weight": {0: 1.0, 1: 5.0, 2: 0.2}}),
    "sample weights": (convnet, {"sample_weight": np.linspace(0, 3, 32).astype(np.float32)}),
    "several steps in one call": (lambda: compiled(network(), steps_per_execution=2), {}),
    "two outputs, loss weights": (
        lambda: two_outputs(Adam(0.02), loss_weights={"top": 1.0, "other": 7.0}),
        {"y": Y2, "validation_data": V2, "objective": "val_top_accuracy"},
    ),
    "an own train_step": (own_models.own_step, {}),
}


QUICK = ("an own train_step",)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in HONOURED]
)
def test_what_fit_honours_a_trial_honours(name: str) -> None:
    """A trial without patterns is `fit` of the model itself: the same weights, the same metrics."""
    build, given = HONOURED[name]
    model = build()
    plain = copy_model(model)
    for one in (model, plain):
        for layer in one._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0  # its masks are seeded otherwise
    own = task(model, shuffle=False, **given)
    result = own.train(NOTHING, 3)
    of_fit = {"sample_weight": given.get("sample_weight"), "class_weight": given.get("class_weight")}
    y, valid = given.get("y", Y[:32]), given.get("validation_data", DATA["validation_data"])
    of_fit |= {"batch_size": 8, "epochs": 2, "validation_data": valid, "shuffle": False, "verbose": 0}
    history = plain.fit(X[:32], y, **of_fit).history
    for trained, expected in zip(own.child._weights, plain.weights, strict=True):
        np.testing.assert_allclose(trained.numpy(), expected.numpy(), atol=1e-5, err_msg=expected.path)
    np.testing.assert_allclose(result.metrics["train_loss"], history["loss"], rtol=1e-4)
    metric = f"val_{own.objective.metric}"
    assert result.metrics[metric] == pytest.approx(history[metric][-1], abs=1e-5)
    repeated = own.train(NOTHING, 3)
    assert repeated.metrics["train_loss"] == pytest.approx(result.metrics["train_loss"], rel=1e-5)


@pytest.mark.parametrize(
    "source",
    [
        own_models.Batches(),
        pytest.param(in_order, marks=pytest.mark.slow),
        pytest.param(in_order(), marks=pytest.mark.slow),
        pytest.param(lambda: (X[:32], Y[:32]), marks=pytest.mark.slow),
    ],
)
def test_streamed_and_held_examples_in_the_same_order_give_the_same_weights(source: Any) -> None:
    held = task(shuffle=False)
    streamed = ModelTask(
        convnet, source, validation_data=in_order().take(2), objective="val_loss", epochs=2, batch_size=8, shuffle=False
    )
    _, expected = weights_after(held, NOTHING, 5)
    result, weights = weights_after(streamed, NOTHING, 5)
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert result.reward == pytest.approx(1 / (1 + result.metrics["val_loss"]))


def test_a_shuffled_pipeline_that_a_function_makes_repeats(caplog: pytest.LogCaptureFixture) -> None:
    made = ModelTask(convnet, own_models.augmented, validation_data=in_order(), epochs=1)
    first, second, other = (made.train(NOTHING, seed).metrics["train_loss"] for seed in (1, 1, 2))
    assert first == second
    assert first != other
    assert "another order" not in caplog.text


@pytest.mark.slow
def test_a_shuffled_pipeline_by_itself_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    given = ModelTask(convnet, in_order().unbatch().shuffle(32).batch(8), validation_data=in_order(), epochs=1)
    with caplog.at_level("WARNING", "tf_autodropout.search"):
        given.train(NOTHING, 1)
    assert "come in another order each time" in caplog.text


def test_state_that_is_not_put_back_is_an_error_with_the_variable() -> None:
    with pytest.raises(ValueError, match=r"with one seed differ, most of all in '.+': something that training changes"):
        task(own_models.forgetful).train(NOTHING, 1)


def test_fine_tuning_begins_with_the_weights_of_the_model_which_is_not_touched() -> None:
    model = convnet()
    before = [w.numpy() for w in model.weights]
    own = task(model)
    assert own.start == "weights"
    for seed in (1, 2):
        own.child.reset(NOTHING, seed, own._weights(seed))
        for a, b in zip(own.child._weights, before, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)
    own.train(heavy(own), 1)
    assert all((a == w.numpy()).all() for a, w in zip(before, model.weights, strict=True))
    fresh = task()
    a, b, c = (fresh._weights(seed) for seed in (1, 2, 1))
    assert a is not None
    assert b is not None
    assert c is not None
    assert any((x != y).any() for x, y in zip(a, b, strict=True))
    assert all((x == y).all() for x, y in zip(a, c, strict=True))


@pytest.mark.slow
def test_sites_of_several_kinds_and_lengths_that_only_the_data_tells() -> None:
    x = np.random.default_rng(0).normal(size=(16, 10, 4)).astype(np.float32)
    own = ModelTask(own_models.mixed, x, Y[:16], validation_data=(x, Y[:16]), epochs=1, batch_size=8)
    shapes = {site.name: (site.kind, site.shape) for site in own.space.sites}
    assert shapes["batch_normalization"] == (ConvPattern, (10, 8))
    assert shapes["query"] == (TransformerPattern, (10, 8))
    assert shapes["softmax"][1][0] == 10
    tokens = [size - 1 for size in own.space.vocabulary_sizes]
    assert np.isfinite(own.train(own.space.decode(tokens), 1).reward)


def test_a_map_of_one_cell_is_no_site() -> None:
    def build() -> keras.Model:
        image = keras.Input((own_models.SIDE, own_models.SIDE, 2))
        x = keras.layers.BatchNormalization(name="large")(keras.layers.Conv2D(4, 3)(image))
        x = keras.layers.BatchNormalization(name="small")(keras.layers.Conv2D(4, 4)(x))
        return compiled(keras.Model(image, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(x))))

    assert [site.name for site in task(build).space.sites] == ["large"]


@pytest.mark.slow
def test_sites_may_be_chosen_and_the_model_s_dropout_taken_out() -> None:
    one = task(sites="batch_normalization*", keep_dropout=False, granularity="network")
    assert len(one.space.decisions) == 8
    assert one.own_dropout == []
    layers = task(sites=[keras.layers.Conv2D])
    assert [site.name for site in layers.space.sites] == ["conv2d", "conv2d_1"]
    assert np.isfinite(layers.train(heavy(layers), 1).reward)


def test_steps_end_a_training_in_the_middle_of_an_epoch() -> None:
    own = ModelTask(convnet, **DATA, steps=6)  # of 4 an epoch
    result = own.train(NOTHING, 1)
    assert int(own.child.model.optimizer.iterations) == 6
    assert len(result.metrics["train_loss"]) == 2


def test_a_training_ends_at_a_rung() -> None:
    rungs = (Rung(0.25), Rung(0.5, threshold=2.0, intercept=0.125, slope=0.5))
    own = task(epochs=4)
    ended = own.train(NOTHING, 1, rungs)
    assert ended.stopped
    assert ended.metrics[STOPPED_AT] == 0.5
    assert len(ended.metrics[RUNG_REWARDS]) == len(ended.metrics["train_loss"]) == 2
    assert ended.reward == pytest.approx(0.125 + 0.5 * ended.metrics[RUNG_REWARDS][1])


@pytest.mark.slow
def test_early_stopping_is_one_of_each_trial() -> None:
    stopping = keras.callbacks.EarlyStopping("val_loss", min_delta=10.0, patience=1, restore_best_weights=True)
    early = task(epochs=9, callbacks=[stopping])
    for _ in range(2):
        result = early.train(NOTHING, 1)
        assert len(result.metrics["train_loss"]) == 2
        # The weights of the first epoch are back, and it is their metric that counts.
        x, y = DATA["validation_data"]
        assert result.metrics["val_loss"] == pytest.approx(early.child.model.evaluate(x, y, verbose=0)[0], rel=1e-4)
    assert stopping.model is None  # each trial has a copy


def test_a_training_that_diverges_says_so() -> None:
    with pytest.raises(FloatingPointError, match="training loss is nan|inf"):
        task(lambda: compiled(network(), keras.optimizers.SGD(1e30)), epochs=9).train(NOTHING, 1)


def test_scores_on_test_data_and_a_model_of_one_s_own_at_the_end(shared: ModelTask) -> None:
    tested = task(test_data=(X[:16], Y[:16]))
    scores = tested.test(Opponent("it", heavy(tested)), 3).metrics
    assert scores["valid"] == tested.train(heavy(tested), 3).metrics["val_accuracy"]
    assert scores["test"] == pytest.approx(tested.child.model.evaluate(X[:16], Y[:16], verbose=0)[1])
    model = tested.retrained(heavy(tested), 3)
    from tf_autodropout import sites

    assert {site.pattern for site in sites(model)} == {ConvPattern(size=2)}
    assert not any(layer.mutable for layer in model.layers if hasattr(layer, "mutable"))
    with pytest.raises(ValueError, match="Expected 'test_data'"):
        shared.test(Opponent("it", NOTHING), 3)


def uncompiled() -> keras.Model:
    return network()


def dense() -> keras.Model:
    return compiled(keras.Sequential([keras.Input((SIDE2,)), keras.layers.Dense(CLASSES)]))


SIDE2 = 72
FLAT = {"x": X[:32].reshape(32, -1), "validation_data": (X[32:].reshape(16, -1), Y[32:])}


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"model": uncompiled}, "is not compiled"),
        ({"model": 3}, "Expected a compiled Keras model or a function"),
        ({"model": lambda: 3}, "a function that returns a compiled Keras model"),
        ({"model": dense, **FLAT}, "has no site that a pattern is recommended at"),
        ({"validation_data": None}, "Expected 'validation_data'"),
        ({"x": None}, "Invalid value for 'x'"),
        ({"x": (batch for batch in ())}, "read more than once"),
        ({"y": Y[:31]}, r"Invalid value for 'x'. Expected arrays of as many examples each.*\[31, 32\]"),
        ({"objective": "val_f1"}, "Expected one of val_accuracy, val_loss"),
        ({"objective": ("val_loss", "less")}, "'max' or 'min'"),
        ({"sites": "stage9"}, "Invalid value for 'sites'"),
        ({"start": "fresh", "model": convnet()}, "start='fresh'"),
        ({"start": "cold"}, "Expected 'fresh' or 'weights'"),
        ({"granularity": "cell"}, "Invalid value for 'granularity'"),
        ({"epochs": 0}, "Invalid value for 'epochs'"),
        ({"batch_size": 1.5}, "Invalid value for 'batch_size'"),
        ({"steps": 3}, "'steps' or 'epochs', not both"),
        ({"keep_dropout": "no"}, "Invalid value for 'keep_dropout'"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_trained(given: dict[str, Any], match: str) -> None:
    def used() -> None:
        wrong = ModelTask(**{"model": convnet, **DATA, "epochs": 1} | given)
        wrong.space, wrong.objective  # noqa: B018

    with pytest.raises(ValueError, match=match):
        used()


def test_an_argument_that_fit_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected argument 'epoch'"):
        task(epoch=3)


def test_data_that_ends_early_and_a_model_that_is_another_each_time_fail_with_the_reason() -> None:
    short = ModelTask(convnet, in_order(), validation_data=in_order(), epochs=3, steps_per_epoch=3)
    with pytest.raises(ValueError, match="ended early"):
        short.train(NOTHING, 1)
    widths = iter(range(3, 99))

    def build() -> keras.Model:
        image = keras.Input((own_models.SIDE, own_models.SIDE, 2))
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(next(widths), 3)(image))
        return compiled(keras.Model(image, keras.layers.Dense(CLASSES)(keras.layers.GlobalAveragePooling2D()(x))))

    with pytest.raises(ValueError, match="builds the same model each time"):
        task(build).train(NOTHING, 1)


METRICS = ["accuracy", "loss", "mean_absolute_error", "odd"]


def test_the_objective_and_its_direction() -> None:
    assert Objective.of(None, METRICS) == Objective("accuracy", False)
    assert Objective.of(None, ["loss", "a_loss"]) == Objective("loss", True)
    assert Objective.of("val_mean_absolute_error", METRICS) == Objective("mean_absolute_error", True)
    assert Objective.of(("odd", "max"), METRICS) == Objective("odd", False)
    with pytest.raises(ValueError, match=r"say objective=\('val_odd', 'max'\)"):
        Objective.of("val_odd", METRICS)
    values = [-1e300, -3.0, -1e-9, 0.0, 1e-9, 0.5, 3.0, 1e300]
    rewards = [Objective("loss", True).reward(value) for value in values]
    assert rewards == sorted(rewards, reverse=True)
    assert min(rewards) >= 0
    assert all(np.isfinite(rewards))
    assert Objective("r2", False).reward(-2.0) == 0.0


def test_own_state_of_a_model_is_put_back_with_everything_else() -> None:
    model = own_models.own_step()
    own = task(model, shuffle=False)
    own.train(NOTHING, 1)
    seen = own.child.model.seen
    assert float(seen) == 8.0
    own.child.reset(NOTHING, 1)
    assert float(seen) == 0.0
    assert isinstance(seen, tf.Variable)


@pytest.mark.slow
def test_opponents_that_no_trial_could_have_are_trained_by_fit_as_well() -> None:
    own = task(test_data=DATA["validation_data"])
    (none,) = own.opponents()
    scores = [own.test(none, 1).metrics["valid"]]
    for classic in classics_for(own.space.sites, own.branch_ends, own.any_opponent):
        scores.append(own.test(classic.everywhere(0.5), 1).metrics["valid"])
    scores.append(own.test(Opponent("trivial", PatternSet({}), drawn=True), 1).metrics["valid"])
    assert np.isfinite(scores).all()
    layers = [layer for twins in pattern_layers(own._constant[1].model).values() for layer in twins]  # type: ignore[index]
    assert {layer.schedule for layer in layers} == {Schedule.ramp_up(4 * 2)}
    assert own.test(none, 1).metrics["valid"] == pytest.approx(scores[0], rel=1e-4)


@pytest.mark.slow
def test_the_share_of_the_time_that_input_takes_is_told(capsys: pytest.CaptureFixture) -> None:
    def slow() -> Any:  # one after the other: TensorFlow would run several calls of a `map` at once
        for start in range(32):  # many, for a few are read before a step waits for them
            time.sleep(0.03)
            yield X[start : start + 1], Y[start : start + 1]

    spec = tf.TensorSpec((1, *X.shape[1:])), tf.TensorSpec((1,), tf.int32)
    train = tf.data.Dataset.from_generator(slow, output_signature=spec)
    streamed = ModelTask(convnet, train, validation_data=in_order(), epochs=3)
    result = streamed.train(NOTHING, 1)
    assert 0.5 < result.metrics[INPUT_SHARE] < 1.5  # it waits for input most of the time
    line = ProgressLine(Console(), "", 1)
    trial = Trial(0, Suggestion((), 0.0, 0), NOTHING, Status.FINISHED, reward=result.reward, metrics=result.metrics)
    line.trial_finished(trial)
    assert re.search(r"input \d+%", capsys.readouterr().out)
    assert INPUT_SHARE not in task().train(NOTHING, 1).metrics  # arrays are in memory


class Endless(keras.utils.PyDataset):
    """Examples without end, and so without a length."""

    num_batches = None

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        start = 8 * (place % 4)
        return X[start : start + 8], Y[start : start + 8]


def test_a_dataset_without_end_is_trained_on_for_as_many_steps_as_are_named() -> None:
    endless = ModelTask(convnet, Endless(), validation_data=in_order(), epochs=2, steps_per_epoch=3)
    result = endless.train(NOTHING, 1)
    assert len(result.metrics["train_loss"]) == 2
    assert result.metrics[INPUT_SHARE] > 0
