"""Draws whole masks from encoded values, constants or variables, as the layer draws them."""

import tensorflow as tf

from tf_autodropout.masks.cases import by_case
from tf_autodropout.masks.draw import draw


def draw_mask(values, shape, key, data_format="channels_last", token_axis=1):
    """Boolean mask of `shape`, True = keep."""

    def case(one):
        if one is None:
            return tf.ones(shape, tf.bool)
        return tf.broadcast_to(tf.logical_not(draw(one, tuple(shape), key, data_format, token_axis).mask()), shape)

    return by_case(values, case)
