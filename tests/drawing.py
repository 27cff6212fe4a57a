"""Draws whole masks from encoded values, constants or variables, as the layer draws them."""

import tensorflow as tf

from tf_autodropout.masks.cases import by_case
from tf_autodropout.masks.draw import draw, drop
from tf_autodropout.masks.hashing import words_of


def draw_mask(values, shape, seed, data_format="channels_last", token_axis=1, replica=None):
    """Boolean mask of `shape`, True = keep."""

    def case(one):
        if one is None:
            return tf.ones(shape, tf.bool)
        drawn = draw(
            one, tuple(shape), (words_of(seed), *([] if replica is None else [replica])), data_format, token_axis
        )
        dropped = drop(one, tuple(shape), drawn.tensors, data_format, token_axis)
        return tf.broadcast_to(tf.logical_not(dropped.mask()), shape)

    return by_case(values, case)
