"""The task `iwslt14`: German TED talks into English."""

from tf_autodropout.search.tasks.data.parallel_text import read_parallel_text
from tf_autodropout.search.tasks.translation import TranslationTask


def iwslt14_task(
    granularity: str = "layer",
    steps: int = 1000,
    batch_size: int = 32,
    valid_size: int = 256,
    data_dir: str | None = None,
) -> TranslationTask:
    """Makes the task `iwslt14`: German into English, on text that comes lower-cased and tokenized.

    BLEU counts the tokens of the text as they are (sacrebleu's `tokenize="none"`), as published results of
    this set do. The child is small, for a CPU; `TRANSFORMER_SIZES["iwslt"]` is the published one.

    Args:
        granularity: See `SearchSpace`.
        steps: Training steps of a child.
        batch_size: Pairs per step.
        valid_size: Number of validation sentences of the reward, of 7,283.
        data_dir: Directory with `train`, `valid` and `test`, each `.de` and `.en`, by Moses' tokenizer.

    Raises:
        ValueError: a file is missing.

    Reference:
        Cettolo et al., Report on the 11th IWSLT Evaluation Campaign, 2014.
    """
    text = read_parallel_text(data_dir, "train", "valid", "test")
    return TranslationTask(
        "iwslt14", text, "none", granularity, steps, batch_size, valid_size, vocabulary_size=6000, max_length=48
    )
