"""What stands for the data and weights that the scripts in examples/ load from elsewhere."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

COUNT = 96


def images(shape: tuple[int, ...]) -> Any:
    """Ten classes that brightness tells apart."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, COUNT).astype(np.int32)
    x = (20 * y.reshape(-1, *[1] * len(shape)) + rng.integers(0, 50, (COUNT, *shape))).astype(np.uint8)
    return (x, y), (x[:32], y[:32])


def texts(name: str, split: str, as_supervised: bool, batch_size: int) -> tf.data.Dataset:
    """Two sentences, two classes."""
    words = np.array(["a fine film", "a dull film indeed"] * 16)
    return tf.data.Dataset.from_tensor_slices((words, np.arange(32) % 2)).batch(batch_size)


def small_bert(preset: str, **settings: Any) -> keras.Model:
    """A BERT of two small layers and ten words."""
    import keras_hub

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fine", "film", "dull", "indeed"]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary)
    backbone = keras_hub.models.BertBackbone(len(vocabulary), 2, 2, 8, 16, dropout=0.1, max_sequence_length=8)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8)
    return keras_hub.models.BertTextClassifier(backbone, preprocessor=preprocessor, **settings)


# What the scripts load from elsewhere, by the module that loads it: owner, name, value.
OF_MODULES: dict[str, Callable[[Any], tuple[Any, str, Any]]] = {
    "keras_hub": lambda hub: (hub.models.BertTextClassifier, "from_preset", small_bert),
    "tensorflow_datasets": lambda tfds: (tfds, "load", texts),
}


def stand_ins() -> list[tuple[Any, str, Any]]:
    """`OF_MODULES`, Keras' own data, and the compilation that small data are not worth."""
    compile_ = keras.Model.compile

    def quick(self: keras.Model, *given: Any, **named: Any) -> None:
        compile_(self, *given, **named | {"jit_compile": False})

    return [
        (keras.Model, "compile", quick),
        (keras.datasets.fashion_mnist, "load_data", lambda: images((28, 28))),
        (keras.datasets.cifar10, "load_data", lambda: images((32, 32, 3))),
        *(replaced(importlib.import_module(name)) for name, replaced in OF_MODULES.items()),
    ]
