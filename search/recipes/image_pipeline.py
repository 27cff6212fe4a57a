"""From images to the batches that `fit` reads: augmented, normalized, mixed."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tf_autodropout.search.recipes.augmentation import (
    Augment,
    centre_crop,
    cut_out,
    mixing,
    pad_crop_flip,
    rand_augment,
    resized_crop_flip,
)
from tf_autodropout.search.recipes.image_source import ImageSource
from tf_autodropout.search.recipes.uda import AUGMENTED, LABELLED, ORIGINAL

# Means and deviations of the channels of 0 to 255, as in the public recipes.
_STATISTICS = {
    "cifar": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),  # szagoruyko/wide-residual-networks, train.lua
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),  # tensorflow/tpu, resnet_main.py
}
_FILL = 127.5


def normalize(image: tf.Tensor, statistics: str) -> tf.Tensor:
    """Brings images of 0 to 255 to mean 0 and deviation 1 a channel.

    Args:
        image: `(..., 3)`.
        statistics: `"cifar"` or `"imagenet"`.
    """
    mean, deviation = _STATISTICS[statistics]
    return (tf.cast(image, tf.float32) - mean) / deviation


def _augmentations(plan: Mapping[str, Any], seed: int) -> tuple[Augment, Augment]:
    """The weak one, crop and flip, and what comes after it: colour, RandAugment and CutOut as the plan says."""
    side = plan["image_size"]

    def weak(image: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        image = tf.cast(image, tf.float32)
        if plan.get("crop") == "resized":
            image = resized_crop_flip(image, key, side)
        else:
            image = pad_crop_flip(image, key, max(1, side // 8))  # 4 pixels of 32
        return tf.ensure_shape(image, (side, side, 3))

    operations = plan.get("randaugment_operations", 0)
    randomized = rand_augment(operations, plan["randaugment_magnitude"], seed) if operations else None
    jitter = plan.get("colour", 0.0)
    coloured = (
        keras.layers.RandomColorJitter(
            (0, 255), brightness_factor=jitter, contrast_factor=jitter, saturation_factor=jitter, seed=seed
        )
        if jitter
        else None
    )

    def strong(image: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        for change in (coloured, randomized):
            image = image if change is None else tf.ensure_shape(change(image), (side, side, 3))
        return cut_out(image, key, plan["cutout"], _FILL) if plan.get("cutout") else image

    return weak, strong


def training_batches(source: ImageSource, plan: Mapping[str, Any], seed: int, first_step: int = 0) -> tf.data.Dataset:
    """Returns the batches of a supervised training, endless, from a step on.

    Args:
        source: The images.
        plan: `batch_size`, `image_size`, `crop`, `statistics` and, each only where it is used, `colour`,
            `randaugment_operations`, `randaugment_magnitude`, `cutout`, `mixup`, `cutmix`.
        seed: Seeds order and augmentation.
        first_step: Step that the first batch is for.

    Returns:
        Images float32 `(N, H, W, 3)` and one-hot labels `(N, classes)`.
    """
    weak, strong = _augmentations(plan, seed + first_step)
    size = plan["batch_size"]

    def example(number: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        key = tf.stack([tf.constant(seed, tf.int64), number * 8])
        return strong(weak(image, key), key), tf.one_hot(label, source.num_classes)

    data = source.train(seed, first_step * size).map(example, tf.data.AUTOTUNE, deterministic=True)
    data = data.batch(size, drop_remainder=True)
    if (mix := mixing(plan, seed + first_step)) is not None:
        data = data.map(mix)
    return data.map(lambda x, y: (normalize(x, plan["statistics"]), y), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def uda_batches(
    labelled: ImageSource, unlabelled: ImageSource, plan: Mapping[str, Any], seed: int, first_step: int = 0
) -> tf.data.Dataset:
    """Returns the batches of `UDA`: labelled images cropped and flipped, unlabelled ones once so and once augmented.

    Args:
        labelled: Source of the labelled images.
        unlabelled: Source of all images, whose labels are not used.
        plan: As for `training_batches`, and `unlabelled_ratio`.
        seed: Seeds order and augmentation.
        first_step: Step that the first batch is for.
    """
    weak, strong = _augmentations(plan, seed + first_step)
    size, statistics = plan["batch_size"], plan["statistics"]
    many = size * plan["unlabelled_ratio"]

    def with_label(number: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        key = tf.stack([tf.constant(seed, tf.int64), number * 8])
        return normalize(weak(image, key), statistics), tf.one_hot(label, labelled.num_classes)

    def pair(number: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        key = tf.stack([tf.constant(seed + 1, tf.int64), number * 8])
        again = key + tf.constant([1 << 20, 0], tf.int64)  # a crop of its own for the copy
        return normalize(weak(image, key), statistics), normalize(strong(weak(image, again), again), statistics)

    first = labelled.train(seed, first_step * size).map(with_label, tf.data.AUTOTUNE).batch(size, True)
    second = unlabelled.train(seed + 1, first_step * many).map(pair, tf.data.AUTOTUNE).batch(many, True)
    joined = tf.data.Dataset.zip(first, second).map(
        lambda one, two: ({LABELLED: one[0], ORIGINAL: two[0], AUGMENTED: two[1]}, one[1])
    )
    return joined.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(source: ImageSource, plan: Mapping[str, Any]) -> tf.data.Dataset:
    """Returns the test images as they are, or their centres, and one-hot labels."""
    side = plan["image_size"]

    def example(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.cast(image, tf.float32)
        if plan.get("crop") == "resized":
            image = centre_crop(image, side)
        image = tf.ensure_shape(image, (side, side, 3))
        return normalize(image, plan["statistics"]), tf.one_hot(label, source.num_classes)

    batch = plan.get("evaluation_batch", 250)
    return source.test().map(example, tf.data.AUTOTUNE).batch(batch).prefetch(tf.data.AUTOTUNE)
