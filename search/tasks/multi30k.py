"""The task `multi30k`: German image captions into English."""

from tf_autodropout.search.tasks.data.parallel_text import read_parallel_text
from tf_autodropout.search.tasks.translation import TranslationTask


def multi30k_task(
    granularity: str = "layer",
    steps: int = 1000,
    batch_size: int = 32,
    valid_size: int = 256,
    data_dir: str | None = None,
) -> TranslationTask:
    """Makes the task `multi30k`: 29,000 pairs, validation on `val`, test on `test_2016_flickr`.

    Args:
        granularity: See `SearchSpace`.
        steps: Training steps of a child.
        batch_size: Pairs per step.
        valid_size: Number of validation sentences of the reward, of 1,014.
        data_dir: Directory with `train`, `val` and `test_2016_flickr`, each `.de` and `.en`, raw text.

    Raises:
        ValueError: a file is missing.

    Reference:
        Elliott et al., Multi30K: Multilingual English-German Image Descriptions, 2016.
    """
    text = read_parallel_text(data_dir, "train", "val", "test_2016_flickr")
    return TranslationTask("multi30k", text, "13a", granularity, steps, batch_size, valid_size)
