"""The child that carries a memory, and the tasks `ptb` and `wikitext-2` that train it."""

import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_autodropout.patterns import PatternSet, TransformerPattern
from tf_autodropout.search.children.segment_child import SegmentChild, segments
from tf_autodropout.search.tasks.data.word_files import read_words
from tf_autodropout.search.tasks.registry import make_task
from tf_autodropout.search.tasks.text import Corpus, token_loss
from tf_autodropout.search.tasks.xl_text import XLTextTask
from tf_autodropout.search.train_child import train_child

DATA = Path(__file__).parents[2] / "shared" / "data"
HEAVY = PatternSet({"ffn": TransformerPattern(size=1, rate=0.4), "key": TransformerPattern(size=2, share_c=True)})
NOTHING = PatternSet({})


def corpus() -> Corpus:
    text = np.random.default_rng(0).integers(0, 9, 400).astype(np.int32)
    return Corpus(text[:203], text[203:301], text[301:], vocabulary_size=9)


@pytest.fixture(scope="module")
def task() -> XLTextTask:
    """Three segments of 4 in each of 16 streams an epoch, 5 steps."""
    sizes = {"sequence_length": 4, "memory_length": 6, "evaluation_memory_length": 9, "intermediate_dim": 8}
    return XLTextTask("small", corpus(), "layer", 5, 16, num_layers=1, hidden_dim=8, num_heads=2, **sizes)


def test_segments_follow_each_other_in_each_stream() -> None:
    split = segments(np.arange(50, dtype=np.int32), 4, 3)
    assert split.count == 12
    seen = [split.examples(tf.constant([step, 4 + step, 8 + step])) for step in range(4)]
    read = np.concatenate([inputs["tokens"].numpy() for inputs, _ in seen], 1)
    np.testing.assert_array_equal(read, np.arange(48).reshape(3, 16))
    np.testing.assert_array_equal(np.concatenate([targets.numpy() for _, targets in seen], 1), read + 1)
    assert [inputs["first"].numpy().tolist() for inputs, _ in seen] == [[True] * 3] + [[False] * 3] * 3


def test_every_step_reads_the_next_segment_of_every_stream(task: XLTextTask) -> None:
    order = task.child._order(np.random.default_rng(0))
    epoch = np.arange(48).reshape(16, 3).T
    np.testing.assert_array_equal(order, np.concatenate([epoch, epoch[:2]]))


def test_the_memory_is_carried_through_an_epoch_and_emptied_at_its_start(task: XLTextTask) -> None:
    child = task.child
    child.reset(NOTHING, 0)
    memory, remembered = child._state[True]
    memory.assign(tf.fill(memory.shape, math.nan))  # what a diverged trial may leave
    there = []
    for step in range(5):
        inputs, _ = child._train.examples(tf.gather(child._schedule, step))
        child._logits(inputs, training=True)
        there.append(remembered.numpy().tolist())
    assert there == [[count] * 16 for count in (4, 6, 6, 4, 6)]
    assert np.isfinite(memory.numpy()).all()
    embedded = child.model.get_layer("embedding")(inputs["tokens"]) * 8**0.5
    np.testing.assert_allclose(memory[:, 0, -4:], embedded, atol=1e-6)


def test_trials_share_one_trace_and_repeat_to_the_bit(task: XLTextTask) -> None:
    child = task.child

    def trial(patterns: PatternSet, seed: int) -> tuple[list[float], float]:
        child.reset(patterns, seed)
        return child.train(), task._perplexity(task._valid)

    first, other, again = trial(HEAVY, 1), trial(NOTHING, 1), trial(HEAVY, 1)
    assert first == again != other
    assert child.traces == 1


def test_perplexity_is_that_of_streams_read_in_order(task: XLTextTask) -> None:
    child = task.child
    child.reset(NOTHING, 2)
    text = task.corpus.valid[: (len(task.corpus.valid) - 1) // 4 * 4 + 1]
    pairs = np.stack([text[:-1], text[1:]]).reshape(2, -1, 4)  # 24 segments
    nats = 0.0
    for stream in np.split(pairs, 12, axis=1):  # 16 streams of two segments each; the last four are empty
        state = {"memory": tf.zeros((1, 1, 9, 8)), "remembered": tf.zeros((1,), tf.int32)}
        for tokens, targets in zip(*stream, strict=True):
            outputs = child.model({"tokens": tf.constant(tokens[None])} | state)
            state = {key: outputs[key] for key in state}
            nats += float(tf.reduce_sum(token_loss(tf.constant(targets[None]), outputs["logits"])))
    assert task._perplexity(task._valid) == pytest.approx(math.exp(nats / 96), rel=1e-4)


def test_a_child_of_a_task_is_trained_and_scored(task: XLTextTask, tmp_path: Path) -> None:
    trained = train_child(task, HEAVY, seed=3, out=tmp_path)
    assert [step for step, _ in trained.curve] == [5]
    assert 1 < trained.valid != trained.test
    result = task.train(HEAVY, 3)
    assert result.reward == pytest.approx(80 / trained.valid)
    description = json.loads((tmp_path / "result.json").read_text())["task"]
    assert (description["memory_length"], description["evaluation_memory_length"]) == (6, 9)
    shapes = {site.name: site.shape for site in task.space.sites}
    assert (shapes["key"], shapes["ffn"]) == ((10, 8), (4, 8))


def test_streams_of_unequal_length_are_refused(task: XLTextTask) -> None:
    child = task.child
    split = segments(task.corpus.train, 4, 16)
    assert split.count % 16
    with pytest.raises(ValueError, match=r"Expected 16 streams of equal length\. Received: 50 segments"):
        SegmentChild(child.model, keras.optimizers.Adam(), token_loss, split, 2, 16, 6, 9, 16)


# Files


def write(directory: Path, *texts: str) -> list[str]:
    names = ["a.train", "a.valid", "a.test"]
    for name, text in zip(names, texts, strict=True):
        (directory / name).write_text(text, encoding="utf-8")
    return names


def test_words_are_read_with_an_end_to_every_line(tmp_path: Path) -> None:
    names = write(tmp_path, " b a <unk> \n\n a b\n", "a c\n", "<unk>\n")
    read = read_words("a", tmp_path, names)
    assert read.vocabulary_size == 4  # <unk>, b, a, <eos>
    assert [split.tolist() for split in (read.train, read.valid, read.test)] == [
        [1, 2, 0, 3, 3, 2, 1, 3],
        [2, 0, 3],
        [0, 3],
    ]


@pytest.mark.parametrize("name", ["ptb", "wikitext-2"])
def test_files_that_are_not_there_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^Task '{name}' reads .+train.+ Name their directory: data_dir"):
        make_task(name)
    with pytest.raises(ValueError, match=rf"^Task '{name}' expects .+ in {tmp_path}\. Missing: .+train.+valid.+test"):
        make_task(name, data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "tokens", "vocabulary"),
    [
        ("ptb", (929_589, 73_760, 82_430), 10_000),
        pytest.param("wikitext-2", (2_088_628, 217_646, 245_569), 33_278, marks=pytest.mark.slow),
    ],
)
def test_the_data_sets_are_read_whole(name: str, tokens: tuple[int, ...], vocabulary: int) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not in {DATA}")
    task = make_task(name, data_dir=str(DATA / name))
    read = task.corpus  # type: ignore[attr-defined]
    assert (len(read.train), len(read.valid), len(read.test)) == tokens
    assert read.vocabulary_size == vocabulary
    assert set(np.unique(read.train)) == set(range(vocabulary))
