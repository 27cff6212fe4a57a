"""The task `digits`: scikit-learn's 1,797 real 8x8 images with few training labels."""

import numpy as np

from tf_autodropout.search.tasks.images import Images, ImageTask, check_split_sizes, standardize


def digits_task(
    granularity: str = "stage",
    steps: int = 200,
    batch_size: int = 50,
    train_size: int = 200,
    valid_size: int = 500,
) -> ImageTask:
    """Makes the task `digits`. Needs no download.

    Args:
        granularity: See `SearchSpace`.
        steps: Training steps of a child.
        batch_size: Images per step.
        train_size: Number of training images.
        valid_size: Number of validation images; the rest is the test split.

    Raises:
        ValueError: sizes that leave fewer than 100 test images.

    Example:
        >>> from tf_autodropout.search.tasks.digits import digits_task
        >>> digits_task().images.train[0].shape
        (200, 8, 8, 1)
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    check_split_sizes(train_size, valid_size, batch_size, available=len(data.target) - 100)
    order = np.random.default_rng(0).permutation(len(data.target))
    parts = np.split(order, [train_size, train_size + valid_size])
    arrays = standardize(*(data.images[part][..., None] for part in parts))
    train, valid, test = (
        (array, data.target[part].astype(np.int32)) for array, part in zip(arrays, parts, strict=True)
    )
    return ImageTask("digits", Images(train, valid, test), granularity, steps, batch_size, width=1)
