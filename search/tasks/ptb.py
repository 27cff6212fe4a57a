"""The task `ptb`: a small Transformer-XL on Penn Treebank."""

from tf_autodropout.search.tasks.data.word_files import read_words
from tf_autodropout.search.tasks.xl_text import XLTextTask

FILES = ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")


def ptb_task(
    granularity: str = "layer", steps: int = 1500, batch_size: int = 16, data_dir: str | None = None
) -> XLTextTask:
    """Makes the task `ptb`: 929,589 training tokens, a vocabulary of 10,000. A child without dropout
    reaches a validation perplexity of 141 (`benchmarks/transformer_xl_ptb.md`).

    Args:
        granularity: See `SearchSpace`.
        steps: Training steps of a child; 1500 are 1.7 epochs.
        batch_size: Streams read side by side.
        data_dir: Directory of `ptb.train.txt`, `ptb.valid.txt` and `ptb.test.txt` (Mikolov's version).

    Raises:
        ValueError: the files are not there.
    """
    return XLTextTask("ptb", read_words("ptb", data_dir, FILES), granularity, steps, batch_size)
