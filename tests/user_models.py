"""Models as users write them: own layers, subclassed models, sequences, nested and shared parts."""

from typing import Any

import keras
import numpy as np
from keras import ops

L = keras.layers


@keras.saving.register_keras_serializable("tests")
class ConvBlock(L.Layer):
    """conv, batch norm, relu and a dense layer around a skip connection."""

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.conv = L.Conv2D(filters, 3, padding="same")
        self.bn = L.BatchNormalization()
        self.dense = L.Dense(filters)

    def build(self, shape: Any) -> None:
        self.conv.build(shape)
        self.bn.build((*shape[:-1], self.filters))
        self.dense.build((*shape[:-1], self.filters))

    def call(self, x: Any) -> Any:
        return x + self.dense(ops.relu(self.bn(self.conv(x))))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


class ConvNet(keras.Model):
    """Subclassed, not registered, without a config and without `training` in its `call`."""

    def __init__(self, filters: int = 4) -> None:
        super().__init__()
        self.blocks = [ConvBlock(filters) for _ in range(2)]
        self.head = L.Dense(2)

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(ops.mean(x, (1, 2)))


class Handmade(keras.Model):
    """Subclassed, with a constructor that takes what no config can hold."""

    def __init__(self, activation: Any) -> None:
        super().__init__()
        self.activation = activation
        self.conv = L.Conv2D(4, 3)
        self.head = L.Dense(2)

    def call(self, x: Any) -> Any:
        return self.head(ops.mean(self.activation(self.conv(x)), (1, 2)))


class Attention(L.Layer):
    """Attention and a feed-forward part in plain Python, with names of its own."""

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.to_q, self.to_k, self.to_v, self.mix = (L.Dense(width) for _ in range(4))
        self.up, self.down = L.Dense(2 * width, "gelu"), L.Dense(width)
        self.norm = L.LayerNormalization()
        self.probabilities = L.Softmax()

    def build(self, shape: Any) -> None:
        for layer in (self.to_q, self.to_k, self.to_v, self.mix, self.up, self.norm):
            layer.build(shape)
        self.down.build((*shape[:-1], 2 * self.width))

    def call(self, x: Any) -> Any:
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        scores = ops.matmul(q, ops.transpose(k, (0, 2, 1))) / self.width**0.5
        x = x + self.mix(ops.matmul(self.probabilities(scores), v))
        return x + self.down(self.up(self.norm(x)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


class SelfBuilt(keras.Model):
    """Functional, but made by its constructor: a copy has other running names."""

    def __init__(self, filters: int = 4, **kwargs: Any) -> None:
        image = keras.Input((8, 8, 3))
        x = image
        for _ in range(2):
            x = L.ReLU()(L.BatchNormalization()(L.Conv2D(filters, 3, padding="same")(x)))
        super().__init__(inputs=image, outputs=L.Dense(2)(L.GlobalAveragePooling2D()(x)), **kwargs)
        self.filters = filters

    def get_config(self) -> dict[str, Any]:
        return {"filters": self.filters, "name": self.name}


class SelfBuiltStack(keras.Sequential):
    """A Sequential made by its constructor."""

    def __init__(self, filters: int = 4, **kwargs: Any) -> None:
        layers = [L.Conv2D(filters, 3), L.BatchNormalization(), L.ReLU(), L.Conv2D(filters, 3), L.BatchNormalization()]
        super().__init__([keras.Input((8, 8, 3)), *layers, L.Flatten(), L.Dense(2)], **kwargs)
        self.filters = filters

    def get_config(self) -> dict[str, Any]:
        return {"filters": self.filters, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SelfBuiltStack":
        return cls(**config)


def subclassed() -> keras.Model:
    model = ConvNet()
    model(images(4))
    return model


def attention_net() -> keras.Model:
    x = keras.Input((6, 8))
    return keras.Model(x, L.Dense(2)(Attention(8, name="second")(Attention(8, name="first")(x))))


def plain_cnn() -> keras.Model:
    layers = [L.Conv2D(4, 3), L.ReLU(), L.MaxPooling2D(), L.Conv2D(6, 3, activation="relu"), L.Flatten(), L.Dense(2)]
    return keras.Sequential([keras.Input((12, 12, 3)), *layers])


def u_net() -> keras.Model:
    image = keras.Input((16, 16, 3))
    down = L.Conv2D(4, 3, padding="same", activation="relu", name="down")(image)
    low = L.Conv2D(8, 3, padding="same", activation="relu", name="low")(L.MaxPooling2D()(down))
    up = L.Conv2DTranspose(4, 2, strides=2, name="up")(low)
    return keras.Model(image, L.Conv2D(1, 1, name="out")(L.Concatenate()([up, down])))


def rnn(kind: Any = L.GRU) -> keras.Model:
    x = keras.Input((6, 3))
    h = kind(4, return_sequences=True, name="first")(x)
    return keras.Model(x, L.Dense(2)(kind(4, name="second")(h)))


def time_distributed(steps: int | None = 3) -> keras.Model:
    cnn = keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.BatchNormalization(name="bn"), L.ReLU(), L.GlobalAveragePooling2D()]
    )
    video = keras.Input((steps, 8, 8, 3))
    return keras.Model(video, L.Dense(2)(L.TimeDistributed(cnn, name="frames")(video)))


def shared() -> keras.Model:
    image, other = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    conv = L.Conv2D(4, 3, name="conv")
    return keras.Model([image, other], L.GlobalAveragePooling2D()(conv(image) - conv(other)))


def nested() -> keras.Model:
    """A network that makes itself, inside another one with layers of the same running names."""
    image = keras.Input((8, 8, 3))
    x = L.BatchNormalization()(L.Conv2D(3, 3, padding="same")(image))
    return keras.Model(image, L.Dense(2)(SelfBuilt()(x)))


def bidirectional() -> keras.Model:
    x = keras.Input((6, 3))
    h = L.Bidirectional(L.GRU(4, return_sequences=True), name="both")(x)
    return keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(h)))


def convnet(rank: int) -> keras.Model:
    conv, pool = (getattr(L, f"{name}{rank}D") for name in ("Conv", "GlobalAveragePooling"))
    x = keras.Input((8,) * rank + (3,))
    h = L.ReLU()(conv(4, 3, padding="same", name="conv1")(x))
    return keras.Model(x, L.Dense(2)(pool()(conv(4, 3, name="conv2")(h))))


def images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 8, 8, channels)).astype("float32")
