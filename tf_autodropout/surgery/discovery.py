"""`sites`: every place in a model where a pattern can go."""

from typing import Any

import keras

from tf_autodropout.surgery.graph import why_closed
from tf_autodropout.surgery.site_table import SiteTable
from tf_autodropout.surgery.survey import survey, unreachable


def sites(model: keras.Model, every: bool = False) -> SiteTable:
    """Lists the places in a model where a pattern should go, or all where it can go, and what cannot be reached.

    Recommended are the outputs of batch normalizations on maps (the paper's placement in ConvNets), where there are
    none those of convolutions; in attention blocks, whatever their classes, query, key, value, softmax, output, ffn
    and residual; in a recurrent network what its recurrent layers return; in a network on features `(N, C)` its batch
    norms, or else its dense layers but the last. Layers are found wherever they are: in the
    graph, inside other layers, in the Python code of a subclassed model. What attention is, and what ends a branch, is
    read from what a training step computes.

    Args:
        model: Any Keras model that is built; it is not changed.
        every: True lists the output of every layer. `regularize` takes the names of these rows as well.

    Returns:
        `SiteTable`, which prints as a table. `table.unreachable` lists what a pattern cannot be put at, with the
        reason.

    Raises:
        TypeError: not a Keras model.
        ValueError: a model that is not built.

    Example:
        >>> import keras, tf_autodropout as tad
        >>> image = keras.Input((8, 8, 3))
        >>> x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(4, 3, name="conv")(image))
        >>> print(tad.sites(keras.Model(image, x)))
        site  kind        layer  shape  block   stage   at add  pattern
        ----  ----------  -----  -----  ------  ------  ------  -------
        bn    batch_norm  bn     6×6×4  stage1  stage1
        >>> [site.name for site in tad.sites(keras.Model(image, x), every=True)]
        ['conv', 'bn']

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Figures 3 and 4.
    """
    check_model(model)
    found = survey(model)
    rows = [site for site, _ in found.rows() if every or site.recommended or site.pattern is not None]
    return SiteTable(rows, unreachable(found, every))


def check_model(model: Any) -> None:
    """Raises unless a model is built."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected 'model' to be a Keras model. Received: {model!r}")
    if not model.built:
        raise ValueError(
            f"Model '{model.name}': it is not built. Give it an Input as first layer, call model.build(input_shape), "
            "or call it on data."
        )
    if isinstance(model, keras.Sequential) and (reason := why_closed(model)):
        raise ValueError(f"Model '{model.name}': {reason}")
