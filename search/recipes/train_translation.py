"""Trainings of encoder-decoder Transformers for translation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.layers.registration import registered
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.recipes.data_sets import DATA_SETS, GENERATED, DataMissing, broken, folder, tfds_builder
from tf_autodropout.search.recipes.networks import translator
from tf_autodropout.search.recipes.optimizer import make_optimizer
from tf_autodropout.search.recipes.training import Training
from tf_autodropout.search.tasks.data.parallel_text import ParallelText, read_parallel_text
from tf_autodropout.search.tasks.data.subwords import PADDING, START, Subwords
from tf_autodropout.search.tasks.translating import Translator, bleu

_BOUNDS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # lengths that batches are padded to: as many static shapes


@registered
class SmoothedTokenLoss(keras.losses.Loss):
    """Cross-entropy with smoothed labels, a mean over the tokens that are not padding.

    Args:
        smoothing: Probability that is spread over all tokens.

    Reference:
        Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, Section 7.
    """

    def __init__(self, smoothing: float, name: str = "smoothed_token_loss", **kwargs: Any) -> None:
        super().__init__(name, "none", kwargs.get("dtype"))
        self.smoothing = smoothing

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}

    def call(self, y_true: Any, y_pred: Any) -> Any:
        logs = tf.nn.log_softmax(tf.cast(y_pred, tf.float32))  # (N, T, V)
        right = -tf.gather(logs, tf.cast(y_true, tf.int32), batch_dims=2)  # (N, T)
        losses = (1 - self.smoothing) * right - self.smoothing * tf.reduce_mean(logs, -1)
        weight = tf.cast(tf.not_equal(y_true, PADDING), losses.dtype)
        return tf.reduce_sum(losses * weight) / tf.maximum(tf.reduce_sum(weight), 1.0)


def open_pairs(data: str, data_dir: str | Path | None, plan: Mapping[str, Any]) -> ParallelText:
    """Reads the sentence pairs of a plan.

    Args:
        data: Key of `DATA_SETS`, or `GENERATED`: a stand-in language of numbers.
        data_dir: Where the data sets are.
        plan: `train_pairs` and `test_pairs` where not all are used.

    Raises:
        DataMissing: the text is not there or broken.
    """
    if data == GENERATED:
        text = _generated()
    else:
        assert data_dir is not None
        where, entry = folder(data, data_dir), DATA_SETS[data]
        train, valid, test = entry.files
        try:
            if entry.or_tfds and not (where / f"{train}.{entry.languages[0]}").is_file():
                text = _from_tfds(data, data_dir)
            else:
                text = read_parallel_text(str(where), train, valid, test, *entry.languages)
        except (ValueError, OSError) as error:
            if isinstance(error, DataMissing):
                raise
            raise broken(data, where, error) from error
    kept = (plan.get("train_pairs"), None, plan.get("test_pairs"))
    splits = zip((text.train, text.valid, text.test), kept, strict=True)
    return ParallelText(*((left[:count], right[:count]) for (left, right), count in splits))


def translation_training(
    data: str,
    data_dir: str | Path | None,
    plan: Mapping[str, Any],
    noise: str = "none",
    patterns: PatternSet | None = None,
    seed: int = 0,
) -> Training:
    """Makes the training of a translator; its score is the BLEU on the test sentences, by beam search.

    Args:
        data: See `open_pairs`.
        data_dir: Where the data sets are.
        plan: See `translator` and `make_optimizer`; `vocabulary_size`, `batch_tokens` of the target, `max_length`,
            `length_ratio`, `label_smoothing`, `beams`, `alpha`, `tokenize` (of sacrebleu).
        noise: See `transformer_noise`.
        patterns: For noise `"patterns"`.
        seed: Seeds weights, order and masks.
    """
    text = open_pairs(data, data_dir, plan)
    subwords = Subwords([*text.train[0], *text.train[1]], plan["vocabulary_size"])
    network = translator(plan, subwords.vocabulary_size, noise, patterns, seed)
    network.compile(make_optimizer(plan), SmoothedTokenLoss(plan["label_smoothing"]))
    sources, targets = (subwords.encode(side) for side in text.train)

    def evaluate() -> dict[str, float]:
        translator = Translator(network, subwords, 2 * plan["max_length"], plan["alpha"])
        source, references = text.test
        return {"bleu": bleu(translator(source, plan["beams"]), references, plan["tokenize"])}

    return Training(
        network,
        network,
        lambda step: pair_batches(sources, targets, plan, seed + step),
        evaluate,
        plan["steps"],
        {"train_pairs": len(text.train[0]), "parameters": network.count_params()},
    )


def pair_batches(
    sources: list[list[int]], targets: list[list[int]], plan: Mapping[str, Any], seed: int
) -> tf.data.Dataset:
    """Returns endless batches of pairs of like length, about `batch_tokens` tokens of the target each.

    Args:
        sources: Token ids, the end token last.
        targets: Likewise.
        plan: `batch_tokens`, `max_length`, `length_ratio`.
        seed: Seeds the order; a training that goes on reads another order of the same pairs.

    Returns:
        Inputs `(source, target so far)`, int32 `(N, S)` and `(N, T)`, and targets `(N, T)`.

    Raises:
        ValueError: no pair is short enough.
    """
    longest, ratio = plan["max_length"], plan.get("length_ratio", 9.0)
    kept = [
        (source, target)
        for source, target in zip(sources, targets, strict=True)
        if max(len(source), len(target)) <= longest
        and max(len(source), len(target)) <= ratio * min(len(source), len(target))
    ]
    if not kept:
        raise ValueError(f"Expected pairs of at most {longest} tokens. Received: none of {len(sources)}")
    left, right = (tf.ragged.constant(side, tf.int32) for side in zip(*kept, strict=True))
    bounds = [bound for bound in _BOUNDS if bound < longest] + [longest]
    sizes = [max(1, plan["batch_tokens"] // bound) for bound in bounds]

    def pair(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return left[index], right[index]

    def example(source: tf.Tensor, target: tf.Tensor) -> tuple[Any, tf.Tensor]:
        start = tf.fill((tf.shape(target)[0], 1), START)
        return (source, tf.concat([start, target[:, :-1]], 1)), target

    data = tf.data.Dataset.range(len(kept)).shuffle(len(kept), seed=seed).repeat().map(pair, tf.data.AUTOTUNE)
    data = data.bucket_by_sequence_length(
        lambda source, target: tf.maximum(tf.size(source), tf.size(target)),
        [bound + 1 for bound in bounds[:-1]],
        sizes,
        padded_shapes=([None], [None]),
        pad_to_bucket_boundary=False,
        drop_remainder=False,
    )

    def padded(source: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        longer = tf.maximum(tf.shape(source)[1], tf.shape(target)[1])
        bound = tf.reduce_min(tf.boolean_mask(bounds, tf.constant(bounds) >= longer))
        source, target = (tf.pad(side, [[0, 0], [0, bound - tf.shape(side)[1]]]) for side in (source, target))
        return source, target

    return data.map(padded).map(example).prefetch(tf.data.AUTOTUNE)


def _from_tfds(data: str, data_dir: str | Path) -> ParallelText:
    import tensorflow_datasets as tfds

    entry, builder = DATA_SETS[data], tfds_builder(data, data_dir)

    def read(split: str) -> Any:
        rows = tfds.as_numpy(builder.as_dataset(split))
        sides = zip(*([row[language].decode() for language in entry.languages] for row in rows), strict=True)
        return tuple(tuple(side) for side in sides)

    return ParallelText(*map(read, entry.splits))


def _generated() -> ParallelText:
    """Numbers in words, and the same words with another ending."""
    rng = np.random.default_rng(0)
    words = ["null", "eins", "zwei", "drei", "vier", "sechs", "sieben", "acht", "neun", "zehn"]

    def side(count: int) -> Any:
        rows = [[words[index] for index in rng.integers(0, len(words), rng.integers(2, 7))] for _ in range(count)]
        return tuple(" ".join(row) for row in rows), tuple(" ".join(f"{word}o" for word in row) for row in rows)

    return ParallelText(side(400), side(20), side(20))
