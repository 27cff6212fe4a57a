"""Texts that come as three files of words parted by spaces, one sentence or paragraph a line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_autodropout.search.tasks.data.corpus import UNKNOWN, Corpus

_UNKNOWN_WORD, _END = "<unk>", "<eos>"


def read_words(task: str, data_dir: str | Path | None, names: Sequence[str]) -> Corpus:
    """Reads training, validation and test text; each line, an empty one too, ends with a token of its own.

    Words that training does not have are read as `<unk>`, which it does have.

    Args:
        task: Name of the task, for the errors.
        data_dir: The directory of the files.
        names: Names of the three files.

    Raises:
        ValueError: no directory named, or files that are not there.
    """
    wanted = f"{', '.join(names[:-1])} and {names[-1]}"
    if data_dir is None:
        raise ValueError(
            f"Task '{task}' reads {wanted}, which TFDS does not have. Name their directory: data_dir, --data-dir"
        )
    if missing := [name for name in names if not (Path(data_dir) / name).is_file()]:
        raise ValueError(f"Task '{task}' expects {wanted} in {data_dir}. Missing: {', '.join(missing)}")
    train, valid, test = (_words(Path(data_dir) / name) for name in names)
    ids = {_UNKNOWN_WORD: UNKNOWN}
    for word in train:
        ids.setdefault(word, len(ids))

    def tokens(words: list[str]) -> np.ndarray:
        return np.array([ids.get(word, UNKNOWN) for word in words], np.int32)

    return Corpus(tokens(train), tokens(valid), tokens(test), vocabulary_size=len(ids))


def _words(file: Path) -> list[str]:
    with file.open(encoding="utf-8") as lines:
        return [word for line in lines for word in (*line.split(), _END)]
