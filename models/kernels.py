"""The initial kernels of a Transformer, each drawn from a seed of its own."""

import keras

from tf_autodropout.layers import site_seed


def draw_kernels(model: keras.Model, seed: int, as_matrices: bool = False) -> None:
    """Draws every kernel of a model anew with Glorot's uniform initializer, seeded by its path.

    Keras gives a seeded initializer to query, key and value alike, which makes their kernels equal.

    Args:
        model: A model that is built.
        seed: Each kernel derives its own seed from this one.
        as_matrices: Draw an attention kernel `(C, heads, dim)` as the matrix `(C, C)` that it is. Keras takes the heads
            for a convolution's window, which makes the draw several times smaller.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> draw_kernels(model, seed=0)

    Reference:
        Glorot and Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks, AISTATS 2010.
    """
    for variable in model.trainable_variables:
        if not variable.path.endswith("kernel"):
            continue
        shape = tuple(variable.shape)
        if as_matrices and len(shape) == 3:  # (C, heads, dim), or (heads, dim, C) of the output projection
            shape = (max(shape[0], shape[-1]),) * 2
        draw = keras.initializers.GlorotUniform(seed=site_seed(seed, variable.path))(shape)
        variable.assign(keras.ops.reshape(draw, variable.shape))
