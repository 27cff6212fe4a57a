"""Trainings of Transformer-XL language models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.recipes.data_sets import DATA_SETS, GENERATED, broken, folder
from tf_autodropout.search.recipes.networks import language_model
from tf_autodropout.search.recipes.optimizer import make_optimizer
from tf_autodropout.search.recipes.segment_model import SegmentModel, segments
from tf_autodropout.search.recipes.training import Training
from tf_autodropout.search.tasks.data.corpus import Corpus
from tf_autodropout.search.tasks.data.word_files import read_words


def open_corpus(data: str, data_dir: str | Path | None, plan: Mapping[str, Any]) -> Corpus:
    """Reads the text of a plan.

    Args:
        data: Key of `DATA_SETS`, or `GENERATED`: a stand-in whose next token depends on the last.
        data_dir: Where the data sets are.
        plan: `train_tokens` and `evaluation_tokens` where not all are used.

    Raises:
        DataMissing: the text is not there or broken.
    """
    if data == GENERATED:
        rng = np.random.default_rng(0)
        steps = rng.integers(1, 3, 40_000)
        train, valid, test = np.split((np.cumsum(steps) % 50).astype(np.int32), [20_000, 30_000])
        corpus = Corpus(train, valid, test, vocabulary_size=50)
    else:
        assert data_dir is not None
        where = folder(data, data_dir)
        try:
            corpus = read_words(data, where, DATA_SETS[data].files)
        except (UnicodeDecodeError, OSError) as error:
            raise broken(data, where, error) from error
    most, rest = plan.get("train_tokens"), plan.get("evaluation_tokens")
    return Corpus(corpus.train[:most], corpus.valid[:rest], corpus.test[:rest], corpus.vocabulary_size)


def text_training(
    data: str,
    data_dir: str | Path | None,
    plan: Mapping[str, Any],
    noise: str = "none",
    patterns: PatternSet | None = None,
    seed: int = 0,
) -> Training:
    """Makes the training of a language model; its scores are perplexities.

    Args:
        data: See `open_corpus`.
        data_dir: Where the data sets are.
        plan: See `language_model` and `make_optimizer`; `batch_size`, `segment_length`, `memory_length`,
            `evaluation_memory_length`.
        noise: See `transformer_noise`.
        patterns: For noise `"patterns"`.
        seed: Seeds weights and masks; the text is read in its order.
    """
    corpus = open_corpus(data, data_dir, plan)
    length, size = plan["segment_length"], plan["batch_size"]
    network = language_model(plan, corpus.vocabulary_size, noise, patterns, seed)
    model = SegmentModel(network, size, plan["memory_length"], plan["evaluation_memory_length"])
    model.compile(make_optimizer(plan), keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def perplexity(tokens: np.ndarray) -> float:
        loss = model.evaluate(segments(tokens, length, size, endless=False), verbose=0, return_dict=True)["loss"]
        return float(np.exp(loss))

    return Training(
        model,
        network,
        lambda step: segments(corpus.train, length, size, step),
        lambda: {"perplexity": perplexity(corpus.test), "valid_perplexity": perplexity(corpus.valid)},
        plan["steps"],
        {"train_tokens": len(corpus.train), "parameters": network.count_params()},
    )
