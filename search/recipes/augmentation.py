"""Augmentation of images in `tf.data`: crops, flips, CutOut by counted seeds; the rest are Keras' layers."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # image (H, W, C) float32 of 0 to 255 and seed (2,) to image
_MAGNITUDES = 10.0  # levels of RandAugment in the TPU code; its M beyond them is cut off at Keras' largest


def pad_crop_flip(image: tf.Tensor, seed: tf.Tensor, padding: int = 4) -> tf.Tensor:
    """Pads by reflection, crops to the size before, flips half of the images.

    Args:
        image: `(H, W, C)`.
        seed: Integers `(2,)`: the same seed, the same crop.
        padding: Pixels on each side.

    Reference:
        Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, Section 3 (reflected pixels).
    """
    size = tf.shape(image)
    edges = [[padding, padding], [padding, padding], [0, 0]]
    image = tf.image.stateless_random_crop(tf.pad(image, edges, "REFLECT"), size, seed)
    return tf.image.stateless_random_flip_left_right(image, seed + tf.constant([0, 1], seed.dtype))


def resized_crop_flip(image: tf.Tensor, seed: tf.Tensor, size: int) -> tf.Tensor:
    """Crops a random part of 8 % to all of the area, resizes it, flips half of the images.

    Args:
        image: `(H, W, C)`.
        seed: Integers `(2,)`.
        size: Height and width of the result, pixels.

    Reference:
        Szegedy et al., Going Deeper with Convolutions, CVPR 2015, Section 6.
    """
    begin, part, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image), tf.zeros((1, 0, 4)), seed, 0.1, (3 / 4, 4 / 3), (0.08, 1.0), 10, True
    )
    image = tf.image.resize(tf.slice(image, begin, part), (size, size), "bicubic")
    image = tf.clip_by_value(image, 0.0, 255.0)
    return tf.image.stateless_random_flip_left_right(image, seed + tf.constant([0, 1], seed.dtype))


def centre_crop(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes the central part, 7/8 of the shorter side, to `(size, size)`: the crop of the evaluation."""
    shape = tf.shape(image)
    side = tf.cast(tf.cast(tf.minimum(shape[0], shape[1]), tf.float32) * 0.875, tf.int32)
    return tf.image.resize(tf.image.resize_with_crop_or_pad(image, side, side), (size, size), "bicubic")


def cut_out(image: tf.Tensor, seed: tf.Tensor, side: int, fill: Any = 0.0) -> tf.Tensor:
    """Fills a square, whose centre may be any pixel; at the border a part of it is outside.

    Args:
        image: `(H, W, C)`.
        seed: Integers `(2,)`.
        side: Of the square, pixels; an even number.
        fill: Value or values of the channels.

    Reference:
        DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017.
    """
    shape = tf.shape(image)
    centre = [
        tf.random.stateless_uniform((), seed + tf.constant([0, 2 + axis], seed.dtype), 0, shape[axis], tf.int32)
        for axis in (0, 1)
    ]
    inside = [
        (tf.range(shape[axis]) >= centre[axis] - side // 2) & (tf.range(shape[axis]) < centre[axis] + side // 2)
        for axis in (0, 1)
    ]
    hole = inside[0][:, None, None] & inside[1][None, :, None]
    return tf.where(hole, tf.cast(fill, image.dtype), image)


def rand_augment(operations: int, magnitude: float, seed: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns Keras' RandAugment for one image; its operations are the same for all images of one call.

    Args:
        operations: N, how many an image gets.
        magnitude: M of the published levels, 10 of which are Keras' whole range.
        seed: Seeds the choice. The state is Keras', so a training that goes on draws anew from `seed`.

    Reference:
        Cubuk et al., RandAugment, NeurIPS 2020.
    """
    layer = keras.layers.RandAugment((0, 255), operations, min(1.0, magnitude / _MAGNITUDES), seed=seed)
    return lambda image: tf.ensure_shape(layer(image), image.shape)


def mixing(plan: Mapping[str, Any], seed: int) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None:
    """Returns Keras' MixUp or CutMix for batches of images and one-hot labels, None without either.

    Args:
        plan: `mixup`, alpha; or `cutmix`, alpha (at most 1), with `cutmix_probability` of a batch.
        seed: Seeds it.

    Reference:
        Zhang et al., mixup, ICLR 2018; Yun et al., CutMix, ICCV 2019. Keras draws a weight for each example, the
        authors' code one for a batch.
    """
    if plan.get("mixup"):
        layer, probability = keras.layers.MixUp(plan["mixup"], seed=seed), 1.0
    elif plan.get("cutmix"):
        layer = keras.layers.CutMix((plan["cutmix"], plan["cutmix"]), seed=seed)
        probability = plan.get("cutmix_probability", 1.0)
    else:
        return None
    generator = tf.random.Generator.from_seed(seed)

    def mix(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mixed = layer({"images": images, "labels": labels})
        on = tf.constant(True) if probability >= 1 else generator.uniform(()) < probability
        chosen = tf.where(on, mixed["images"], images), tf.where(on, mixed["labels"], labels)
        return tf.ensure_shape(chosen[0], images.shape), tf.ensure_shape(chosen[1], labels.shape)

    return mix
