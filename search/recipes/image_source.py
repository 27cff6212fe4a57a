"""Images of a recipe, from TFDS or generated, as streams of single examples."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tf_autodropout.search.recipes.data_sets import DATA_SETS, GENERATED, broken, tfds_builder

_BUFFER = 16_384  # images shuffled at a time where not all are in memory
_IN_MEMORY = 1 << 30  # bytes of decoded images


class ImageSource(Protocol):
    """Training and test images."""

    @property
    def num_classes(self) -> int:
        """Labels are `0 ... num_classes - 1`."""
        ...

    @property
    def train_size(self) -> int:
        """Number of training images."""
        ...

    def train(self, seed: int, start: int) -> tf.data.Dataset:
        """Returns an endless shuffled stream of (number, uint8 image, label), beginning with example `start`."""
        ...

    def test(self) -> tf.data.Dataset:
        """Returns (uint8 image, label), once."""
        ...


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory.

    Args:
        train_images: uint8 `(n, H, W, C)` and integer labels `(n,)`.
        test_images: Likewise.
        num_classes: Labels are `0 ... num_classes - 1`.
    """

    train_images: tuple[np.ndarray, np.ndarray]
    test_images: tuple[np.ndarray, np.ndarray]
    num_classes: int

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.train_images[1])

    def train(self, seed: int, start: int) -> tf.data.Dataset:
        """The order is a function of seed and number alone: a stream from the middle goes on as the whole one."""
        x, y = (tf.constant(part) for part in self.train_images)
        count = self.train_size

        def example(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            epoch, place = number // count, number % count
            key = tf.stack([tf.constant(seed, tf.int64), epoch])
            index = tf.random.experimental.index_shuffle(place, tf.cast(key, tf.uint32), tf.cast(count - 1, tf.int64))
            return number, x[index], y[index]

        return tf.data.Dataset.range(start, 1 << 48).map(example, tf.data.AUTOTUNE)

    def test(self) -> tf.data.Dataset:
        """In the order of the arrays."""
        return tf.data.Dataset.from_tensor_slices(self.test_images)

    def split(self, size: int, valid_size: int) -> tuple["ArrayImages", "ArrayImages"]:
        """Returns parts of the training images that share none: with the test images, and with the second as test."""
        order = np.random.default_rng(0).permutation(self.train_size)
        x, y = self.train_images
        first, second = order[:size], order[size : size + valid_size]
        train, valid = (x[first], y[first]), (x[second], y[second])
        return ArrayImages(train, self.test_images, self.num_classes), ArrayImages(train, valid, self.num_classes)

    def part(self, size: int, per_class: bool, seed: int) -> "ArrayImages":
        """Returns a random part of the training images, equally many a class if `per_class`."""
        x, y = self.train_images
        order = np.random.default_rng(seed).permutation(len(y))
        if per_class:
            each = size // self.num_classes
            order = np.concatenate([order[y[order] == label][:each] for label in range(self.num_classes)])
        return ArrayImages((x[order[:size]], y[order[:size]]), self.test_images, self.num_classes)


@dataclass(frozen=True)
class StreamedImages:
    """Images that TFDS reads from disk.

    Args:
        name: Key of `DATA_SETS`.
        builder: Of TFDS.
        train_split: Such as `"train"`, or `"train[:80000]"`.
        test_split: Likewise.
        num_classes: Number of classes.
        train_size: Number of training images.
    """

    name: str
    builder: Any
    train_split: str
    test_split: str

    num_classes: int
    train_size: int

    def train(self, seed: int, start: int) -> tf.data.Dataset:
        """Files and a buffer are shuffled; a stream from the middle is another shuffle of the same images."""
        import tensorflow_datasets as tfds

        config = tfds.ReadConfig(shuffle_seed=seed + start)
        data = self.builder.as_dataset(self.train_split, shuffle_files=True, read_config=config)
        data = data.shuffle(_BUFFER, seed=seed + start).repeat().enumerate(start)
        return data.map(lambda number, example: (number, example["image"], tf.cast(example["label"], tf.int32)))

    def split(self, size: int, valid_size: int) -> tuple["StreamedImages", "StreamedImages"]:
        """As of `ArrayImages`: the first training images in the order of the files, and those after them."""
        train = replace(self, train_split=f"train[:{size}]", train_size=size)
        return train, replace(train, test_split=f"train[{size}:{size + valid_size}]")

    def test(self) -> tf.data.Dataset:
        """In the order of the files."""
        data = self.builder.as_dataset(self.test_split)
        return data.map(lambda example: (example["image"], tf.cast(example["label"], tf.int32)))


def open_images(name: str, data_dir: str | Path | None, plan: Mapping[str, Any], seed: int = 0) -> ImageSource:
    """Opens the images of a plan.

    Args:
        name: Key of `DATA_SETS`, or `GENERATED`: blobs of ten classes, a stand-in that says nothing about scores.
        data_dir: See `folder`.
        plan: `train_size`, `labels_per_class` and `test_size` where not all images are used; `averaged`, a factor by
            which images in memory are averaged down.
        seed: Chooses the part.

    Raises:
        DataMissing: the data set is not there or broken.
    """
    if name == GENERATED:
        return _generated(plan)
    assert data_dir is not None
    data, builder = DATA_SETS[name], tfds_builder(name, data_dir)
    train_split, test_split = data.splits[:2]
    count = builder.info.splits[train_split].num_examples
    shape = builder.info.features["image"].shape
    if None in shape or count * int(np.prod(shape)) > _IN_MEMORY:
        if plan.get("train_size"):
            count, train_split = plan["train_size"], f"{train_split}[:{plan['train_size']}]"
        return StreamedImages(name, builder, train_split, test_split, data.classes, count)
    try:
        arrays = [_array(builder.as_dataset(split, batch_size=-1)) for split in (train_split, test_split)]
    except Exception as error:  # truncated records, a missing shard
        raise broken(name, Path(data_dir), error) from error
    factor = plan.get("averaged", 1)
    images = ArrayImages(*((_average(x, factor), y) for x, y in arrays), num_classes=data.classes)  # type: ignore
    if plan.get("test_size"):
        kept = tuple(part[: plan["test_size"]] for part in images.test_images)
        images = ArrayImages(images.train_images, kept, data.classes)  # type: ignore[arg-type]
    size = plan.get("train_size")
    return images.part(size, False, seed) if size else images


def _array(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    return dataset["image"].numpy(), dataset["label"].numpy().astype(np.int32)


def _average(images: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return images
    n, h, w, c = images.shape
    blocks = images.reshape(n, h // factor, factor, w // factor, factor, c)
    return np.round(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)


def _generated(plan: Mapping[str, Any]) -> ArrayImages:
    """Ten classes of noise around a grey square at a place of its own."""
    rng, side, classes = np.random.default_rng(0), plan["image_size"], 10

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = (np.arange(count) % classes).astype(np.int32)
        images = rng.integers(0, 80, (count, side, side, 3), np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 4)
            image[row * side // 4 : (row + 1) * side // 4, column * side // 4 : (column + 1) * side // 4] += 150
        return images, labels

    return ArrayImages(draw(plan.get("train_size", 256)), draw(plan.get("test_size", 64)), classes)
