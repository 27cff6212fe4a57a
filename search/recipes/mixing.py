"""Manifold Mixup and MoEx: hidden features of an example mixed with another's, and its label with the other's."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tf_autodropout.layers.registration import registered
from tf_autodropout.surgery.edit import insert_after, refresh


class _Draw:
    """What the layers of a model mix in the step that is being traced."""

    def __init__(self) -> None:
        self.partner: Any = None  # (N,), the example that each is mixed with
        self.weight: Any = None  # of the example itself
        self.place: Any = None  # number of the layer that acts

    @contextlib.contextmanager
    def of(self, partner: Any, weight: Any, place: Any) -> Iterator[None]:
        self.partner, self.weight, self.place = partner, weight, place
        try:
            yield
        finally:
            self.partner = self.weight = self.place = None


@registered
class ManifoldMixup(keras.layers.Layer):
    """One of the places where a `MixingClassifier` may mix; the identity outside its training step.

    Args:
        place: Number of the place.

    Call arguments:
        inputs: `(N, ...)`.
        training: Python boolean.

    Reference:
        Verma et al., Manifold Mixup, ICML 2019, Equation 1.
    """

    def __init__(self, place: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place, self._draw = place, _Draw()

    def listen(self, draw: _Draw) -> None:
        """Mixes what `draw` says from now on."""
        self._draw = draw

    def mixed(self, inputs: Any, partner: Any, weight: Any) -> Any:
        """Returns `weight * h + (1 - weight) * h[partner]`."""
        weight = ops.cast(weight, inputs.dtype)
        return weight * inputs + (1 - weight) * ops.take(inputs, partner, 0)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        draw = self._draw
        if not training or draw.partner is None:
            return inputs
        return tf.cond(
            tf.equal(draw.place, self.place),
            lambda: self.mixed(inputs, draw.partner, draw.weight),
            lambda: tf.identity(inputs),
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "place": self.place}


@registered
class MomentExchange(ManifoldMixup):
    """Normalizes each position over its channels and gives it the moments of another example: MoEx.

    Args:
        place: See `ManifoldMixup`.
        epsilon: Added to the variance.

    Call arguments:
        inputs: `(N, H, W, C)`, channels last.
        training: Python boolean.

    Reference:
        Li et al., On Feature Normalization and Data Augmentation, CVPR 2021, Equation 2 with positional
        normalization.
    """

    def __init__(self, place: int = 0, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(place, **kwargs)
        self.epsilon = epsilon

    def mixed(self, inputs: Any, partner: Any, weight: Any) -> Any:
        x = ops.cast(inputs, "float32")
        mean = ops.mean(x, -1, keepdims=True)  # (N, H, W, 1)
        deviation = ops.sqrt(ops.var(x, -1, keepdims=True) + self.epsilon)
        mixed = (x - mean) / deviation * ops.take(deviation, partner, 0) + ops.take(mean, partner, 0)
        return ops.cast(mixed, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


class MixingClassifier(keras.Model):
    """Trains a classifier with Manifold Mixup or MoEx by plain `fit`, on one-hot labels.

    Args:
        network: A Functional classifier; the layers go into it, in place, after the layers of the names given.
        after: Names of layers after whose output it may mix, the input layer among them. Each step draws one.
        alpha: Manifold Mixup: the weight of an example is drawn from Beta(alpha, alpha), once a step.
        exchange: MoEx instead: the weight of an example's own label, 0 to 1.
        probability: Share of the steps that mix.
        seed: Seeds the draws.

    Raises:
        ValueError: a name that the network does not have, not exactly one of `alpha` and `exchange`.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.search.recipes.mixing import MixingClassifier
        >>> network = tad.models.wide_resnet(10, 1, (8, 8, 3))
        >>> model = MixingClassifier(network, ["images", "stage1_block1_add"], alpha=2.0)
        >>> [layer.name for layer in network.layers if "mix" in layer.name]
        ['stage1_block1_add_mix']

    Reference:
        Verma et al., Manifold Mixup, ICML 2019; Li et al., On Feature Normalization and Data Augmentation, CVPR 2021.
    """

    def __init__(
        self,
        network: keras.Model,
        after: list[str],
        alpha: float | None = None,
        exchange: float | None = None,
        probability: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(name=f"{network.name}_mixing")
        if (alpha is None) == (exchange is None):
            raise ValueError(f"Expected either alpha or exchange. Received: alpha={alpha}, exchange={exchange}")
        self.alpha, self.exchange, self.probability = alpha, exchange, probability
        kind = ManifoldMixup if exchange is None else MomentExchange
        self._mixture, self._places = _Draw(), len(after)
        self.of_inputs: keras.layers.Layer | None = None
        for place, name in enumerate(after):
            layer = kind(place, name=f"{name}_mix")
            layer.listen(self._mixture)
            source = network.get_layer(name)
            if isinstance(source, keras.layers.InputLayer):
                self.of_inputs = layer
            else:
                insert_after(network, source, layer)
        refresh(network)
        self.network = network
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True  # as the network: a checkpoint can be loaded before the first step

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if self.of_inputs is not None:
            inputs = self.of_inputs(inputs, training=training)
        return self.network(inputs, training=training)

    def train_step(self, data: Any) -> Any:
        """A step of `keras.Model` on mixed labels, with the network's layers told what to mix."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        partner, weight, place = self.draw(ops.shape(x)[0])
        y = ops.cast(y, "float32")
        with self._mixture.of(partner, weight, place):
            return super().train_step((x, weight * y + (1 - weight) * ops.take(y, partner, 0), sample_weight))

    def draw(self, count: Any) -> tuple[Any, Any, Any]:
        """Returns partners `(count,)`, the weight of an example itself, the number of the place; -1 for none."""
        seed = self.seed_generator
        partner = keras.random.shuffle(ops.arange(count), seed=seed)
        place = keras.random.randint((), 0, self._places, seed=seed)
        weight = (
            self.exchange if self.exchange is not None else keras.random.beta((), self.alpha, self.alpha, seed=seed)
        )
        on = keras.random.uniform((), seed=seed) < self.probability
        return partner, ops.where(on, weight, 1.0), ops.where(on, place, -1)
