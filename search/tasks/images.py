"""Image classification on arrays in memory: the child and the reward."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.models import wide_resnet
from tf_autodropout.patterns import Schedule
from tf_autodropout.search.children.child import Child, Split
from tf_autodropout.search.children.child_task import ChildTask
from tf_autodropout.search.core import Opponent
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.surgery import regularize, sites

_EVALUATION_BATCH = 250


@dataclass(frozen=True)
class Images:
    """Images and labels of three splits that share no image.

    Args:
        train: float32 `(n, H, W, channels)` and int32 `(n,)`.
        valid: Likewise.
        test: Likewise.
        num_classes: Labels are `0 ... num_classes - 1`.
    """

    train: tuple[np.ndarray, np.ndarray]
    valid: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    num_classes: int = 10


@dataclass
class ImageTask(ChildTask):
    """Trains a Wide ResNet on images; the reward is the validation accuracy.

    Args:
        name: Name on the command line.
        images: The data.
        granularity: See `SearchSpace`.
        steps: Training steps of a child.
        batch_size: Images per step.
        depth: Of the Wide ResNet.
        width: Of the Wide ResNet.
        learning_rate: Peak of SGD's cosine decay (Nesterov momentum 0.9).
        weight_decay: L2 factor on the kernels.
    """

    METRIC: ClassVar[str] = "valid_accuracy"
    SCALE: ClassVar[float] = 100.0  # per cent

    name: str
    images: Images = field(repr=False)
    granularity: str = "stage"
    steps: int = 300
    batch_size: int = 64
    depth: int = 10
    width: int = 2
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    score: str = field(default="test accuracy in %", init=False)
    lower_is_better: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._constant: tuple[Opponent, Child] | None = None  # the last one: a model of its own for each

    @cached_property
    def space(self) -> SearchSpace:
        return SearchSpace(sites(wide_resnet(self.depth, self.width, self._input_shape)).as_sites(), self.granularity)

    @property
    def branch_ends(self) -> list[str]:
        """The sites before the last convolution of each block: a branch that is dropped there is 0 at its end."""
        return [site.name for site in self.space.sites if site.name.endswith("_bn2")]

    def child_for(self, opponent: Opponent) -> Child:
        if opponent.drawn or opponent.fits(self.space):
            return self.child
        if self._constant is None or self._constant[0] != opponent:
            schedule = Schedule.ramp_up(self.steps) if opponent.ramp_up else None
            model = regularize(self._model(mutable=False), opponent.patterns, schedule=schedule)
            self._constant = opponent, self._compiled(model)
        return self._constant[1]

    def measure(self, child: Child, split: str) -> float:
        examples = self._valid if split == "valid" else self._test
        return child.evaluate(examples, _correct, _EVALUATION_BATCH)["accuracy"]

    def describe(self) -> dict[str, Any]:
        settings = {k: v for k, v in asdict(self).items() if k != "images"}
        sizes = {split: len(getattr(self.images, split)[1]) for split in ("train", "valid", "test")}
        return settings | {"images": sizes, "image_shape": list(self._input_shape)}

    @cached_property
    def child(self) -> Child:
        """The compiled child, built at first use."""
        return self._compiled(self._model(mutable=True))

    def _model(self, mutable: bool) -> keras.Model:
        return wide_resnet(
            self.depth,
            self.width,
            self._input_shape,
            self.images.num_classes,
            weight_decay=self.weight_decay,
            mutable=mutable,
        )

    def _compiled(self, model: keras.Model) -> Child:
        schedule = keras.optimizers.schedules.CosineDecay(self.learning_rate, self.steps)
        return Child(
            model,
            keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
            tf.nn.sparse_softmax_cross_entropy_with_logits,
            self._train,
            self.steps,
            self.batch_size,
            # XLA's convolutions in a loop are 7 to 20 times slower on a CPU than TensorFlow's.
            jit_compile=any(device.device_type != "CPU" for device in tf.config.list_logical_devices()),
        )

    @property
    def _input_shape(self) -> tuple[int, int, int]:
        h, w, channels = self.images.train[0].shape[1:]
        return h, w, channels

    @cached_property
    def _train(self) -> Split:
        return _split(*self.images.train)

    @cached_property
    def _valid(self) -> Split:
        return _split(*self.images.valid)

    @cached_property
    def _test(self) -> Split:
        return _split(*self.images.test)


def check_split_sizes(train_size: int, valid_size: int, batch_size: int, available: int) -> None:
    """Raises `ValueError` unless training and validation split fit into the `available` images."""
    if train_size < batch_size or valid_size < 1 or train_size + valid_size > available:
        raise ValueError(
            f"Expected batch_size <= train_size and train_size + valid_size <= {available}. "
            f"Received: train_size={train_size}, valid_size={valid_size}, batch_size={batch_size}"
        )


def standardize(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Brings images to mean 0 and deviation 1 a channel, by the training images' statistics."""
    mean = train.mean((0, 1, 2), dtype=np.float64)
    deviation = train.std((0, 1, 2), dtype=np.float64) + 1e-8
    return [((images - mean) / deviation).astype(np.float32) for images in (train, *others)]


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    x, y = tf.constant(images, tf.float32), tf.constant(labels, tf.int32)
    return Split(lambda index: (tf.gather(x, index), tf.gather(y, index)), len(labels))


def _correct(targets: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"accuracy": tf.cast(tf.argmax(logits, -1, tf.int32) == targets, tf.float32)}
