"""Checks of the arguments that several builders share."""

from typing import Any

from tf_autodropout.patterns.checks import check_float, check_int, invalid


def check_image_shape(input_shape: Any, smallest: int) -> None:
    """Raises unless `input_shape` is `(H, W, channels)` with H and W of at least `smallest` pixels."""
    whole = isinstance(input_shape, tuple | list) and all(type(size) is int for size in input_shape)
    if not whole or len(input_shape) != 3 or min(input_shape[:2]) < smallest or input_shape[2] < 1:
        raise invalid("input_shape", f"(H, W, channels) with H, W >= {smallest}", input_shape)


def check_width(width: Any) -> None:
    """Raises unless `width`, a factor on the number of filters, is above 0."""
    if check_float("width", width) <= 0:
        raise invalid("width", "a number > 0", width)


def check_transformer_sizes(hidden_dim: Any, num_heads: Any, **sizes: Any) -> None:
    """Raises unless all sizes are integers of at least 1 and the heads divide `hidden_dim`."""
    for argument, size in {**sizes, "hidden_dim": hidden_dim, "num_heads": num_heads}.items():
        check_int(argument, size, 1)
    if hidden_dim % num_heads:
        raise ValueError(f"Expected hidden_dim to be a multiple of num_heads. Received: {hidden_dim} and {num_heads}")
