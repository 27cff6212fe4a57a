"""What a model has of dropout already."""

import keras

from tf_autodropout.layers.keras_internals import all_layers


def own_dropout(model: keras.Model, keep: bool = True) -> list[str]:
    """Names the Dropout layers of a model that act, and makes them act no more unless they are kept."""
    kinds = (
        keras.layers.Dropout,
        keras.layers.SpatialDropout1D,
        keras.layers.SpatialDropout2D,
        keras.layers.SpatialDropout3D,
        keras.layers.GaussianDropout,
        keras.layers.AlphaDropout,
    )
    found = {id(one): one for one in all_layers(model, include_self=True) if isinstance(one, kinds) and one.rate}
    if not keep:
        for layer in found.values():
            layer.rate = 0.0
        return []
    return [f"{type(layer).__name__}({layer.rate:g})" for layer in found.values()]
