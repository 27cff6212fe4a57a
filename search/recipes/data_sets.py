"""The data sets of the tables: where their files are looked for, and what to do where they are missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_autodropout.patterns.checks import invalid


class DataMissing(ValueError):
    """A data set is not where it should be, or cannot be read; the message says what to download to where."""


@dataclass(frozen=True)
class DataSet:
    """Where a data set is from.

    Args:
        kind: `"tfds"`, `"words"` (three files of words) or `"pairs"` (files in two languages).
        source: Name in TFDS, or the folder of the files inside the data directory.
        files: Files of the folder; for `"pairs"` the names of the splits before the language.
        get: How to get it, `{where}` for the folder.
        languages: Endings of the files of `"pairs"`.
        classes: Number of classes.
        splits: Names of its splits in TFDS.
        or_tfds: Name in TFDS of `"pairs"` that may come from there as well.
    """

    kind: str
    source: str
    get: str
    files: Sequence[str] = ()
    languages: tuple[str, str] = ("de", "en")
    classes: int = 10
    splits: tuple[str, ...] = ("train", "test")
    or_tfds: str = ""


GENERATED = "generated"  # a stand-in of each kind of data, in place of a name below
_TFDS = "then run: tfds build {name} --data_dir {where}"
_IMAGENET = (
    "put ILSVRC2012_img_train.tar (147.9 GB) and ILSVRC2012_img_val.tar (6.7 GB) from image-net.org, not repacked "
    "(their checksums are verified), into {where}/downloads/manual, " + _TFDS
)
DATA_SETS = {
    "cifar10": DataSet("tfds", "cifar10", "163 MB: run: tfds build cifar10 --data_dir {where}"),
    "imagenet2012": DataSet(
        "tfds",
        "imagenet2012",
        _IMAGENET.replace("{name}", "imagenet2012"),
        classes=1000,
        splits=("train", "validation"),
    ),
    "imagenet2012_subset/10pct": DataSet(
        "tfds",
        "imagenet2012_subset/10pct",
        _IMAGENET.replace("{name}", "imagenet2012_subset/10pct"),
        classes=1000,
        splits=("train", "validation"),
    ),
    "imagenet_resized/64x64": DataSet(
        "tfds",
        "imagenet_resized/64x64",
        "13.6 GB: run: tfds build imagenet_resized/64x64 --data_dir {where} (its links have broken before: "
        "tensorflow/datasets#3563; then get the zips from image-net.org into {where}/downloads/manual)",
        classes=1000,
        splits=("train", "validation"),
    ),
    "imagenette/160px-v2": DataSet(
        "tfds",
        "imagenette/160px-v2",
        "94 MB: run: tfds build imagenette/160px-v2 --data_dir {where} (a checksum error means an old TFDS: "
        "tensorflow/datasets#3057)",
        splits=("train", "validation"),
    ),
    "tiny_imagenet10": DataSet(
        "tfds",
        "tiny_imagenet10",
        "TFDS does not have it: ten classes of cs231n.stanford.edu/tiny-imagenet-200.zip as TFDS records in "
        "{where}/tiny_imagenet10",
        splits=("train", "validation"),
    ),
    "ptb": DataSet(
        "words",
        "ptb",
        "get Mikolov's preprocessed Penn Treebank (simple-examples.tgz, folder data; TFDS has none) into {where}",
        ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
    ),
    "wikitext-2": DataSet(
        "words",
        "wikitext-2",
        "get the word-level files of WikiText-2 from wikitext.smerity.com (with a browser: it refuses other agents; "
        "the old link on S3 is dead) into {where}",
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
    ),
    "iwslt14": DataSet(
        "pairs",
        "iwslt14-de-en",
        "get dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz (wit3.fbk.eu is gone), prepare it with fairseq's "
        "prepare-iwslt14.sh up to its tmp folder (lower-cased, Moses' tokenizer) and put train, valid and test, each "
        ".de and .en, into {where}",
        ("train", "valid", "test"),
    ),
    "iwslt14-subset": DataSet(
        "pairs",
        "iwslt14-de-en-subset",
        "put train, valid and test of a part of IWSLT'14, each .de and .en, into {where}",
        ("train", "valid", "test"),
    ),
    "wmt14": DataSet(
        "pairs",
        "wmt14-en-fr",
        "run: tfds build wmt14_translate/fr-en --data_dir {root} (statmt.org is slow: huggingface/datasets#1912), or "
        "put train, valid and test, each .en and .fr, of fairseq's prepare-wmt14en2fr.sh into {where}",
        ("train", "valid", "test"),
        ("en", "fr"),
        splits=("train", "validation", "test"),
        or_tfds="wmt14_translate/fr-en",
    ),
    "multi30k": DataSet(
        "pairs",
        "multi30k-de-en",
        "get task 1 of github.com/multi30k/dataset, unzipped, into {where}",
        ("train", "val", "test_2016_flickr"),
    ),
}


def check_data_dir(data_dir: str | Path | None) -> None:
    """Raises `ValueError` unless the directory is there."""
    if data_dir is not None and not Path(data_dir).is_dir():
        raise invalid("data_dir", "a directory that exists", str(data_dir))


def folder(name: str, data_dir: str | Path) -> Path:
    """Returns the directory of a data set's files, or TFDS' own directory, after a look at what is there.

    Args:
        name: Key of `DATA_SETS`.
        data_dir: Where all data sets are: those of TFDS in it or in its folder `tfds`, the others in folders of theirs.

    Raises:
        DataMissing: it is not there, or not all of it; what to download to where.
    """
    data, root = DATA_SETS[name], Path(data_dir)
    places = [root / "tfds", root]
    for place in places if data.kind == "tfds" or data.or_tfds else []:
        if any((place / (data.or_tfds or data.source)).glob("*/dataset_info.json")):
            return place
    if data.kind == "tfds":
        where = places[0] if places[0].is_dir() else root
        raise DataMissing(f"Data set '{name}' is not in {root}: {data.get.format(where=where)}")
    place = next((p for p in (root / data.source, root) if _lacking(data, p) == []), root / data.source)
    if lacking := _lacking(data, place):
        raise DataMissing(
            f"Data set '{name}' is not in {root}, {', '.join(lacking)} missing: "
            f"{data.get.format(where=place, root=root)}"
        )
    return place


def is_there(name: str, data_dir: str | Path) -> bool:
    """True if the files of a data set are there."""
    try:
        folder(name, data_dir)
    except DataMissing:
        return False
    return True


def _lacking(data: DataSet, place: Path) -> list[str]:
    names = data.files
    if data.kind == "pairs":
        names = [f"{split}.{language}" for split in data.files for language in data.languages]
    return [name for name in names if not (place / name).is_file()]


def tfds_builder(name: str, data_dir: str | Path) -> Any:
    """Returns the TFDS builder of a prepared data set; nothing is downloaded.

    Raises:
        DataMissing: it is not prepared, or cannot be read.
    """
    import tensorflow_datasets as tfds

    place, data = folder(name, data_dir), DATA_SETS[name]
    try:
        found = (place / (data.or_tfds or data.source)).glob("*/dataset_info.json")
        directory = max(path.parent for path in found)
        return tfds.builder_from_directory(directory)
    except Exception as error:  # whatever TFDS raises for files that are not what they were
        raise broken(name, place, error) from error


def broken(name: str, place: Path, error: BaseException) -> DataMissing:
    """The error for files that are there and cannot be read."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    get = DATA_SETS[name].get.format(where=place, root=place)
    return DataMissing(f"Data set '{name}' in {place} cannot be read ({reason[:160]}). Delete it there and {get}")
