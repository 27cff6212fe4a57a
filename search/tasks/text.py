"""Language modelling on a list of token ids: the child and the reward."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.models import transformer_lm
from tf_autodropout.patterns.checks import invalid
from tf_autodropout.search.children.child import Child, Split
from tf_autodropout.search.children.child_task import ChildTask
from tf_autodropout.search.core import Opponent
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.tasks.data.corpus import Corpus
from tf_autodropout.surgery import sites

REWARD_SCALE = 80.0  # the paper's reward for language models is 80 / ValidPPL
_EVALUATION_BATCH = 128


@dataclass
class TextTask(ChildTask):
    """Trains `transformer_lm` on a corpus; the reward is 80 / validation perplexity.

    Args:
        name: Name on the command line.
        corpus: The data.
        granularity: See `SearchSpace`.
        steps: Training steps of a child.
        batch_size: Sequences per step.
        sequence_length: T, tokens per sequence.
        num_layers: Transformer layers of the child.
        hidden_dim: Features per token.
        num_heads: Attention heads per layer.
        learning_rate: Peak of Adam's cosine decay.

    Raises:
        ValueError: a batch size below 1, or above the number of training sequences.
    """

    METRIC: ClassVar[str] = "valid_perplexity"

    name: str
    corpus: Corpus = field(repr=False)
    granularity: str = "layer"
    steps: int = 600
    batch_size: int = 32
    sequence_length: int = 32
    num_layers: int = 2
    hidden_dim: int = 128
    num_heads: int = 4
    learning_rate: float = 3e-3
    score: str = field(default="test perplexity", init=False)
    lower_is_better: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        windows = len(self.corpus.train) - self.sequence_length
        if not 1 <= self.batch_size <= windows:
            raise invalid("batch_size", f"1 <= batch_size <= {windows}, the training sequences", self.batch_size)

    @cached_property
    def space(self) -> SearchSpace:
        model = transformer_lm(1, self.sequence_length, 1, self.hidden_dim, self.num_heads, 1)  # one pattern a role
        return SearchSpace(sites(model).as_sites(), self.granularity)

    def child_for(self, opponent: Opponent) -> Child:
        return self.child

    def measure(self, child: Child, split: str) -> float:
        return self._perplexity(self._valid if split == "valid" else self._test)

    def reward(self, measure: float) -> float:
        return REWARD_SCALE / measure

    def describe(self) -> dict[str, Any]:
        settings = {k: v for k, v in asdict(self).items() if k != "corpus"}
        sizes = {split: len(getattr(self.corpus, split)) for split in ("train", "valid", "test")}
        return settings | {"tokens": sizes, "vocabulary_size": self.corpus.vocabulary_size}

    @cached_property
    def child(self) -> Child:
        """The compiled child, built at first use."""
        model = transformer_lm(
            self.corpus.vocabulary_size,
            self.sequence_length,
            self.num_layers,
            self.hidden_dim,
            self.num_heads,
            mutable=True,
        )
        schedule = keras.optimizers.schedules.CosineDecay(self.learning_rate, self.steps)
        return Child(
            model,
            keras.optimizers.Adam(schedule),
            token_loss,
            self._split(self.corpus.train, stride=1),
            self.steps,
            self.batch_size,
        )

    @cached_property
    def _valid(self) -> Split:
        return self._split(self.corpus.valid, self.sequence_length)

    @cached_property
    def _test(self) -> Split:
        return self._split(self.corpus.test, self.sequence_length)

    def _split(self, tokens: np.ndarray, stride: int) -> Split:
        """Windows of T tokens and the T tokens that follow each; `stride` tokens apart."""
        stream, length = tf.constant(tokens, tf.int32), self.sequence_length

        def windows(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            window = tf.gather(stream, stride * index[:, None] + tf.range(length + 1)[None, :])  # (N, T + 1)
            return window[:, :-1], window[:, 1:]

        return Split(windows, (len(tokens) - length - 1) // stride + 1)

    def _perplexity(self, split: Split) -> float:
        return float(np.exp(self.child.evaluate(split, sequence_loss, _EVALUATION_BATCH)["loss"]))


def token_loss(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropy of each token, (N, T)."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)


def sequence_loss(targets: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the mean cross-entropy of each sequence, (N,)."""
    return {"loss": tf.reduce_mean(token_loss(targets, logits), -1)}
