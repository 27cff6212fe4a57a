"""Small compiled models as users bring them; each function returns the same one each time."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

CLASSES, SIDE = 3, 6
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
_rng = np.random.default_rng(0)
Y = _rng.integers(0, CLASSES, 48).astype(np.int32)
X = (_rng.normal(size=(48, SIDE, SIDE, 2)) + Y[:, None, None, None]).astype(np.float32)
DATA = {"x": X[:32], "y": Y[:32], "validation_data": (X[32:], Y[32:]), "batch_size": 8}


def compiled(model: keras.Model, optimizer: Any = None, **options: Any) -> keras.Model:
    """Compiles quickly: XLA takes seconds on a CPU."""
    options = {"loss": LOSS, "metrics": ["accuracy"], "jit_compile": False} | options
    model.compile(optimizer or keras.optimizers.Adam(0.01), **options)
    return model


def network() -> keras.Model:
    """Two convolutions with batch norms and Dropout, named by Keras."""
    image = keras.Input((SIDE, SIDE, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.Dense(CLASSES)(x))


def convnet() -> keras.Model:
    return compiled(network())


def mixed() -> keras.Model:
    """Convolutions with a batch norm, then attention over a sequence whose length only the data tells."""
    tokens = keras.Input((None, 4))
    x = keras.layers.BatchNormalization()(keras.layers.Conv1D(8, 3, padding="same")(tokens))
    x = keras.layers.MultiHeadAttention(2, 4)(x, x) + x
    return compiled(keras.Model(tokens, keras.layers.Dense(CLASSES)(keras.layers.GlobalAveragePooling1D()(x))))


class OwnStep(keras.Model):
    """A model with a training step of its own: twice the loss, and a count of the steps in a variable of TensorFlow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = keras.layers.Conv2D(4, 3)
        self.bn = keras.layers.BatchNormalization()
        self.pool, self.top = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(CLASSES)
        self.seen = tf.Variable(0.0, trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.top(self.pool(self.bn(self.conv(x), training=training)))

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            # What has been seen acts on the loss: a trial that does not begin at 0 comes out otherwise.
            loss = (2.0 + self.seen) * self.compute_loss(x, y, logits)
        self.seen.assign_add(1.0)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        for metric in self.metrics:
            metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, logits)
        return {metric.name: metric.result() for metric in self.metrics} | {"loss": loss}


def own_step() -> keras.Model:
    model = OwnStep()
    model(X[:1])
    return compiled(model)


class Forgetful(keras.layers.Layer):
    """Keeps a number where Keras does not see it."""

    times = 0

    def call(self, x: Any) -> Any:
        def scale() -> np.ndarray:
            Forgetful.times += 1
            return np.float32(Forgetful.times)

        factor = tf.numpy_function(scale, [], tf.float32)
        factor.set_shape(())
        return x * factor


def forgetful() -> keras.Model:
    image = keras.Input((SIDE, SIDE, 2))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(Forgetful()(image)))
    return compiled(keras.Model(image, keras.layers.Dense(CLASSES)(keras.layers.GlobalAveragePooling2D()(x))))


def in_order() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X[:32], Y[:32])).batch(8)


def augmented() -> tf.data.Dataset:
    """A pipeline as users write it: shuffled and augmented, without seeds."""
    flip = keras.layers.RandomFlip()
    return in_order().unbatch().shuffle(32).batch(8).map(lambda x, y: (flip(x, training=True), y)).prefetch(1)


class Batches(keras.utils.PyDataset):
    """The same examples as a `PyDataset`."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        return X[8 * place : 8 * place + 8], Y[8 * place : 8 * place + 8]
