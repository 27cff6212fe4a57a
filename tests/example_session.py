"""One of the scripts in examples/, on generated data, as a process of its own: `python -m tests.example_session`.

Its 16 trials, its model and its lines are as they stand; a trial is an epoch, the table is small.
"""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_autodropout as tad
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.search_config import SearchConfig

EXAMPLES = Path(__file__).parents[1] / "examples"
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


def stand_ins() -> list[tuple[Any, str, Any]]:
    """What the scripts load from elsewhere, and the compilation that small data are not worth: owner, name, value."""
    import keras_hub
    import tensorflow_datasets as tfds

    compile_ = keras.Model.compile

    def quick(self: keras.Model, *given: Any, **named: Any) -> None:
        compile_(self, *given, **named | {"jit_compile": False})

    return [
        (keras.Model, "compile", quick),
        (keras.datasets.fashion_mnist, "load_data", lambda: images((28, 28))),
        (keras.datasets.cifar10, "load_data", lambda: images((32, 32, 3))),
        (tfds, "load", texts),
        (keras_hub.models.BertTextClassifier, "from_preset", small_bert),
    ]


def main(name: str, engine: str, out: str) -> None:
    """Runs `examples/NAME.py`; prints its rows as the last line."""
    begin, compare, fit = tad.AutoDropout.__init__, tad.AutoDropout.compare, tad.AutoDropout.fit
    made: list[tad.AutoDropout] = []

    def start(self: Any, *given: Any, **named: Any) -> None:
        where = EngineConfig(engine, workers=None if engine == "in-process" else 2)
        config = SearchConfig(finalists=2, fresh_seeds=0)
        begin(self, *given, **named | {"engine": where, "config": config, "out": out})
        made.append(self)

    change: Any = setattr
    change(tad.AutoDropout, "__init__", start)
    change(tad.AutoDropout, "fit", lambda self, *given, **named: fit(self, *given, **named | {"epochs": 1}))
    change(tad.AutoDropout, "compare", lambda self, data: compare(self, data, seeds=2, tuning=2))
    for owner, what, value in stand_ins():
        change(owner, what, value)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    print(json.dumps([[row["trial"], row["status"]] for row in made[0].results()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
