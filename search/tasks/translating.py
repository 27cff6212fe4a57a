"""Translating many sentences by beam search, and what sacrebleu says of them."""

from collections.abc import Sequence

import keras
import sacrebleu

from tf_autodropout.models import BeamSearch
from tf_autodropout.search.tasks.data.subwords import END, START, Subwords, padded

_BATCH = 128
_LENGTH_STEP = 16  # sources are padded to multiples of it: a few static shapes for all lengths


class Translator:
    """Translates with an encoder-decoder as its weights are now.

    Args:
        model: From source and target tokens to logits.
        subwords: The vocabulary of both languages.
        max_length: Tokens of a translation at most.
        alpha: Length normalization of the beam search.
    """

    def __init__(self, model: keras.Model, subwords: Subwords, max_length: int, alpha: float) -> None:
        self._model, self._subwords, self._max_length, self._alpha = model, subwords, max_length, alpha
        self._searches: dict[int, BeamSearch] = {}

    def __call__(self, sentences: Sequence[str], num_beams: int) -> list[str]:
        """Returns the translations.

        Args:
            sentences: Source text.
            num_beams: Beams of the search.
        """
        if num_beams not in self._searches:
            self._searches[num_beams] = BeamSearch(self._model, self._max_length, num_beams, self._alpha, START, END)
        search, ids = self._searches[num_beams], self._subwords.encode(sentences)
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        translations = [""] * len(ids)
        for first in range(0, len(order), _BATCH):
            batch = order[first : first + _BATCH]
            # The last batch is filled up, and lengths are rounded: a few static shapes for all.
            rows = batch + batch[-1:] * (_BATCH - len(batch))
            length = -(-len(ids[batch[-1]]) // _LENGTH_STEP) * _LENGTH_STEP
            tokens, _ = search(padded([ids[index] for index in rows], length))
            found = self._subwords.decode(tokens.numpy()[: len(batch)].tolist())
            for index, translation in zip(batch, found, strict=True):
                translations[index] = translation
        return translations


def bleu(translations: Sequence[str], references: Sequence[str], tokenize: str) -> float:
    """Returns sacrebleu's corpus BLEU, 0 to 100.

    Args:
        translations: One a sentence.
        references: One a sentence.
        tokenize: How sacrebleu splits words: `"13a"` for raw text, `"none"` for text that comes tokenized.
    """
    score = sacrebleu.corpus_bleu(list(translations), [list(references)], tokenize=tokenize, force=tokenize == "none")
    return float(score.score)
