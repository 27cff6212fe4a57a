"""`sites`: every place in a model where a pattern can go."""

import keras

from tf_autodropout.surgery.graph import why_closed
from tf_autodropout.surgery.places import find_places
from tf_autodropout.surgery.site_table import SiteTable


def sites(model: keras.Model) -> SiteTable:
    """Lists every place in a model where a pattern can go, and what cannot be reached.

    These are the outputs of batch normalizations on maps (the paper's placement in ConvNets), and query, key, value,
    softmax, output, ffn and residual inside Transformer layers of KerasHub and, the first five, inside
    `keras.layers.MultiHeadAttention`.

    Args:
        model: Sequential or Functional model, nested ones and those of keras.applications, KerasHub and keras-cv
            included; it is not changed.

    Returns:
        `SiteTable`, which prints as a table. `table.unreachable` lists the layers that a pattern cannot be put at, with
        the reason.

    Raises:
        TypeError: not a Keras model.
        ValueError: a model that is not built, or a subclassed one, whose graph cannot be read.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> image = keras.Input((8, 8, 3))
        >>> x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(4, 3, name="conv")(image))
        >>> print(tad.sites(keras.Model(image, x)))
        site  kind        layer  shape  block   stage   at add  pattern
        ----  ----------  -----  -----  ------  ------  ------  -------
        bn    batch_norm  bn     6×6×4  stage1  stage1

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figures 3 and 4.
    """
    check_model(model)
    places, hidden = find_places(model)
    return SiteTable([site for place in places for site in place.sites()], hidden)


def check_model(model: keras.Model) -> None:
    """Raises unless the graph of a model can be read."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected 'model' to be a Keras model. Received: {model!r}")
    if reason := why_closed(model):
        raise ValueError(f"Model '{model.name}': {reason}")
