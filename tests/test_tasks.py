"""The tasks: real data, splits apart, rewards."""

import importlib
import inspect
import math
import re
from pathlib import Path

import numpy as np
import pytest

from tf_autodropout.layers import pattern_layers
from tf_autodropout.patterns import ConvPattern, PatternSet, Schedule
from tf_autodropout.search.core import Opponent
from tf_autodropout.search.tasks.cifar10 import _average_down, cifar10_small_task
from tf_autodropout.search.tasks.digits import digits_task
from tf_autodropout.search.tasks.opponents import classics_for
from tf_autodropout.search.tasks.pydoc import TEST_TOKENS, TRAIN_TOKENS, VALID_TOKENS, load_corpus, pydoc_task
from tf_autodropout.search.tasks.registry import TASKS, make_task, task_settings
from tf_autodropout.search.tasks.text import TextTask

CIFAR = Path(__file__).parents[2] / "shared" / "data" / "tfds"


def test_pydoc_splits_are_apart_and_of_the_stated_sizes() -> None:
    corpus = load_corpus()
    assert [len(corpus.train), len(corpus.valid), len(corpus.test)] == [TRAIN_TOKENS, VALID_TOKENS, TEST_TOKENS]
    counts = np.bincount(corpus.train, minlength=corpus.vocabulary_size)
    assert counts.min() >= 2  # every id is learned, that of unknown words too
    assert 0 < counts[0] < 0.05 * len(corpus.train)
    assert corpus.valid.max() < corpus.vocabulary_size

    # No long run of tokens of validation or test occurs in training: paragraphs were not repeated.
    def runs(tokens: np.ndarray, length: int = 24) -> set[bytes]:
        return {tokens[i : i + length].tobytes() for i in range(len(tokens) - length)}

    for split in (corpus.valid, corpus.test):
        shared = len(runs(split) & runs(corpus.train)) / len(split)
        assert shared < 0.01
    assert len(runs(corpus.valid) & runs(corpus.test)) / len(corpus.test) < 0.01


def test_validation_of_pydoc_is_text_of_the_same_kind_as_test() -> None:
    # Whole topics made 80 % of test one topic: searches won on validation by what test did not have.
    corpus = load_corpus()
    counts = np.bincount(corpus.train, minlength=corpus.vocabulary_size) + 1.0
    log_p = np.log(counts / counts.sum())
    bits = [
        np.array([-log_p[split[i : i + 3_000]].mean() for i in range(0, len(split), 3_000)])
        for split in (corpus.valid, corpus.test)
    ]
    apart, spread = abs(bits[0].mean() - bits[1].mean()), np.concatenate(bits).std()
    assert apart < 2 * spread * math.sqrt(2 / len(bits[0]))
    assert spread < 0.15  # no stretch that is another kind of text: dashes of tables were


def test_the_reference_does_repeat_paragraphs_so_that_deduplication_matters() -> None:
    from pydoc_data.topics import topics

    paragraphs = [" ".join(p.split()) for text in topics.values() for p in re.split(r"\n\s*\n", text)]
    assert len(set(paragraphs)) < 0.95 * len(paragraphs)


def test_text_reward_is_80_over_validation_perplexity() -> None:
    task = TextTask("small", load_corpus(), steps=2, num_layers=1, hidden_dim=8, num_heads=2)
    result = task.train(PatternSet({}), seed=0)
    assert result.reward == pytest.approx(80 / result.metrics["valid_perplexity"])

    tokens = task.corpus.valid[: (len(task.corpus.valid) - 1) // 32 * 32 + 1]
    inputs, targets = tokens[:-1].reshape(-1, 32), tokens[1:].reshape(-1, 32)
    logits = task.child.model.predict(inputs, verbose=0).astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    taken = np.take_along_axis(log_p, targets[..., None].astype(int), -1)[..., 0]
    by_hand = math.exp(-taken.mean())
    assert result.metrics["valid_perplexity"] == pytest.approx(by_hand, rel=1e-3)
    scores = task.test(classics_for(task.space.sites)[0].everywhere(0.2), seed=0).metrics
    assert scores["test"] != scores["valid"]
    assert task.child.traces == 1


def test_digits_splits_are_apart_and_standardized() -> None:
    images = digits_task().images
    assert [len(split[1]) for split in (images.train, images.valid, images.test)] == [200, 500, 1097]
    rows = [{x.tobytes() for x in split[0]} for split in (images.train, images.valid, images.test)]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    assert images.train[0].mean() == pytest.approx(0, abs=1e-5)
    assert images.train[0].std() == pytest.approx(1, abs=1e-4)
    assert set(images.train[1]) == set(range(10))


@pytest.mark.slow
def test_digits_learns() -> None:
    task = digits_task(steps=100)
    (none,) = task.opponents()
    scores = task.test(none, seed=1).metrics
    assert scores["valid"] > 80
    assert scores["test"] > 80
    trivial = task.test(Opponent("trivial", PatternSet({}), drawn=True), seed=1).metrics
    assert trivial["valid"] > 50
    assert trivial != scores
    assert task.test(none, seed=1).metrics == scores  # nothing of it is left in the child
    assert task.child.traces == 1


@pytest.mark.slow
def test_what_is_no_trial_of_digits_has_a_child_of_its_own() -> None:
    task = digits_task(steps=100)
    (none,) = task.opponents()
    scores = task.test(none, seed=1).metrics
    ruined = PatternSet({site.name: ConvPattern(size=8) for site in task.space.sites})
    assert task.train(ruined, seed=1).reward < 0.5  # everything is dropped at every site
    classics = {one.name: one for one in classics_for(task.space.sites, task.branch_ends, any_pattern=True)}
    assert list(classics) == ["Dropout", "Spatial Dropout", "DropBlock", "DropPath"]
    block = classics["DropBlock"].everywhere(0.1)
    own = task.child_for(block)
    assert own is not task.child
    assert own is task.child_for(block)
    schedules = {layer.schedule for layers in pattern_layers(own.model).values() for layer in layers}
    assert schedules == {Schedule.ramp_up(100)}
    ramped = task.test(block, seed=1).metrics
    assert ramped["valid"] > 50
    assert ramped != scores
    assert task.child_for(classics["DropPath"].everywhere(0.1)) is task.child
    assert task.test(none, seed=1).metrics == scores  # nothing of it is left in the child
    assert task.child.traces == 1


def test_averaging_down_is_the_mean_of_blocks() -> None:
    images = np.arange(2 * 4 * 4 * 1, dtype=np.uint8).reshape(2, 4, 4, 1)
    np.testing.assert_array_equal(_average_down(images, 2)[0, ..., 0], [[2.5, 4.5], [10.5, 12.5]])


@pytest.mark.skipif(not (CIFAR / "cifar10").exists(), reason=f"CIFAR-10 is not prepared in {CIFAR}")
@pytest.mark.slow
def test_cifar10_small_reads_tfds() -> None:
    task = cifar10_small_task(train_size=128, valid_size=64, data_dir=str(CIFAR))
    assert task.images.train[0].shape == (128, 16, 16, 3)
    assert len(task.images.test[1]) == 10_000
    train, valid = ({x.tobytes() for x in split[0]} for split in (task.images.train, task.images.valid))
    assert len(train) == 128
    assert not train & valid
    assert len(task.space.decisions) == 24


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("pydocs", {}, "Expected one of pydoc, digits, cifar10-small"),
        ("pydoc", {"width": 2}, "has no setting 'width'"),
        ("pydoc", {"granularity": "cell"}, "granularity"),
        ("pydoc", {"batch_size": 100_000}, "1 <= batch_size <= 11968, the training sequences"),
        ("pydoc", {"steps": 0}, "Invalid value for 'steps'. Expected an integer >= 1"),
        ("pydoc", {"steps": "a"}, "Invalid value for 'steps'. Expected an integer >= 1"),
        ("digits", {"train_size": 60.5}, "Invalid value for 'train_size'"),
        ("cifar10-small", {"depth": 11, "data_dir": "/nowhere"}, "depth"),
        ("digits", {"train_size": 1750}, "train_size"),
        ("digits", {"train_size": 10}, "batch_size <= train_size"),
        ("cifar10-small", {"image_size": 12}, "4, 8, 16 or 32"),
        ("cifar10-small", {"train_size": 49_000}, "50000"),
    ],
)
def test_bad_settings_are_refused(name: str, settings: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_task(name, **settings).space  # noqa: B018


@pytest.mark.parametrize("name", TASKS)
def test_the_settings_that_the_help_shows_are_those_of_the_task(name: str) -> None:
    entry = TASKS[name]
    factory = getattr(importlib.import_module(f"tf_autodropout.search.tasks.{entry.module}"), entry.factory)
    parameters = inspect.signature(factory).parameters.values()
    assert task_settings(name) == {parameter.name: parameter.default for parameter in parameters}


def test_every_task_of_the_registry_is_described() -> None:
    assert list(TASKS) == ["pydoc", "digits", "cifar10-small", "ptb", "wikitext-2", "multi30k", "iwslt14", "tabular"]
    description = digits_task().describe()
    assert description["images"] == {"train": 200, "valid": 500, "test": 1097}
    assert pydoc_task().describe()["tokens"]["train"] == TRAIN_TOKENS
