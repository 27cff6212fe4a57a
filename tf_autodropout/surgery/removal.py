"""`strip`: the plain model back."""

import keras

from tf_autodropout.layers import PatternDropout, pattern_layers
from tf_autodropout.layers.adoption import is_adopted, release
from tf_autodropout.layers.keras_internals import all_layers
from tf_autodropout.surgery.copying import copy_model
from tf_autodropout.surgery.discovery import check_model
from tf_autodropout.surgery.edit import refresh, take_out
from tf_autodropout.surgery.equality import check_same_inference
from tf_autodropout.surgery.graph import calls, is_nested
from tf_autodropout.surgery.rebuilding import lose_class


def strip(model: keras.Model) -> keras.Model:
    """Returns a copy of a model without pattern layers: same weights, and the classes that it had without them.

    Pattern layers are taken out wherever they are. Those that your own layers call stay, for they are in your code, and
    drop nothing; a model that your code builds anew has them again.

    Args:
        model: A regularized model, or one of our builders. It is not changed.

    Returns:
        The plain copy, compiled if `model` is.

    Raises:
        TypeError: not a Keras model.
        ValueError: a model that is not built; a layer whose copy computes something else.

    Example:
        >>> import tf_autodropout as tad
        >>> model = tad.models.wide_resnet(10, 1, patterns={"final_bn": tad.ConvPattern(size=2)})
        >>> plain = tad.strip(model)
        >>> {site.pattern for site in tad.sites(plain)}
        {None}
    """
    check_model(model)
    copy = copy_model(model)
    take_out_all(copy)
    check_same_inference(copy, model)
    return copy


def take_out_all(model: keras.Model) -> None:
    """Takes the patterns out of a model, in place, wherever they are."""
    for layer in all_layers(model, include_self=True):
        if is_adopted(layer):
            release(layer)
        if isinstance(layer, keras.Model):
            lose_class(layer)
            if is_nested(layer):
                _take_out(layer)
    for layer in acting_layers(model):
        layer.switch_off()


def acting_layers(model: keras.Model) -> list[PatternDropout]:
    """Returns the pattern layers of a model but those that drop nothing for good."""
    layers = [layer for layers in pattern_layers(model).values() for layer in layers]
    return [layer for layer in layers if not layer.is_off]


def _take_out(model: keras.Model) -> None:
    ours = {id(node.operation): node.operation for node in calls(model) if isinstance(node.operation, PatternDropout)}
    if ours:
        take_out(model, list(ours.values()))
        refresh(model)
