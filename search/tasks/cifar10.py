"""The task `cifar10-small`: CIFAR-10 through TFDS, averaged down, a part of its training images."""

import numpy as np

from tf_autodropout.models.wide_resnet import check_wide_resnet_sizes
from tf_autodropout.search.tasks.images import Images, ImageTask, check_split_sizes, standardize

_SIDE = 32


def cifar10_small_task(
    granularity: str = "stage",
    steps: int = 300,
    batch_size: int = 64,
    train_size: int = 3000,
    valid_size: int = 3000,
    image_size: int = 16,
    depth: int = 10,
    width: int = 2,
    data_dir: str | None = None,
) -> ImageTask:
    """Makes the task `cifar10-small`.

    Args:
        granularity: See `SearchSpace`.
        steps: Training steps of a child.
        batch_size: Images per step.
        train_size: Number of training images.
        valid_size: Number of validation images, taken from the training split as well.
        image_size: Height and width after averaging; divides 32.
        depth: Of the Wide ResNet.
        width: Of the Wide ResNet.
        data_dir: TFDS directory; None for TFDS' own. CIFAR-10 is downloaded where it is missing.

    Raises:
        ValueError: sizes beyond CIFAR-10's 50,000 training images, an image size that does not
            divide 32, or CIFAR-10 neither found nor downloaded.
    """
    if image_size < 4 or _SIDE % image_size:
        raise ValueError(f"Invalid value for 'image_size'. Expected 4, 8, 16 or 32. Received: image_size={image_size}")
    check_split_sizes(train_size, valid_size, batch_size, available=50_000)
    check_wide_resnet_sizes(depth, width, (image_size, image_size, 3))  # before anything is loaded
    (train_x, train_y), (test_x, test_y) = _load(data_dir)
    order = np.random.default_rng(0).permutation(len(train_y))[: train_size + valid_size]
    parts = np.split(order, [train_size])
    arrays = [_average_down(x, image_size) for x in (*(train_x[part] for part in parts), test_x)]
    labels = [*(train_y[part] for part in parts), test_y]
    train, valid, test = zip(standardize(*arrays), labels, strict=True)
    return ImageTask(
        "cifar10-small", Images(train, valid, test), granularity, steps, batch_size, depth=depth, width=width
    )


def _load(data_dir: str | None) -> list[tuple[np.ndarray, np.ndarray]]:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        splits = tfds.load("cifar10", split=["train", "test"], data_dir=data_dir, batch_size=-1, as_supervised=True)
        return [(images, labels.astype(np.int32)) for images, labels in tfds.as_numpy(splits)]
    except Exception as error:  # a network that is not there shows in many ways
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"CIFAR-10 is neither in data_dir={data_dir!r} nor could TFDS download it ({reason[:200]})"
        ) from error


def _average_down(images: np.ndarray, side: int) -> np.ndarray:
    n, h, w, c = images.shape
    blocks = images.reshape(n, side, h // side, side, w // side, c)
    return blocks.mean((2, 4), dtype=np.float32)
