"""The task `pydoc`: language modelling on the reference that every CPython carries."""

import collections
import itertools
import re
from collections.abc import Iterable, Iterator

import numpy as np

from tf_autodropout.search.tasks.data.corpus import UNKNOWN, Corpus
from tf_autodropout.search.tasks.text import TextTask

TRAIN_TOKENS, VALID_TOKENS, TEST_TOKENS = 12_000, 30_000, 30_000
_PIECE = 256  # tokens: eight sequences of the child
# Rarer training words become <unk>, so that <unk> is learned: an untrained embedding that is read and
# scored at every tenth token moves the perplexity by a fifth from seed to seed.
_MIN_COUNT = 2
_RULE = re.compile(r"[-+=~^*]{4,}")  # of tables and headings: with a token for each dash the easiest text of all
_TOKEN = re.compile(r"[a-z_]+|\d+|[^\sa-z_\d]")


def pydoc_task(granularity: str = "layer", steps: int = 200, batch_size: int = 32) -> TextTask:
    """Makes the task `pydoc`. Needs no download.

    Args:
        granularity: See `SearchSpace`.
        steps: Training steps of a child; 200 are 17 epochs.
        batch_size: Sequences per step.

    Example:
        >>> from tf_autodropout.search.tasks.pydoc import pydoc_task
        >>> task = pydoc_task()
        >>> len(task.corpus.train)
        12000
    """
    # One layer: of the children that this much training overfits, the one that two CPU cores train soonest.
    return TextTask("pydoc", load_corpus(), granularity, steps, batch_size, num_layers=1, hidden_dim=96)


def load_corpus() -> Corpus:
    """Reads `pydoc_data.topics`, splits it and turns it into token ids.

    The reference repeats paragraphs between topics: each is kept once, at its first place, before anything is split, or
    validation and test would hold training text. Topics are shuffled with a fixed seed. Those that training does not
    see are dealt to validation and test in pieces of a few paragraphs: a handful of long topics is most of the text,
    and with whole topics test would be another kind of text than what a search chooses by. The text is that of the
    running Python, so numbers differ a little between Pythons.
    """
    from pydoc_data.topics import topics

    seen: set[str] = set()
    documents = []
    for name in sorted(topics):
        paragraphs = []
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            text = " ".join(_RULE.sub(" ", paragraph).split())
            if text and text not in seen:
                seen.add(text)
                paragraphs.append([*_TOKEN.findall(text.lower()), "<eos>"])
        documents.append(paragraphs)
    np.random.default_rng(0).shuffle(documents)
    remaining = iter(documents)
    splits: list[list[str]] = [[], [], []]
    train, valid, test = splits
    while len(train) < TRAIN_TOKENS:
        train.extend(itertools.chain.from_iterable(next(remaining)))
    for piece in itertools.chain.from_iterable(map(_pieces, remaining)):
        (valid if len(valid) <= len(test) else test).extend(piece)
    counts = collections.Counter(train[:TRAIN_TOKENS])
    words = sorted(word for word, count in counts.items() if count >= _MIN_COUNT)
    ids = {word: index for index, word in enumerate(words, start=UNKNOWN + 1)}
    tokens = [
        np.array([ids.get(word, UNKNOWN) for word in split[:size]], np.int32)
        for split, size in zip(splits, (TRAIN_TOKENS, VALID_TOKENS, TEST_TOKENS), strict=True)
    ]
    return Corpus(tokens[0], tokens[1], tokens[2], len(ids) + 1)


def _pieces(paragraphs: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yields a topic in pieces of whole paragraphs, each but the last of at least `_PIECE` tokens."""
    piece: list[str] = []
    for paragraph in paragraphs:
        piece += paragraph
        if len(piece) >= _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece
