"""What is imported when: a layer and a ConvNet need TensorFlow, Keras and NumPy, the rest is for what uses it."""

import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_autodropout as tad

# The packages that nothing but their own uses may need. Keras itself imports scikit-learn, SciPy and matplotlib where
# they are installed, so they are refused too.
_HUB = ["keras_hub", "keras_nlp", "keras_cv", "tensorflow_probability", "tf_keras"]
_OTHERS = ["tensorflow_datasets", "sklearn", "scipy", "pyarrow", "sentencepiece", "sacrebleu", "matplotlib", "optuna"]

BLOCK = f"""
import sys

class Refuses:
    names = {_HUB + _OTHERS}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{{name}} is not to be had")

sys.meta_path.insert(0, Refuses())
import keras
import numpy as np
import tf_autodropout as tad

def convnet():
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, padding="same")(image))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(image, layers.Dense(3)(x))

x = np.ones((2, 8, 8, 3), "float32")
"""


def with_everything_blocked(code, *arguments, **kwargs):
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, **kwargs)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


def test_layers_and_surgery_on_models_of_keras_alone(tmp_path):
    said = with_everything_blocked(
        """
layer = tad.PatternDropout(tad.ConvPattern(size=2))
layer(x, training=True)
model = tad.regularize(convnet(), tad.ConvPattern(size=2))
model.save("model.keras")
loaded = tad.load_model("model.keras")
assert np.array_equal(loaded(x), model(x))
tokens = keras.Input((4, 8))
attended = keras.layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens)
text = tad.regularize(keras.Model(tokens, attended), tad.members.word_dropout(0.1))
tad.strip(text), tad.monte_carlo(model, x, 2)
print(len(tad.sites(loaded)), len([site for site in tad.sites(text) if site.pattern]))
print(tad.models.wide_resnet(10, 1, input_shape=(8, 8, 3), num_classes=2).name)
""",
        cwd=tmp_path,
    )
    assert said == ["1", "5", "wide_resnet_10_1"]


@pytest.mark.slow
def test_a_search_on_digits_needs_no_keras_hub(tmp_path):
    said = with_everything_blocked(
        """
sys.meta_path[0].names = sys.argv[1:]
found = tad.search.run("digits", 1, "run", searcher="random", fresh_seeds=0, finalists=1, settings={"steps": 2})
print(len(found.best))
""",
        *_HUB,
        cwd=tmp_path,
    )
    assert said == ["7"]


@pytest.mark.slow
def test_a_builder_without_its_backbone_says_what_it_lacks():
    said = with_everything_blocked(
        """
for builder in (tad.models.resnet50, tad.models.efficientnet):
    try:
        builder(input_shape=(32, 32, 3))
    except ImportError as error:
        print("keras-cv" in str(error) and "keras_hub is not to be had" in str(error))
"""
    )
    assert said == ["True", "True"]


_ODD, _EVEN = (48, 33, 3), (32, 32, 1)  # the two packages pad each in a way of its own


@pytest.mark.parametrize(
    ("builder", "arguments", "shape"),
    [
        ("resnet50", {"width": 0.125}, _ODD),
        pytest.param("efficientnet", {"width": 0.25}, _ODD, marks=pytest.mark.slow),
        pytest.param("resnet50", {}, _EVEN, marks=pytest.mark.slow),
        pytest.param("efficientnet", {"variant": "b1", "width": 0.1}, _EVEN, marks=pytest.mark.slow),
    ],
)
def test_the_backbone_of_keras_hub_is_that_of_keras_cv(builder, arguments, shape, monkeypatch):
    build = getattr(tad.models, builder)
    one = build(input_shape=shape, num_classes=5, seed=3, **arguments)
    monkeypatch.setitem(sys.modules, "keras_cv", None)  # as if it did not import
    other = build(input_shape=shape, num_classes=5, seed=3, **arguments)
    assert [variable.path for variable in one.variables] == [variable.path for variable in other.variables]
    assert one.input_shape == other.input_shape == (None, *shape)
    images = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")
    assert np.array_equal(one(images), other(images))  # a seed draws the same weights
    rng = np.random.default_rng(1)
    weights = [np.abs(rng.standard_normal(weight.shape)).astype("float32") for weight in one.get_weights()]
    one.set_weights(weights)
    other.set_weights(weights)
    assert np.array_equal(one(images), other(images))
    for model in (one, other):
        model(images, training=True)
    for mine, theirs in zip(one.non_trainable_variables, other.non_trainable_variables, strict=True):
        assert np.array_equal(mine, theirs)  # the moving statistics


@pytest.mark.slow
def test_a_saved_model_with_classes_of_keras_hub_brings_it(tmp_path):
    import keras_hub

    bert = keras_hub.models.BertBackbone(9, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8)
    model = tad.regularize(bert, tad.members.word_dropout(0.1))
    model.save(tmp_path / "bert.keras")
    tokens = keras.Input((4, 8))
    encoded = keras.Model(tokens, keras_hub.layers.TransformerEncoder(16, 2, name="encoder")(tokens))
    encoder = tad.regularize(encoded, tad.members.word_dropout(0.1))
    encoder.save(tmp_path / "encoder.keras")
    encoder.save(tmp_path / "encoder.h5")
    (tmp_path / "bert.pickle").write_bytes(pickle.dumps(model))
    code = """
import pickle, sys
import tf_autodropout as tad
pickled, *files = sys.argv[1:]
tad.regularize
assert "keras_hub" not in sys.modules
models = [pickle.load(open(pickled, "rb")), *map(tad.load_model, files)]
print(*[len([site for site in tad.sites(model) if site.pattern]) for model in models])
"""
    files = [str(tmp_path / name) for name in ("bert.pickle", "bert.keras", "encoder.keras", "encoder.h5")]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = [str(len([site for site in tad.sites(one) if site.pattern])) for one in (model, model, encoder, encoder)]
    assert done.stdout.split() == counts
