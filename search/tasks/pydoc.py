"""The task `pydoc`: language modelling on the reference that every CPython carries."""

import collections
import re

import numpy as np

from tf_autodropout.search.tasks.data.corpus import UNKNOWN, Corpus
from tf_autodropout.search.tasks.text import TextTask

TRAIN_TOKENS, VALID_TOKENS, TEST_TOKENS = 25_000, 12_000, 12_000
# Rarer training words become <unk>, so that <unk> is learned: an untrained embedding that is read and
# scored at every tenth token moves the perplexity by a fifth from seed to seed.
_MIN_COUNT = 2
_TOKEN = re.compile(r"[a-z_]+|\d+|[^\sa-z_\d]")


def pydoc_task(granularity: str = "layer", steps: int = 400, batch_size: int = 32) -> TextTask:
    """Makes the task `pydoc`. Needs no download.

    Args:
        granularity: See `SearchSpace`.
        steps: Training steps of a child; 400 are 16 epochs.
        batch_size: Sequences per step.

    Example:
        >>> from tf_autodropout.search.tasks.pydoc import pydoc_task
        >>> task = pydoc_task()
        >>> len(task.corpus.train)
        25000
    """
    # One layer: of the children that this much training overfits, the one that two CPU cores train soonest.
    return TextTask("pydoc", load_corpus(), granularity, steps, batch_size, num_layers=1, hidden_dim=96)


def load_corpus() -> Corpus:
    """Reads `pydoc_data.topics`, splits it by topic and turns it into token ids.

    The reference repeats paragraphs between topics: each is kept once, at its first place, before
    the topics are split, or validation and test would hold training text. Topics are shuffled with
    a fixed seed; the text is that of the running Python, so numbers differ a little between Pythons.
    """
    from pydoc_data.topics import topics

    seen: set[str] = set()
    documents = []
    for name in sorted(topics):
        tokens: list[str] = []
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            text = " ".join(paragraph.split())
            if text and text not in seen:
                seen.add(text)
                tokens += [*_TOKEN.findall(text.lower()), "<eos>"]
        documents.append(tokens)
    np.random.default_rng(0).shuffle(documents)
    splits, current = [], iter(documents)
    for size in (TRAIN_TOKENS, VALID_TOKENS, TEST_TOKENS):
        split: list[str] = []
        while len(split) < size and (document := next(current, None)) is not None:
            split += document
        splits.append(split[:size])
    counts = collections.Counter(splits[0])
    words = sorted(word for word, count in counts.items() if count >= _MIN_COUNT)
    ids = {word: index for index, word in enumerate(words, start=UNKNOWN + 1)}
    train, valid, test = (np.array([ids.get(word, UNKNOWN) for word in split], np.int32) for split in splits)
    return Corpus(train, valid, test, vocabulary_size=len(ids) + 1)
