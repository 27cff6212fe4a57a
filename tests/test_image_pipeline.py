"""Batches of the recipes: what crops, flips, CutOut, mixing and normalization do, and the order of a training."""

import numpy as np
import pytest
import tensorflow as tf

from tf_autodropout.search.recipes.augmentation import cut_out, pad_crop_flip, resized_crop_flip
from tf_autodropout.search.recipes.data_sets import GENERATED
from tf_autodropout.search.recipes.image_pipeline import (
    evaluation_batches,
    normalize,
    training_batches,
    uda_batches,
)
from tf_autodropout.search.recipes.image_source import ArrayImages, open_images

PLAN = {"image_size": 16, "batch_size": 8, "statistics": "cifar", "crop": "padded", "train_size": 40, "test_size": 12}


@pytest.fixture(scope="module")
def source() -> ArrayImages:
    return open_images(GENERATED, None, PLAN)  # type: ignore[return-value]


def seed(number: int) -> tf.Tensor:
    return tf.constant([7, 8 * number], tf.int64)


def test_a_padded_crop_is_one_of_the_windows_of_the_padded_image_or_of_its_mirror() -> None:
    image = np.arange(6 * 6 * 1, dtype=np.float32).reshape(6, 6, 1)
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")
    windows = {
        padded[i : i + 6, j : j + 6][:, ::flip].tobytes() for i in range(5) for j in range(5) for flip in (1, -1)
    }
    drawn = {pad_crop_flip(image, seed(number), 2).numpy().tobytes() for number in range(200)}
    assert drawn <= windows
    assert len(drawn) > 0.9 * len(windows)  # 50 windows, 200 draws: 49 are expected


def test_a_resized_crop_has_the_size_and_the_range() -> None:
    image = tf.constant(np.random.default_rng(0).integers(0, 256, (20, 30, 3)), tf.float32)
    crops = [resized_crop_flip(image, seed(number), 8) for number in range(20)]
    assert all(crop.shape == (8, 8, 3) for crop in crops)
    assert all(float(tf.reduce_min(crop)) >= 0 and float(tf.reduce_max(crop)) <= 255 for crop in crops)
    assert len({crop.numpy().tobytes() for crop in crops}) == 20


def test_cut_out_fills_a_square_that_the_border_may_cut() -> None:
    """The centre is uniform: over 400 draws every cell is filled, and the mean area is that of the definition."""
    ones, side, size = tf.ones((8, 8, 1)), 4, 8
    holes = [1 - cut_out(ones, seed(number), side).numpy()[..., 0] for number in range(400)]
    per_axis = np.array([min(size, c + side // 2) - max(0, c - side // 2) for c in range(size)])
    assert np.mean([hole.sum() for hole in holes]) == pytest.approx(per_axis.mean() ** 2, rel=0.05)
    assert (np.sum(holes, 0) > 0).all()
    for hole in holes:
        rows, columns = np.where(hole.any(1))[0], np.where(hole.any(0))[0]
        assert hole.sum() == len(rows) * len(columns)
        assert rows.max() - rows.min() < side


def test_each_epoch_has_every_image_once_and_the_middle_is_where_the_whole_goes_on(source: ArrayImages) -> None:
    def numbers(first_step: int, steps: int) -> list[bytes]:
        batches = source.train(3, first_step * 8).take(steps * 8)
        return [image.numpy().tobytes() for _, image, _ in batches]

    whole = numbers(0, 10)  # two epochs of 40
    images = {image.tobytes() for image in source.train_images[0]}
    assert set(whole[:40]) == images == set(whole[40:])
    assert whole[:40] != whole[40:]
    assert numbers(4, 6) == whole[32:]


def test_batches_are_normalized_and_the_same_for_the_same_step(source: ArrayImages) -> None:
    first, second = (list(training_batches(source, PLAN, 1, step).take(4 - step)) for step in (0, 2))
    x, y = first[0]
    assert (x.dtype, x.shape, y.shape) == (tf.float32, (8, 16, 16, 3), (8, 10))
    np.testing.assert_array_equal(y.numpy().sum(-1), 1)
    for one, other in zip(first[2:], second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_allclose(normalize(tf.constant([125.3, 123.0, 113.9]), "cifar"), 0, atol=1e-6)


@pytest.mark.parametrize("mixing", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_mixed_labels_are_shares_of_two_classes(source: ArrayImages, mixing: dict[str, float]) -> None:
    x, y = next(iter(training_batches(source, PLAN | mixing, 0)))
    np.testing.assert_allclose(y.numpy().sum(-1), 1, atol=1e-5)
    assert ((y.numpy() > 0).sum(-1) <= 2).all()
    assert (y.numpy().max(-1) < 1).any()
    assert x.shape == (8, 16, 16, 3)


def test_a_share_of_the_batches_is_mixed(source: ArrayImages) -> None:
    """Of 64 batches at probability 0.5 between 16 and 48 (4 sigma)."""
    batches = training_batches(source, PLAN | {"cutmix": 1.0, "cutmix_probability": 0.5}, 0).take(64)
    mixed = sum(bool((y.numpy().max(-1) < 1).any()) for _, y in batches)
    assert 16 <= mixed <= 48


def test_randaugment_and_colour_change_images_and_keep_shapes(source: ArrayImages) -> None:
    plain = next(iter(training_batches(source, PLAN, 0)))[0].numpy()
    strong = {"randaugment_operations": 2, "randaugment_magnitude": 9, "colour": 0.4, "cutout": 8}
    changed = next(iter(training_batches(source, PLAN | strong, 0)))[0].numpy()
    assert changed.shape == plain.shape
    assert np.isfinite(changed).all()
    assert (np.abs(changed - plain).mean((1, 2, 3)) > 0.05).all()


def test_uda_has_labelled_images_and_two_views_of_the_others(source: ArrayImages) -> None:
    few = source.part(10, True, 0)
    assert sorted(few.train_images[1]) == list(range(10))
    x, y = next(iter(uda_batches(few, source, PLAN | {"unlabelled_ratio": 2, "cutout": 8}, 0)))
    assert (x["labelled"].shape[0], x["original"].shape[0], x["augmented"].shape[0]) == (8, 16, 16)
    assert y.shape == (8, 10)
    assert not np.allclose(x["original"], x["augmented"])


def test_evaluation_is_every_image_as_it_is(source: ArrayImages) -> None:
    x = np.concatenate([x for x, _ in evaluation_batches(source, PLAN | {"evaluation_batch": 5})])
    np.testing.assert_allclose(x, normalize(source.test_images[0], "cifar"), atol=1e-6)


def test_parts_for_a_search_share_no_image(source: ArrayImages) -> None:
    train, valid = source.split(20, 12)
    first, second = ({image.tobytes() for image in part} for part in (train.train_images[0], valid.test_images[0]))
    assert (len(first), len(second), len(first & second)) == (20, 12, 0)
