"""A copy has all that its original has, whether a config tells it or not; where it cannot, it is refused."""

import functools
import gc
import types
from typing import Any

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

import tf_autodropout as tad
from tests import ready_models as ready
from tests.test_surgery import same
from tf_autodropout.surgery.copying import copy_model

L = keras.layers
PATTERN = tad.ConvPattern(size=2)
X = np.random.default_rng(0).normal(3, 5, (4, 6, 6, 2)).astype("float32")


def convnet(*first: Any, head: Any = None) -> keras.Model:
    """The layers given, then a batch norm on maps, then the head."""
    image = x = keras.Input((6, 6, 2), name="image")
    for layer in first:
        x = layer(x)
    x = L.GlobalAveragePooling2D(name="pool")(L.BatchNormalization(name="bn")(x))
    return keras.Model(image, (head or L.Dense(2, name="head"))(x), name="net")


def there_and_back(model: keras.Model, patterns: Any = PATTERN) -> list[keras.Model]:
    regularized = tad.regularize(model, patterns)
    return [regularized, tad.strip(regularized)]


class Counted(L.Layer):
    """Has what its config does not hold: an argument of its constructor, an attribute set after building."""

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.shift: Any = 0.0

    def call(self, x: Any) -> Any:
        return x * self.factor + self.shift

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


class Unsaved(L.Layer):
    """Cannot be saved: Keras makes no config of its argument."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def adapted(layer: Any, data: Any) -> Any:
    layer.adapt(data)
    return layer


def shifted() -> Any:
    layer = Counted(2.0, name="counted")
    layer.shift = np.float32(7)
    return layer


@pytest.mark.parametrize(
    "build",
    [
        lambda: convnet(adapted(L.Normalization(), X)),
        lambda: convnet(L.Rescaling(1 / 255), adapted(L.Normalization(axis=-1), X), L.Rescaling([0.5, 2.0])),
        lambda: convnet(keras.Sequential([keras.Input((6, 6, 2)), adapted(L.Normalization(), X)])),
        lambda: convnet(adapted(L.Discretization(num_bins=3), X)),
        lambda: convnet(shifted()),
        lambda: convnet(L.TimeDistributed(shifted())),
        lambda: convnet(L.Lambda(lambda x, by: x * by, arguments={"by": 3}), Unsaved(lambda x: x + 1)),
    ],
    ids=["Normalization", "ImageNet's", "nested", "Discretization", "own layer", "wrapped", "functions"],
)
def test_state_that_is_no_variable(build):
    model = build()
    for copy in there_and_back(model):
        assert same(copy(X), model(X))


@pytest.mark.slow
def test_efficientnet_with_the_mean_and_variance_of_imagenet():
    model = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(32, 32, 3))
    norm = next(layer for layer in model.layers if isinstance(layer, L.Normalization))
    norm.adapt_mean.assign([0.485, 0.456, 0.406])
    norm.adapt_variance.assign([0.229**2, 0.224**2, 0.225**2])
    norm.finalize_state()
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    assert same(tad.regularize(model, {"top_bn": tad.ConvPattern(size=1, rate=0.5)})(x), model(x))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: adapted(L.TextVectorization(output_sequence_length=4), ["red green", "blue"]),
        lambda: L.StringLookup(vocabulary=["red", "green"]),
        lambda: adapted(L.StringLookup(), ["red", "blue"]),
    ],
    ids=["TextVectorization", "StringLookup", "adapted StringLookup"],
)
def test_vocabularies(layer):
    text = keras.Input((1,) if "lookup" in layer().name else (), dtype="string")
    x = L.Embedding(9, 2)(layer()(text))
    x = L.BatchNormalization()(L.Reshape((1, -1, 2))(x))
    model = keras.Model(text, x)
    words = tf.constant([["red"], ["blue"]] if len(text.shape) == 2 else ["red blue", "green"])
    assert np.ptp(model(words)) > 0, "the words are known"
    for copy in there_and_back(model, tad.ConvPattern(size=2, rate=0.5)):
        assert same(copy(words), model(words))


def test_integers_in_safe_ranges_and_inputs_that_cannot_be_guessed():
    ids = keras.Input((5,), dtype="int32")
    x = L.BatchNormalization()(L.Reshape((1, 5, 2))(L.Embedding(2, 2)(ids)))
    model = keras.Model(ids, x)
    assert same(tad.regularize(model, PATTERN)(np.ones((1, 5))), model(np.ones((1, 5))))

    class Picky(L.Layer):
        def call(self, x: Any) -> Any:
            tf.debugging.assert_greater(x, 100.0)
            return x

    model = convnet(Picky())
    assert same(tad.regularize(model, PATTERN)(X**2 + 101), model(X**2 + 101))


STATE: dict[int, float] = {}


class Global(L.Layer):
    """Keeps its state under its identity, where no copy can find it."""

    def call(self, x: Any) -> Any:
        return x * STATE.get(id(self), 1.0)


class Remembering(L.Layer):
    def call(self, x: Any) -> Any:
        return x * STATE[id(self)]


def test_a_copy_that_computes_something_else_is_refused_by_name():
    model = convnet(L.ReLU(), Global(name="secret"))
    STATE[id(model.get_layer("secret"))] = 2.0
    with pytest.raises(ValueError, match=r"first behind layer 'secret' \(Global\).*state where a copy does not see it"):
        tad.regularize(model, PATTERN)
    with pytest.raises(ValueError, match="'secret'"):
        tad.strip(model)
    inner = keras.Sequential([keras.Input((6, 6, 2)), Global(name="deep")], name="inner")
    STATE[id(inner.layers[0])] = 2.0
    with pytest.raises(ValueError, match="'inner'"):
        tad.regularize(convnet(inner), PATTERN)


def test_a_copy_that_cannot_run_is_refused():
    layer = Remembering(name="memory")
    STATE[id(layer)] = 2.0
    with pytest.raises(ValueError, match="its copy cannot be run"):
        tad.regularize(convnet(layer), PATTERN)


def test_a_model_that_is_random_at_inference_is_copied_and_its_random_state_left_alone():
    class Noise(L.Layer):
        def __init__(self, seeded: bool) -> None:
            super().__init__()
            self.generator = keras.random.SeedGenerator(1) if seeded else None

        def call(self, x: Any) -> Any:
            if self.generator is None:
                return x + tf.random.normal(tf.shape(x))
            return x + keras.random.normal(keras.ops.shape(x), seed=self.generator)

    seeded = convnet(Noise(seeded=True))
    before = seeded.layers[1].generator.state.numpy()
    copy = tad.regularize(seeded, PATTERN)
    assert np.array_equal(seeded.layers[1].generator.state, before)
    assert same(copy(X), seeded(X))
    assert tad.regularize(convnet(Noise(seeded=False)), PATTERN).count_params()


def test_what_was_set_afterwards_stays_set():
    model = convnet(L.Conv2D(2, 1, name="conv"), L.Conv2D(2, 1, name="other"))
    conv = model.get_layer("conv")
    conv.kernel_regularizer = conv.kernel.regularizer = keras.regularizers.L2(0.5)
    conv.trainable = False
    model.get_layer("other").bias.trainable = False
    model.get_layer("bn").momentum = 0.5
    model.labels = {"cat": 0}
    model.tags = ["a"]
    for copy in there_and_back(model):
        assert same(copy.losses, model.losses)
        assert [v.path for v in copy.trainable_variables] == [v.path for v in model.trainable_variables]
        assert copy.get_layer("bn").momentum == 0.5
        assert copy.labels == {"cat": 0}
        assert copy.labels is not model.labels
        copy.tags.append("b")
    assert model.tags == ["a"]


def test_weights_added_after_building():
    """LoRA first, patterns later, and back."""
    model = convnet(head=L.Dense(3, name="head"))
    model.get_layer("head").enable_lora(2)
    model.get_layer("head").lora_kernel_b.assign(np.ones((2, 3)))
    for copy in there_and_back(model):
        assert same(copy(X), model(X))
        assert copy.get_layer("head").lora_enabled
        assert [v.path for v in copy.trainable_variables] == [v.path for v in model.trainable_variables]
    bert = ready.bert(layers=1, hidden=8)
    bert.enable_lora(2)
    words = ready.inputs_of(bert)
    for copy in there_and_back(bert, tad.members.word_dropout(0.1)):
        assert same(copy(words), bert(words))
        assert len(copy.trainable_variables) == len(bert.trainable_variables)
    quantized = convnet(head=L.Dense(3, name="head"))
    quantized.get_layer("head").quantize("int8")
    for copy in there_and_back(quantized):
        assert copy.get_layer("head").quantization_mode == "int8"
        assert same(copy(X), quantized(X))


class OwnStep(keras.Sequential):
    """Counts its steps in Python, and trains on nothing."""

    def train_step(self, data: Any) -> Any:
        self.seen = getattr(self, "seen", 0) + 1
        return {"mine": keras.ops.convert_to_tensor(42.0)}


class Distiller(keras.Model):
    """Two Functional models in a subclassed one."""

    def __init__(self, student: keras.Model, teacher: keras.Model, alpha: float) -> None:
        super().__init__()
        self.student, self.teacher, self.alpha = student, teacher, alpha

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.alpha * self.student(x, training=training) + self.teacher(x, training=False)


class Named(keras.Model):
    """A Functional model with a constructor of its own, an argument that no config holds, and Keras' running names."""

    def __init__(self, width: int, secret: str, **kwargs: Any) -> None:
        image = keras.Input((6, 6, 2))
        x = L.BatchNormalization()(L.Conv2D(width, 1)(image))
        super().__init__(image, L.Dense(2)(L.GlobalAveragePooling2D()(x)), **kwargs)
        self.secret = secret

    def train_step(self, data: Any) -> Any:
        return {**super().train_step(data), "secret": float(len(self.secret))}


def test_an_own_train_step_is_the_copys_too():
    layers = [keras.Input((6, 6, 2)), L.BatchNormalization(name="bn"), L.Flatten(), L.Dense(2)]
    model = OwnStep(layers)
    model.compile("sgd", "mse", run_eagerly=True)
    for copy in there_and_back(model):
        assert type(copy) is OwnStep
        assert copy.fit(X, np.zeros((4, 2)), verbose=0).history["mine"] == [42.0]
    model = Named(3, "hush")
    model.compile("sgd", "mse", run_eagerly=True)
    for copy in there_and_back(model):
        assert isinstance(copy, Named)
        assert copy.secret == "hush"
        assert copy.fit(X, np.zeros((4, 2)), verbose=0).history["secret"] == [4.0]
        assert [layer.name for layer in copy.layers if not isinstance(layer, tad.PatternDropout)] == [
            layer.name for layer in model.layers
        ]


def test_a_subclassed_wrapper_is_copied_with_the_models_inside():
    model = Distiller(convnet(), convnet(), 0.5)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X, np.zeros((4, 2)), verbose=0)
    copy = copy_model(model)
    assert same(copy(X), model(X))
    assert copy.student is not model.student
    before = model(X)
    copy.fit(X, np.ones((4, 2)), verbose=0)
    assert same(model(X), before)
    assert not same(copy(X), before)


@pytest.mark.parametrize("reader", ["lambda", "method", "tf.function"])
def test_functions_over_a_part_of_the_model_go_over_the_part_of_the_copy(reader):
    model = convnet()
    head = model.get_layer("head")
    read = {
        "lambda": lambda: head.kernel + 0,
        "method": functools.partial(head.compute_output_shape, (1, 2)),
        "tf.function": tf.function(lambda: head.kernel + 0),
    }[reader]
    model.read = read
    if reader == "tf.function":
        read()
    copy = tad.regularize(model, PATTERN)
    copy.get_layer("head").kernel.assign(np.full((2, 2), 9))
    if reader == "method":
        assert copy.read.func.__self__ is copy.get_layer("head")
    else:
        assert np.all(copy.read().numpy() == 9)
        assert not np.any(model.read().numpy() == 9)


def weights(model: keras.Model) -> list[str]:
    return [v.path for v in model.weights if "seed" not in v.path]


def test_an_inner_layer_that_is_used_outside_of_the_model_too():
    """ "6 variables became 12" it said."""
    shared = L.Conv2D(2, 1, name="conv")
    image = keras.Input((6, 6, 2))
    shared(shared(image))
    model = convnet(shared, shared)
    other = keras.Model(image, L.BatchNormalization()(shared(image)))
    for one in (model, other):
        for copy in there_and_back(one):
            assert weights(copy) == weights(one)
            assert same(copy(X), one(X))
    encoder = keras.Sequential([keras.Input((6, 6, 2)), L.Conv2D(2, 1), L.BatchNormalization(name="inner_bn")])
    keras.Model(image, encoder(encoder(image)))
    around = convnet(encoder, encoder)
    for copy in there_and_back(around):
        assert weights(copy) == weights(around)
        assert same(copy(X), around(X))
        assert copy.get_config()["layers"][0] == around.get_config()["layers"][0]


def test_a_compiled_model_gives_a_compiled_copy_which_trains_on_as_it_would():
    model = convnet(L.Conv2D(2, 1))
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], run_eagerly=True)
    model.fit(X, np.zeros((4, 2)), epochs=2, verbose=0)
    before = [v.numpy() for v in [*model.variables, *model.optimizer.variables]]
    copies = [copy_model(model), *there_and_back(model)]
    for copy in copies:
        assert copy.compiled
        assert copy.optimizer is not model.optimizer
        assert copy.optimizer.iterations.numpy() == 2
        assert same(copy.evaluate(X, np.zeros((4, 2)), verbose=0), model.evaluate(X, np.zeros((4, 2)), verbose=0))
        copy.fit(X, np.zeros((4, 2)), verbose=0)
        assert copy.optimizer.iterations.numpy() == 3
    after = [v.numpy() for v in [*model.variables, *model.optimizer.variables]]
    moved = [not np.array_equal(new, old) for new, old in zip(after, before, strict=True)]
    assert sum(moved) <= len([v for metric in model.metrics for v in metric.variables]), "its metrics, by evaluate"
    model.fit(X, np.zeros((4, 2)), verbose=0)
    for new, old in zip(copies[0].weights, model.weights, strict=True):
        assert np.allclose(new, old, atol=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"loss": lambda y, p: keras.ops.mean((y - p) ** 4), "loss_weights": [3.0]},
        {"loss": [keras.losses.Huber(0.3)], "metrics": [keras.metrics.MeanAbsoluteError(name="far")]},
        {"weighted_metrics": ["mse"], "steps_per_execution": 2},
        {"auto_scale_loss": True, "optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))},
    ],
    ids=["own loss", "instances", "settings", "loss scale"],
)
def test_whatever_it_is_compiled_with(arguments):
    model = convnet()
    model.compile(**{"optimizer": "sgd", "loss": "mse", "run_eagerly": True} | arguments)
    model.fit(X, np.zeros((4, 2)), verbose=0)
    wanted = model.evaluate(X, np.zeros((4, 2)), verbose=0, return_dict=True)
    for copy in there_and_back(model):
        got = copy.evaluate(X, np.zeros((4, 2)), verbose=0, return_dict=True)
        assert got == pytest.approx(wanted, rel=1e-5)
        assert copy.steps_per_execution == model.steps_per_execution
        copy.fit(X, np.zeros((4, 2)), verbose=0)


def test_a_copy_of_a_model_that_has_trained_in_graph_mode_trains_itself():
    model = convnet()
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(X, np.zeros((4, 2)), verbose=0)
    before = model.get_weights()
    copy = tad.strip(model)
    assert copy.jit_compile is False
    copy.fit(X, np.ones((4, 2)), verbose=0)
    assert same(model.get_weights(), before)
    assert not same(copy.get_weights(), before)


def test_a_model_that_is_not_compiled_gives_a_copy_that_is_not():
    assert not any(copy.compiled for copy in there_and_back(convnet()))


def test_a_task_keeps_its_preprocessor():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary=vocabulary)
    preprocessor = keras_nlp.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=6)
    model = keras_nlp.models.BertTextClassifier(ready.bert(1, 8), num_classes=2, preprocessor=preprocessor)
    copy = tad.regularize(model, {"ffn": tad.members.word_dropout(0.1)})
    assert copy.preprocessor is not model.preprocessor
    words = ["good", "bad bad"]
    assert same(copy(copy.preprocessor(words)), model(preprocessor(words)))


def recurrent() -> keras.Model:
    x = keras.Input((5, 3))
    h = L.RNN([L.GRUCell(3), L.LSTMCell(2)])(L.Bidirectional(L.LSTM(4, return_sequences=True))(x))
    return keras.Model(x, L.Dense(2)(h))


def shared_and_nested() -> keras.Model:
    inner = convnet()
    one, other = keras.Input((6, 6, 2)), keras.Input((6, 6, 2))
    return keras.Model([one, other], {"sum": L.Add()([inner(other), inner(one)]), "difference": inner(one) - 1.0})


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (recurrent, [(2, 5, 3)]),
        (lambda: keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), L.LSTM(4, stateful=True)]), [(2, 5, 3)]),
        (shared_and_nested, [(2, 6, 6, 2), (2, 6, 6, 2)]),
    ],
    ids=["recurrent", "stateful", "shared and nested"],
)
def test_graph_names_and_state_are_the_originals(build, shapes):
    model = build()
    x = [np.random.default_rng(number).normal(size=shape).astype("float32") for number, shape in enumerate(shapes)]
    x = x if len(x) > 1 else x[0]
    model(x)  # moves the state of the stateful one on
    copy = copy_model(model)
    assert [v.path for v in copy.variables] == [v.path for v in model.variables]
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    assert copy.get_config() == model.get_config()
    assert same(copy(x), model(x))


def test_a_copy_made_in_the_scope_of_a_strategy_is_of_that_strategy():
    model = convnet()
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        copy = tad.regularize(model, PATTERN)
    assert "Mirrored" in type(copy.get_layer("head").kernel.value).__name__
    assert same(copy(X), model(X))


def test_what_a_model_has_traced_for_generation_is_not_the_copys():
    model = keras_nlp.models.GPT2CausalLM(backbone=ready.gpt2(1, 8), preprocessor=None)
    model.compile(sampler="greedy")
    prompt = {"token_ids": np.full((1, 8), 7), "padding_mask": np.array([[1] * 4 + [0] * 4])}
    before = model.generate(prompt, stop_token_ids=None)["token_ids"]
    copy = tad.regularize(model, {"ffn": tad.members.word_dropout(0.1)})
    for variable in copy.backbone.trainable_variables:
        variable.assign(tf.random.stateless_normal(variable.shape, (1, 2)))
    assert not np.array_equal(copy.generate(prompt, stop_token_ids=None)["token_ids"], before)
    assert np.array_equal(model.generate(prompt, stop_token_ids=None)["token_ids"], before)


def reachable(x: Any) -> set[int]:
    """Identities of the variables that something leads to, by whatever reference but the globals of functions."""
    seen, waiting, variables = {id(x)}, [x], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, keras.Variable | tf.Variable):
            variables.add(id(one))
        inside = one.__closure__ or () if isinstance(one, types.FunctionType) else gc.get_referents(one)
        for other in inside:
            if id(other) not in seen and not isinstance(other, type | types.ModuleType):
                seen.add(id(other))
                waiting.append(other)
    return variables


@pytest.mark.parametrize("build", [convnet, recurrent, shared_and_nested, lambda: ready.bert(1, 8)])
def test_nothing_in_a_copy_leads_to_a_variable_of_the_original(build):
    model = build()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    mine, copies = reachable(model), reachable(copy_model(model))
    assert len(mine) > len(model.variables)
    assert not mine & copies
    assert len(copies) == len(mine)


def test_checkpoints_of_tensorflow(tmp_path):
    model = convnet()
    copies = [copy_model(model) for _ in range(2)]
    for number, copy in enumerate(copies):
        copy.set_weights([np.full(v.shape, number + 1.0) for v in copy.weights])
    path = tf.train.Checkpoint(model=copies[0]).save(tmp_path / "checkpoint")
    tf.train.Checkpoint(model=copies[1]).restore(path).assert_existing_objects_matched()
    assert same(copies[1].get_weights(), copies[0].get_weights())
    assert not same(model.get_weights(), copies[0].get_weights())
