"""Images and sentences as TFDS holds them: what is too large for memory is streamed, cropped and split alike."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_autodropout.search.recipes.image_pipeline import evaluation_batches, training_batches
from tf_autodropout.search.recipes.image_source import StreamedImages, open_images
from tf_autodropout.search.recipes.train_translation import open_pairs

PLAN = {"image_size": 16, "batch_size": 4, "statistics": "imagenet", "crop": "resized"}


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of unlike sizes, each of one grey that tells its number, as `imagenet2012`."""
    root = tmp_path_factory.mktemp("tfds")

    def rows(first: int, count: int) -> tf.data.Dataset:
        def generate():  # type: ignore[no-untyped-def]
            for number in range(first, first + count):
                yield {"image": np.full((20 + number, 30, 3), 10 * number, np.uint8), "label": number % 10}

        signature = {"image": tf.TensorSpec((None, None, 3), tf.uint8), "label": tf.TensorSpec((), tf.int64)}
        return tf.data.Dataset.from_generator(generate, output_signature=signature)

    tfds.dataset_builders.store_as_tfds_dataset(
        name="imagenet2012",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"), "label": np.int64}
        ),
        split_datasets={"train": rows(0, 16), "validation": rows(16, 8)},
        data_dir=root,
    )
    return root


def test_images_of_unlike_sizes_are_streamed_and_cropped(imagenet: Path) -> None:
    source = open_images("imagenet2012", imagenet, PLAN)
    assert isinstance(source, StreamedImages)
    assert (source.train_size, source.num_classes) == (16, 1000)
    seen = set()
    for x, y in training_batches(source, PLAN, 0).take(8):  # two epochs
        assert (x.shape, y.shape) == ((4, 16, 16, 3), (4, 1000))
        assert np.ptp(x.numpy(), axis=(1, 2)).max() < 1e-3  # grey stays grey
        grey = np.round((x.numpy()[:, 0, 0, 0] * 58.395 + 123.675) / 10)
        np.testing.assert_array_equal(y.numpy().argmax(-1), grey % 10)
        seen |= set(grey.tolist())
    assert seen == set(range(16))
    x, y = next(iter(evaluation_batches(source, PLAN)))
    assert (x.shape, y.shape) == ((8, 16, 16, 3), (8, 1000))


def test_a_search_holds_out_training_images(imagenet: Path) -> None:
    train, valid = open_images("imagenet2012", imagenet, PLAN).split(10, 4)  # type: ignore[attr-defined]
    images = [image.numpy()[0, 0, 0] // 10 for _, image, _ in train.train(0, 0).take(20)]
    held_out = [image.numpy()[0, 0, 0] // 10 for image, _ in valid.test()]
    assert len(set(images)) == 10
    assert len(held_out) == 4
    assert not set(images) & set(held_out)


def test_sentences_of_tfds_are_read_where_there_are_no_files(tmp_path: Path) -> None:
    def rows(*pairs: tuple[str, str]) -> tf.data.Dataset:
        english, french = (list(side) for side in zip(*pairs, strict=True))
        return tf.data.Dataset.from_tensor_slices({"en": english, "fr": french})

    tfds.dataset_builders.store_as_tfds_dataset(
        name="wmt14_translate",
        version="1.0.0",
        config="fr-en",
        features=tfds.features.Translation(languages=["en", "fr"]),
        split_datasets={
            "train": rows(("a dog", "un chien"), ("a cat", "un chat")),
            "validation": rows(("one", "un")),
            "test": rows(("two", "deux"), ("three", "trois")),
        },
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    text = open_pairs("wmt14", tmp_path, {})
    assert sorted(zip(*text.train, strict=True)) == [("a cat", "un chat"), ("a dog", "un chien")]
    assert text.test == (("two", "three"), ("deux", "trois"))
