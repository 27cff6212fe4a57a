"""The translation tasks: files, subwords, loss, BLEU, learning."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_autodropout.search.tasks import translating
from tf_autodropout.search.tasks.data.parallel_text import ParallelText, read_parallel_text
from tf_autodropout.search.tasks.data.subwords import END, PADDING, START, Subwords, padded
from tf_autodropout.search.tasks.registry import make_task
from tf_autodropout.search.tasks.translation import TranslationTask
from tf_autodropout.search.train_child import train_child

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
MULTI30K, IWSLT14 = DATA / "multi30k-de-en", DATA / "iwslt14-de-en-subset"
TABLE = Path(__file__).parent.parent / "benchmarks" / "multi30k.md"
WORDS = {"ein": "one", "zwei": "two", "drei": "three", "vier": "four", "rot": "red", "blau": "blue", "Haus": "house"}


def sentences(n: int, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A language pair that is translated word by word."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(list(WORDS), rng.integers(1, 7)) for _ in range(n)]
    return tuple(" ".join(row) for row in rows), tuple(" ".join(WORDS[word] for word in row) for row in rows)


def small_task(**settings: object) -> TranslationTask:
    text = ParallelText(sentences(400, 0), sentences(30, 1), sentences(40, 2))
    sizes = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 64, "max_length": 8}
    fast = {"valid_size": 30, "steps": 120, "batch_size": 32, "learning_rate": 1e-2, "vocabulary_size": 60, "beams": 1}
    return TranslationTask("numbers", text, **sizes | fast | settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def task() -> TranslationTask:
    return small_task()


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translating, "_BATCH", 40)


@pytest.mark.slow
def test_a_child_learns_to_translate(task: TranslationTask) -> None:
    (none,) = task.opponents()
    trained = train_child(task, none.patterns, seed=1)
    assert trained.score == "test BLEU"
    assert min(trained.valid, trained.test) > 20  # less than 1 after ten steps; machines round differently
    assert len(trained.samples) == 5
    for sample, source, reference in zip(trained.samples, *task.text.test, strict=False):
        assert list(sample) == ["source", "translation", "reference"]
        assert (sample["source"], sample["reference"]) == (source, reference)
    assert any(sample["translation"] == sample["reference"] for sample in trained.samples)
    assert task.child.traces == 1


@pytest.mark.slow
def test_translations_come_in_the_order_of_the_sentences(
    task: TranslationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = list(task.text.test[0])
    whole = task.translate(source, 1)
    assert len(set(whole)) > 3
    monkeypatch.setattr(translating, "_BATCH", 7)
    assert task.translate(source, 1) == whole
    assert task.translate(source[::-1], 1) == whole[::-1]


def test_a_long_source_is_translated_though_not_trained_on(task: TranslationTask) -> None:
    longest = task.translate([" ".join(["drei"] * 40)], num_beams=2)[0]
    assert 0 < len(task.subwords.encode([longest])[0]) <= 2 * task.max_length


def test_training_examples_are_shifted_padded_and_short_enough(task: TranslationTask) -> None:
    (source, starts), targets = task._train.examples(tf.range(task._train.count))
    assert source.shape == starts.shape == targets.shape == (task._train.count, 8)
    wanted = [
        pair
        for pair in zip(*map(task.subwords.encode, task.text.train), strict=True)
        if max(len(pair[0]), len(pair[1])) <= 8
    ]
    assert task._train.count == len(wanted)
    for row in (0, 7, -1):
        assert source[row].numpy().tolist() == wanted[row][0] + [PADDING] * (8 - len(wanted[row][0]))
        assert targets[row].numpy().tolist() == wanted[row][1] + [PADDING] * (8 - len(wanted[row][1]))
        assert starts[row].numpy().tolist() == [START, *wanted[row][1][:-1]] + [PADDING] * (8 - len(wanted[row][1]))


def test_the_loss_is_smoothed_and_blind_to_padding(task: TranslationTask) -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(3, 4, 9)), np.array([[5, 2, 0, 0], [8, 3, 4, 2], [2, 0, 0, 0]])
    total, tokens = 0.0, 0
    for row, ids in zip(logits, targets, strict=True):
        for values, token in zip(row, ids, strict=True):
            if token:
                logp = values - np.log(np.exp(values).sum())
                smooth = np.full(9, 0.1 / 9)
                smooth[token] += 0.9
                total, tokens = total - (smooth * logp).sum(), tokens + 1
    loss = task._loss(tf.constant(targets, tf.int32), tf.constant(logits, tf.float32))
    assert loss.shape == (3, 4)
    assert float(tf.reduce_mean(loss)) == pytest.approx(total / tokens, rel=1e-5)
    assert (loss.numpy()[targets == 0] == 0).all()


def test_bleu_is_on_words_as_the_text_has_them() -> None:
    raw, tokenized = small_task(), small_task(tokenize="none")
    same = ["a man , who is not old .", "two dogs run in the snow ."]
    assert raw.bleu(same, same) == tokenized.bleu(same, same) == pytest.approx(100)
    joined = ["a man, who is not old.", "two dogs run in the snow."]
    assert raw.bleu(joined, same) == pytest.approx(100)
    assert tokenized.bleu(joined, same) < 70


def test_more_validation_sentences_than_there_are() -> None:
    with pytest.raises(ValueError, match=r"^Invalid value for 'valid_size'. Expected 1 <= valid_size <= 30"):
        small_task(valid_size=31)


def test_what_identifies_a_run_is_json() -> None:
    description = json.loads(json.dumps(small_task().describe()))
    assert description["pairs"] == {"train": 400, "valid": 30, "test": 40}
    assert (description["beams"], description["alpha"], description["label_smoothing"]) == (1, 0.6, 0.1)
    assert "text" not in description
    assert [site.name for site in small_task().space.sites][:3] == ["query", "key", "value"]


# Subwords


def test_subwords_are_learned_alike_and_give_the_text_back() -> None:
    text = [*sentences(50, 0)[0], *sentences(50, 0)[1], "Größe, „Maß“."]
    first, second = Subwords(text, 80), Subwords(text, 80)
    assert first.vocabulary_size == 80
    ids = first.encode(text)
    assert ids == second.encode(text)
    assert all(one[-1] == END and min(one) > END - 1 for one in ids)
    assert first.decode(ids) == text
    assert first.decode(padded(ids, 40).tolist()) == text
    assert first.decode([[*ids[0], *ids[1]]]) == [text[0]]  # nothing after the end
    assert first.decode([ids[0][:-1], []]) == [text[0], ""]


@pytest.mark.parametrize("size", [8, 100_000])
def test_a_vocabulary_that_the_text_cannot_fill(size: int) -> None:
    with pytest.raises(ValueError, match=r"^Invalid value for 'vocabulary_size'.+Received: vocabulary_size=\d+$"):
        Subwords(["one two", "three"], size)


# Files


def write(folder: Path, **files: str) -> str:
    for name in ("train", "val", "test_2016_flickr"):
        for language in ("de", "en"):
            key = f"{name.split('_')[0]}_{language}"
            (folder / f"{name}.{language}").write_text(files.get(key, f"{key}\n"), "utf-8")
    return str(folder)


def test_files_are_read_and_training_pairs_of_other_splits_left_out(tmp_path: Path) -> None:
    directory = write(
        tmp_path, train_de="a\nb\n c d \n\nval_de\n", train_en="A\nB\nC D\nE\nval_en\n", test_de="b\n", test_en="B\n"
    )
    text = read_parallel_text(directory, "train", "val", "test_2016_flickr")
    assert text.train == (("a", "c d"), ("A", "C D"))
    assert text.valid == (("val_de",), ("val_en",))
    assert text.test == (("b",), ("B",))
    back = read_parallel_text(directory, "train", "val", "test_2016_flickr", "en", "de")
    assert back.train == (("A", "C D"), ("a", "c d"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name, first in (("multi30k", "train.de, train.en, val.de"), ("iwslt14", "train.de, train.en, valid.de")):
        with pytest.raises(ValueError, match=rf"^Invalid value for 'data_dir'. Expected a directory with {first}"):
            make_task(name)
    (tmp_path / write(tmp_path) / "val.en").unlink()
    with pytest.raises(ValueError, match=rf"Received: data_dir='{tmp_path}', without val.en$"):
        make_task("multi30k", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("files", "match"),
    [
        (
            {"train_de": "a\nb\n"},
            "Expected as many sentences in .+train.de as in .+train.en, .+ Received: 2 and 1 lines",
        ),
        ({"val_de": "", "val_en": ""}, "at least one"),
        ({"train_de": "val_de\n", "train_en": "val_en\n"}, "all pairs are in validation or test"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, files: dict[str, str], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_task("multi30k", data_dir=write(tmp_path, **files))


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "val.de").write_bytes("schön\n".encode("latin-1"))
    with pytest.raises(ValueError, match="val.de .+expected text in UTF-8"):
        make_task("multi30k", data_dir=str(tmp_path))


@pytest.mark.skipif(not MULTI30K.exists(), reason=f"Multi30k is not in {MULTI30K}")
def test_multi30k_is_read() -> None:
    task = make_task("multi30k", data_dir=str(MULTI30K))
    assert {k: len(v[0]) for k, v in vars(task.text).items()} == {"train": 29_000, "valid": 1014, "test": 1000}
    assert task.text.test[1][0] == "A man in an orange hat starring at something."


@pytest.mark.skipif(not IWSLT14.exists(), reason=f"IWSLT'14 is not in {IWSLT14}")
def test_iwslt14_is_read() -> None:
    task = make_task("iwslt14", data_dir=str(IWSLT14))
    assert len(task.text.valid[0]) == 7283
    assert len(task.text.test[0]) == 6750
    assert 8600 < len(task.text.train[0]) < 8639  # without those that are in another split as well
    assert task.tokenize == "none"


@pytest.mark.slow  # a quarter of an hour on two cores
@pytest.mark.skipif(not MULTI30K.exists(), reason=f"Multi30k is not in {MULTI30K}")
@pytest.mark.skipif(not TABLE.exists(), reason="benchmarks/multi30k.py has not been run")
def test_the_benchmark_on_multi30k_comes_out_again() -> None:
    table = TABLE.read_text("utf-8")
    steps = int(re.search(r"--steps (\d+)", table)[1])  # type: ignore[index]
    published = float(re.search(r"BLEU, test_2016_flickr.*\| ([\d.]+) \|", table)[1])  # type: ignore[index]
    assert published > 10
    trained = train_child("multi30k", seed=0, settings={"data_dir": str(MULTI30K), "steps": steps})
    assert trained.test == pytest.approx(published, abs=2.5)  # sums come in another order on other machines
