"""The task `wikitext-2`: a small Transformer-XL on WikiText-2."""

from tf_autodropout.search.tasks.data.word_files import read_words
from tf_autodropout.search.tasks.xl_text import XLTextTask

FILES = ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens")


def wikitext2_task(
    granularity: str = "layer", steps: int = 1000, batch_size: int = 16, data_dir: str | None = None
) -> XLTextTask:
    """Makes the task `wikitext-2`: 2,088,628 training tokens, a vocabulary of 33,278. Not run at full length yet.

    Args:
        granularity: See `SearchSpace`.
        steps: Training steps of a child.
        batch_size: Streams read side by side.
        data_dir: Directory of `wiki.train.tokens`, `wiki.valid.tokens` and `wiki.test.tokens` (word level).

    Raises:
        ValueError: the files are not there.
    """
    return XLTextTask("wikitext-2", read_words("wikitext-2", data_dir, FILES), granularity, steps, batch_size)
