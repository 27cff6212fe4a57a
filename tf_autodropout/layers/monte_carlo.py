"""Monte Carlo: a model predicts many times with patterns on, and its answers tell how sure it is."""

from typing import Any, NamedTuple

import keras
import numpy as np

from tf_autodropout.layers.pattern_dropout import pattern_layers
from tf_autodropout.layers.sampling import Sample, sampling
from tf_autodropout.masks.backend import Tensor, xp
from tf_autodropout.patterns.checks import check_int


class Prediction(NamedTuple):
    """Mean and deviation over samples.

    Args:
        mean: Mean of what the model returns, of the same structure; NumPy arrays.
        deviation: Standard deviation between the samples (with `samples - 1` in the denominator), of the same
            structure.
    """

    mean: Any
    deviation: Any


def monte_carlo(model: keras.Model, inputs: Any, samples: int = 20, batch_size: int = 32, seed: int = 0) -> Prediction:
    """Predicts with patterns on, many times, in one compiled function, and returns mean and standard deviation.

    Only the patterns act, at full strength whatever their schedules: batch norms use their moving statistics, Keras'
    own dropout layers do nothing. The model is not changed, nor are the random states of its layers.

    Args:
        model: A model with pattern layers, as `tad.regularize` returns it.
        inputs: What `model.predict` takes as arrays: an array or a list, tuple or dict of arrays, examples first.
        samples: Number of predictions for each example, at least 2.
        batch_size: Examples that are computed at once.
        seed: Seeds the masks. The same seed gives the same numbers for the same batches.

    Returns:
        `Prediction(mean, deviation)`.

    Raises:
        TypeError: not a model.
        ValueError: a model in which no pattern acts, a number out of range, inputs of different lengths.

    Example:
        >>> import keras, numpy as np, tf_autodropout as tad
        >>> image = keras.Input((8, 8, 3))
        >>> x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(image))
        >>> plain = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
        >>> model = tad.regularize(plain, strength=0.2)
        >>> mean, deviation = tad.monte_carlo(model, np.ones((5, 8, 8, 3)), samples=10)
        >>> mean.shape, bool((deviation > 0).all())
        ((5, 2), True)

    Reference:
        Gal and Ghahramani, Dropout as a Bayesian Approximation, ICML 2016; the running moments: Welford, Technometrics
        1962.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected 'model' to be a Keras model. Received: {model!r}")
    if all(layer.pattern.is_identity for layers in pattern_layers(model).values() for layer in layers):
        raise ValueError(
            f"Model '{model.name}': no pattern acts in it, so all samples would be equal. Put some in: "
            "tad.regularize(model, patterns)."
        )
    samples, batch_size = check_int("samples", samples, 2), check_int("batch_size", batch_size, 1)
    seed = check_int("seed", seed, 0)
    arrays = keras.tree.map_structure(np.asarray, inputs)
    lengths = {len(array) if array.ndim else 0 for array in keras.tree.flatten(arrays)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"Expected 'inputs' to be arrays with equally many examples, at least one. Received: {lengths}"
        )

    def moments(batch: Any, first: Tensor) -> Any:
        return _moments(model, batch, samples, seed, first)

    compiled = xp.compiled(moments, model)
    parts = []
    for number, start in enumerate(range(0, lengths.pop(), batch_size)):
        batch = keras.tree.map_structure(
            lambda array, at=start: xp.convert_to_tensor(array[at : at + batch_size]), arrays
        )
        parts.append(compiled(batch, xp.constant(number * samples)))
    joined = keras.tree.map_structure(
        lambda *part: np.concatenate([keras.ops.convert_to_numpy(one) for one in part]), *parts
    )
    return Prediction(*joined)


def _moments(model: keras.Model, batch: Any, samples: int, seed: int, first: Tensor) -> tuple[Any, Any]:
    """Mean and standard deviation of one batch, over samples that are numbered from `first` on."""

    def predict(number: Any) -> Any:
        with sampling(Sample(seed, first + number)):
            outputs = model(batch, training=False)
        return keras.tree.map_structure(_exact, outputs)

    start = predict(0)
    flat = [xp.convert_to_tensor(one) for one in keras.tree.flatten(start)]
    spread = [keras.ops.zeros_like(one) for one in flat]

    def step(number: Tensor, means: list[Any], spreads: list[Any]) -> Any:
        answers = keras.tree.flatten(predict(number))
        count = xp.cast(number + 1, xp.float32)
        moved = [mean + (x - mean) / xp.cast(count, x.dtype) for x, mean in zip(answers, means, strict=True)]
        wider = [
            spread + (x - mean) * (x - now) for x, mean, now, spread in zip(answers, means, moved, spreads, strict=True)
        ]
        return number + 1, moved, wider

    _, means, spreads = xp.while_loop(lambda number, *_: number < samples, step, (xp.constant(1), flat, spread))
    deviations = [keras.ops.sqrt(one / (samples - 1)) for one in spreads]
    return keras.tree.pack_sequence_as(start, means), keras.tree.pack_sequence_as(start, deviations)


def _exact(tensor: Any) -> Any:
    """A tensor in at least float32: means are sums."""
    return tensor if tensor.dtype == xp.float64 else xp.cast(tensor, xp.float32)
