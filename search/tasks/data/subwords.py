"""Sentences as subword ids and back, by SentencePiece."""

import io
from collections.abc import Sequence

import numpy as np
import sentencepiece

PADDING, START, END, UNKNOWN = 0, 1, 2, 3


class Subwords:
    """Byte-pair encoding that is learned from sentences, not downloaded: the same sentences give the same ids.

    Args:
        sentences: Raw text to learn from, training split only.
        vocabulary_size: Number of ids, the four special ones included.

    Raises:
        ValueError: the sentences do not yield that many ids, or have more characters than that.

    Example:
        >>> from tf_autodropout.search.tasks.data.subwords import Subwords
        >>> subwords = Subwords(["a red house", "a house", "red red wine"], 24)
        >>> subwords.decode(subwords.encode(["a red house"]))
        ['a red house']

    Reference:
        Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, ACL 2016.
    """

    def __init__(self, sentences: Sequence[str], vocabulary_size: int) -> None:
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(sentences),
                model_writer=model,
                model_type="bpe",
                vocab_size=vocabulary_size,
                character_coverage=1.0,
                pad_id=PADDING,
                bos_id=START,
                eos_id=END,
                unk_id=UNKNOWN,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                "Invalid value for 'vocabulary_size'. Expected a number that the training text can fill "
                f"({reason}). Received: vocabulary_size={vocabulary_size}"
            ) from error
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())

    @property
    def vocabulary_size(self) -> int:
        """Number of ids."""
        return int(self._processor.vocab_size())

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each sentence, the end token last."""
        ids: list[list[int]] = self._processor.encode(list(sentences), add_eos=True)
        return ids

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Returns the text up to the end token of each list of ids."""
        whole = [list(map(int, one)) for one in ids]
        return [self._processor.decode(one[: one.index(END)] if END in one else one) for one in whole]


def padded(ids: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Returns the lists as int32 `(n, length)`, filled up with padding."""
    array = np.full((len(ids), length), PADDING, np.int32)
    for row, one in zip(array, ids, strict=True):
        row[: len(one)] = one
    return array
