"""`strip`: the plain model back."""

import keras

from tf_autodropout.layers import PatternDropout
from tf_autodropout.layers.adoption import is_adopted, release
from tf_autodropout.surgery.copying import copy_model
from tf_autodropout.surgery.discovery import check_model
from tf_autodropout.surgery.edit import refresh, take_out
from tf_autodropout.surgery.equality import check_same_inference
from tf_autodropout.surgery.graph import Graph, is_nested
from tf_autodropout.surgery.rebuilding import plain_class


def strip(model: keras.Model) -> keras.Model:
    """Returns a copy of a model without pattern layers: same weights, and the classes that it had before.

    Args:
        model: A regularized model, or one of our builders. It is not changed.

    Returns:
        The plain copy, compiled like `model`, with the state of its optimizer.

    Raises:
        TypeError: not a Keras model.
        ValueError: a model that is not built, or a subclassed one; a layer whose copy computes something else.

    Example:
        >>> import tf_autodropout as tad
        >>> model = tad.models.wide_resnet(10, 1, patterns={"final_bn": tad.ConvPattern(size=2)})
        >>> plain = tad.strip(model)
        >>> {site.pattern for site in tad.sites(plain)}
        {None}
    """
    check_model(model)
    copy = copy_model(model)
    _strip(copy)
    check_same_inference(copy, model)
    return copy


def _strip(model: keras.Model) -> None:
    layers = list({id(node.operation): node.operation for node in Graph(model).nodes}.values())
    for layer in layers:
        if is_adopted(layer):
            release(layer)
        elif is_nested(layer):
            _strip(layer)
    ours = [layer for layer in layers if isinstance(layer, PatternDropout)]
    if ours:
        take_out(model, ours)
        refresh(model)
    model.__class__ = plain_class(model)
