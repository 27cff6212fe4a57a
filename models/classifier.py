"""From a backbone of keras-cv or KerasHub to a classifier with readable names and seeded weights."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from tf_autodropout.layers import site_seed
from tf_autodropout.patterns import ConvPattern, patterns_for
from tf_autodropout.surgery import regularize, sites

Change = Callable[[str], dict[str, Any] | None]  # see `image_classifier`
Backbone = tuple[keras.Model, Change]

_KERNELS = ("kernel", "depthwise")  # of convolutions; squeeze and excitation is made of convolutions as well


def first_that_imports(*backbones: Callable[[], Backbone]) -> Backbone:
    """Returns what the first of several functions gives that does not raise an `ImportError`.

    Args:
        *backbones: That of keras-cv first: its releases have ended, and one day Keras leaves it behind.

    Raises:
        ImportError: none can be imported; with the reasons.
    """
    reasons = []
    for backbone in backbones:
        try:
            return backbone()
        except ImportError as error:
            reasons.append(str(error))
    raise ImportError(f"This network takes its backbone from keras-cv or KerasHub, and has neither: {reasons}")


def image_classifier(
    backbone: keras.Model,
    change: Change,
    num_classes: int,
    weight_decay: float,
    seed: int,
    name: str,
    patterns: Mapping[str, ConvPattern] | None = None,
    mutable: bool = False,
) -> keras.Model:
    """Builds a classifier, images in, logits out, after a backbone: average pooling and one dense layer.

    Args:
        backbone: Functional model from one input to maps `(N, H, W, C)`; it is left as it is.
        change: From the name of a layer of the backbone to what differs in its config, the name above
            all; None leaves the layer out.
        num_classes: Number of classes.
        weight_decay: L2 factor on the kernels of the convolutions, added to the loss.
        seed: Seeds the initial weights, each by its layer's new name.
        name: Name of the model.
        patterns: Site to `ConvPattern`.
        mutable: Have a layer at every site, its pattern in variables.

    Returns:
        `keras.Model` from `(N, H, W, channels)` to float32 logits `(N, num_classes)`.

    Raises:
        ValueError: an unknown site.
        TypeError: a pattern that is no `ConvPattern`.

    Example:
        >>> import keras
        >>> images = keras.Input((8, 8, 3))
        >>> backbone = keras.Model(images, keras.layers.Conv2D(4, 3, name="conv1")(images))
        >>> model = image_classifier(backbone, lambda name: {"name": "stem"}, 10, 0.0, 0, "small")
        >>> [layer.name for layer in model.layers]
        ['images', 'stem', 'pool', 'classifier']
    """

    def remade(layer: keras.layers.Layer) -> keras.layers.Layer:
        changed = change(layer.name)
        if changed is None:
            return keras.layers.Identity()
        config = layer.get_config() | changed
        for kernel in _KERNELS:
            if initializer := config.get("_".join((kernel, "initializer"))):
                initializer["config"]["seed"] = site_seed(seed, "weights", config["name"])
                config[f"{kernel}_regularizer"] = keras.regularizers.L2(weight_decay) if weight_decay else None
        return type(layer).from_config(config)

    def called(layer: keras.layers.Layer, inputs: Any, **kwargs: Any) -> Any:
        return inputs if isinstance(layer, keras.layers.Identity) else layer(inputs, **kwargs)

    images = keras.Input(backbone.input_shape[1:], name="images")
    h = keras.models.clone_model(backbone, images, remade, called).output  # (N, H, W, C)
    h = keras.layers.GlobalAveragePooling2D(name="pool")(h)  # (N, C)
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.GlorotUniform(seed=site_seed(seed, "weights", "classifier")),
        name="classifier",
    )(h)
    model = keras.Model(images, logits, name=name)
    if not patterns and not mutable:
        return model
    chosen = patterns_for([site.name for site in sites(model)], ConvPattern, patterns)
    return regularize(model, chosen, seed, mutable, in_place=True)
