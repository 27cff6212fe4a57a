"""What `fit` takes its examples from: arrays, `tf.data`, `PyDataset`, or a function that returns one of them."""

import time
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.patterns.checks import invalid
from tf_autodropout.search.children.random_states import random_states

_BATCH_SIZE = 32  # of arrays, as Keras has it
_READ = 1 << 20  # bytes of an array that its fingerprint reads
_TIMED, _AFTER = 32, 2  # batches whose reading is timed, and those read before them
_LONGEST = 2.0  # seconds that this may take


@dataclass(frozen=True)
class ModelData:
    """Examples for `fit` and `evaluate`.

    Arrays become tensors once, and for each training a `tf.data` pipeline that shuffles with the seed of that training:
    the same batches in every process.

    Args:
        x: Arrays in whatever structure the model takes; a `tf.data.Dataset`; a `keras.utils.PyDataset`; or a function
            without arguments that returns one of the last two, or a tuple `(x, y)` or `(x, y, sample_weight)`. It is
            called for each training, with the random states of Python, NumPy and TensorFlow set.
        y: Targets, for arrays.
        sample_weight: Weights of the examples, for arrays.
        name: What errors call `x`.
        batch_size: Examples per batch of arrays.
        shuffle: Whether arrays are shuffled.

    Raises:
        ValueError: no data, a generator, which can be read only once, arrays of different numbers of examples or none.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    name: str = "x"
    batch_size: int | None = None
    shuffle: bool = False

    def __post_init__(self) -> None:
        if self.x is None:
            raise invalid(self.name, "arrays, a tf.data.Dataset, a PyDataset or a function that returns one", None)
        if hasattr(self.x, "__next__"):
            raise invalid(
                self.name,
                "what can be read more than once; of a generator give the function that makes it a tf.data.Dataset",
                type(self.x).__name__,
            )
        sizes = {
            len(array) for array in keras.tree.flatten(self._arrays) if array is not None and hasattr(array, "shape")
        }
        if self._is_arrays and (len(sizes) != 1 or 0 in sizes):
            raise invalid(
                self.name, "arrays of as many examples each, at least one", f"arrays of {sorted(sizes)} examples"
            )

    @classmethod
    def of(cls, data: Any, name: str, batch_size: int | None = None, targets: bool = False) -> "ModelData":
        """Makes it from what `validation_data` may be: a tuple of arrays, or a source by itself.

        Args:
            data: The tuple or the source.
            name: What errors call it.
            batch_size: Examples per batch of arrays.
            targets: Whether arrays must come with targets, as those that are trained on do.

        Raises:
            ValueError: arrays without targets where there must be some; and as of the class.
        """
        x, y, sample_weight = (*data, None, None)[:3] if isinstance(data, tuple) else (data, None, None)
        made = cls(x, y, sample_weight, name, batch_size)
        if targets and made._is_arrays and y is None:
            raise invalid(name, "a tuple (x, y): the training data has targets", type(data).__name__)
        return made

    @property
    def is_made(self) -> bool:
        """Whether it comes from a function."""
        return callable(self.x) and not isinstance(self.x, tf.data.Dataset | keras.utils.PyDataset)

    def source(self, seed: int = 0) -> tuple[Any, ...]:
        """Returns `x`, or `x`, `y` and so on where a function makes arrays, as the arguments of `fit` and `evaluate`.

        Args:
            seed: Of the order of arrays.
        """
        if self.is_made:
            with random_states(seed):
                made = self.x()
            if isinstance(made, tuple):
                return replace(self.of(made, self.name, self.batch_size), shuffle=self.shuffle).source(seed)
            return (made,)
        if not self._is_arrays:
            return (self.x,)
        tensors, order = self._tensors, tf.data.Dataset.range(self._count)
        if self.shuffle:
            with random_states(seed):  # or else the order would depend on a seed that the caller's program has set
                order = order.shuffle(self._count)

        def examples(index: tf.Tensor) -> Any:
            return keras.tree.map_structure(lambda tensor: tf.gather(tensor, index), tensors)

        batches = order.batch(self.batch_size or _BATCH_SIZE)
        return (batches.map(examples, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE),)

    def shuffles(self, x: Any) -> bool:
        """Whether `fit` has to shuffle what `source` returns: a `PyDataset`, by Python's random state."""
        return self.shuffle and isinstance(x, keras.utils.PyDataset) and x.num_batches is not None

    def batches(self) -> int:
        """Returns the number of batches of an epoch; of a dataset that does not tell it, by reading it."""
        (x, *_) = self.source()
        if isinstance(x, keras.utils.PyDataset):
            return x.num_batches
        count = int(x.cardinality())
        return count if count >= 0 else sum(1 for _ in x)

    def first_batch(self) -> Any:
        """Returns the inputs of the first batch.

        Raises:
            ValueError: there is none.
        """
        (x, *_) = self.source()
        if (batch := next(iter(x), None)) is None:
            raise invalid(self.name, "at least one batch", "none")
        return keras.utils.unpack_x_y_sample_weight(batch)[0]

    def reading_time(self) -> float | None:
        """Returns the seconds that one batch takes to be read, with nothing else going on; None of what is in memory.

        What a training waits for is at most this share of its time: pipelines read ahead while a step goes on.
        """
        if self._is_arrays:
            return None
        (x, *others) = self.source()
        if others:
            return None
        begin, count = time.perf_counter(), -_AFTER
        for _ in x:
            count += 1
            if count == 0:
                begin = time.perf_counter()
            if count == _TIMED or (count > 0 and time.perf_counter() - begin > _LONGEST):
                break
        return (time.perf_counter() - begin) / count if count > 0 else None

    def describe(self) -> Any:
        """Returns what tells the data from others, as JSON types: shapes, types, and a checksum of arrays."""
        if self.is_made:
            return f"made by {getattr(self.x, '__name__', type(self.x).__name__)}"
        if isinstance(self.x, tf.data.Dataset):
            return str(self.x.element_spec)
        if isinstance(self.x, keras.utils.PyDataset):
            return type(self.x).__name__
        return [_fingerprint(array) for array in keras.tree.flatten(self._arrays)]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_tensors"}

    @property
    def _is_arrays(self) -> bool:
        return not self.is_made and not isinstance(self.x, tf.data.Dataset | keras.utils.PyDataset)

    @property
    def _arrays(self) -> tuple[Any, ...]:
        given = (self.x, self.y, self.sample_weight)
        return tuple(part for part in given if part is not None) if self._is_arrays else ()

    @cached_property
    def _tensors(self) -> Any:
        return keras.tree.map_structure(_tensor, self._arrays)

    @property
    def _count(self) -> int:
        return len(keras.tree.flatten(self._arrays)[0])


def _tensor(array: Any) -> tf.Tensor:
    """As Keras takes an array: floating-point numbers in its own precision."""
    tensor = tf.convert_to_tensor(array)
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor


def _fingerprint(array: Any) -> str:
    array = np.asarray(array)
    read = np.ascontiguousarray(array[:: max(1, array.nbytes // _READ)])
    content = repr(read[:100].tolist()).encode() if array.dtype.kind in "OSU" else read.tobytes()
    return f"{array.dtype}{list(array.shape)} {zlib.crc32(content):08x}"
