"""The file that `tf-autodropout init` writes."""

_TEMPLATE = '''"""Dropout patterns for my model.

tf-autodropout search FILE:build --trials 64 --out runs/STEM                # goes on after a stop, at whatever moment
tf-autodropout search FILE:build --trials 64 --out runs/STEM --engine processes    # the same, on all cores or GPUs
tf-autodropout report runs/STEM
tf-autodropout train FILE:build --patterns runs/STEM/best.json              # one training with what was found
"""

import keras
from sklearn.datasets import load_digits

from tf_autodropout.search import ModelTask


def network():
    """Your model, compiled as you train it. Called for each trial: the same model each time, with new weights.

    Patterns go to its batch normalizations, attention and feed-forward parts; `print(tad.sites(network()))` lists them.
    """
    image = keras.Input((8, 8, 1))
    x = image
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(10, "softmax")(x))
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def build(epochs=10):
    """Your data and how a trial is trained: the arguments of `fit`. The search never sees the test data."""
    digits = load_digits()
    x, y = digits.images[..., None] / 16, digits.target
    return ModelTask(
        network,
        x[:400],  # or a tf.data.Dataset, a keras.utils.PyDataset, or a function that returns one
        y[:400],
        validation_data=(x[400:900], y[400:900]),  # the reward of a trial is a metric on these
        test_data=(x[900:], y[900:]),  # for the table at the end; may be left out
        objective="val_accuracy",
        epochs=epochs,  # or steps=...
        batch_size=50,
    )
'''


def template(name: str) -> str:
    """Returns the text of the file.

    Args:
        name: Name of the file.
    """
    return _TEMPLATE.replace("FILE", name).replace("STEM", name.removesuffix(".py"))
