"""Sentences in two languages, from text files with a sentence a line."""

from dataclasses import dataclass
from pathlib import Path

Pairs = tuple[tuple[str, ...], tuple[str, ...]]  # source sentences, target sentences


@dataclass(frozen=True)
class ParallelText:
    """Three splits that share no pair of sentences.

    Args:
        train: Source sentences and target sentences, as many.
        valid: Likewise.
        test: Likewise.
    """

    train: Pairs
    valid: Pairs
    test: Pairs


def read_parallel_text(
    data_dir: str | None, train: str, valid: str, test: str, source: str = "de", target: str = "en"
) -> ParallelText:
    """Reads `TRAIN.de`, `TRAIN.en` and so on. Training pairs that are in another split are left out.

    Args:
        data_dir: The directory with the files.
        train: Name of the training files, without the language.
        valid: Name of the validation files.
        test: Name of the test files.
        source: Ending of the source language's files.
        target: Ending of the target language's files.

    Raises:
        ValueError: no directory, a file that is missing, empty or not UTF-8, files of unequal length.
    """
    names = [f"{split}.{language}" for split in (train, valid, test) for language in (source, target)]
    missing = [name for name in names if data_dir is None or not (Path(data_dir) / name).is_file()]
    if data_dir is None or missing:
        raise ValueError(
            f"Invalid value for 'data_dir'. Expected a directory with {', '.join(names)}. "
            f"Received: data_dir={data_dir!r}" + (f", without {', '.join(missing)}" if data_dir else "")
        )

    def read(split: str) -> list[tuple[str, str]]:
        paths = [Path(data_dir) / f"{split}.{language}" for language in (source, target)]
        try:
            left, right = (path.read_text("utf-8").rstrip("\n").split("\n") for path in paths)
        except UnicodeDecodeError as error:
            raise ValueError(f"{paths[0]} and {paths[1]}: expected text in UTF-8 ({error})") from error
        if len(left) != len(right) or not any(left) or not any(right):
            raise ValueError(
                f"Expected as many sentences in {paths[0]} as in {paths[1]}, at least one. "
                f"Received: {len(left)} and {len(right)} lines"
            )
        return list(zip(map(str.strip, left), map(str.strip, right), strict=True))

    held_out = read(valid), read(test)
    seen = {pair for split in held_out for pair in split}
    trained = [pair for pair in read(train) if pair not in seen and all(pair)]
    if not trained:
        raise ValueError(f"{Path(data_dir) / train}.{source}: all pairs are in validation or test as well")
    return ParallelText(*map(_sides, (trained, *held_out)))


def _sides(pairs: list[tuple[str, str]]) -> Pairs:
    return tuple(left for left, _ in pairs), tuple(right for _, right in pairs)
