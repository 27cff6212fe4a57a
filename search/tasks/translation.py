"""Translation: the child and the reward."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tf_autodropout.models import transformer
from tf_autodropout.patterns.checks import invalid
from tf_autodropout.search.children.child import Child, Split
from tf_autodropout.search.children.child_task import ChildTask
from tf_autodropout.search.core import Opponent
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.tasks.data.parallel_text import ParallelText
from tf_autodropout.search.tasks.data.subwords import PADDING, START, Subwords, padded
from tf_autodropout.search.tasks.translating import Translator, bleu
from tf_autodropout.surgery import sites


@dataclass
class TranslationTask(ChildTask):
    """Trains `transformer` on sentence pairs; the reward is the BLEU on validation sentences.

    Source and target share one vocabulary of subwords and one embedding. Pairs with more than `max_length`
    tokens in either language are left out of training; translations have at most twice as many.

    Args:
        name: Name on the command line.
        text: The data.
        tokenize: How sacrebleu splits words: `"13a"` for raw text, `"none"` for text that comes tokenized.
        granularity: See `SearchSpace`.
        steps: Training steps of a child.
        batch_size: Pairs per step.
        valid_size: The first so many validation sentences make the reward.
        valid_beams: Beams for the reward; 1 is greedy search.
        beams: Beams for the test score.
        alpha: Length normalization of the beam search.
        vocabulary_size: Number of subwords of both languages together.
        max_length: T, tokens per sentence, the end token included.
        num_layers: Layers of encoder and decoder each.
        hidden_dim: Features per token.
        num_heads: Attention heads per layer.
        intermediate_dim: Features inside the feed-forward part.
        learning_rate: Peak of Adam's rate: linear warm-up, then cosine decay to 0.
        warmup: Share of the steps that warms up.
        label_smoothing: Probability that is spread over all tokens.

    Raises:
        ValueError: more validation sentences than there are.
    """

    METRIC: ClassVar[str] = "valid_bleu"

    name: str
    text: ParallelText = field(repr=False)
    tokenize: str = "13a"
    granularity: str = "layer"
    steps: int = 1000
    batch_size: int = 32
    valid_size: int = 256
    valid_beams: int = 1
    beams: int = 4
    alpha: float = 0.6
    vocabulary_size: int = 4000
    max_length: int = 28
    num_layers: int = 2
    hidden_dim: int = 128
    num_heads: int = 4
    intermediate_dim: int = 512
    learning_rate: float = 3e-3
    warmup: float = 0.1
    label_smoothing: float = 0.1
    score: str = field(default="test BLEU", init=False)
    lower_is_better: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        available = len(self.text.valid[0])
        if not 1 <= self.valid_size <= available:
            raise invalid("valid_size", f"1 <= valid_size <= {available}", self.valid_size)
        pairs = len(self.text.train[0])
        if not 1 <= self.batch_size <= pairs:
            raise invalid("batch_size", f"1 <= batch_size <= {pairs}, the training sentences", self.batch_size)

    @cached_property
    def space(self) -> SearchSpace:
        length = self.max_length
        model = transformer(1, 1, 1, self.hidden_dim, self.num_heads, 1, sequence_length=length)  # one pattern a role
        return SearchSpace(sites(model).as_sites(), self.granularity)

    def child_for(self, opponent: Opponent) -> Child:
        return self.child

    def measure(self, child: Child, split: str) -> float:
        if split == "test":
            source, references = self.text.test
            return self.bleu(self.translate(source, self.beams), references)
        source, references = (side[: self.valid_size] for side in self.text.valid)
        return self.bleu(self.translate(source, self.valid_beams), references)

    def samples(self, count: int = 5) -> list[dict[str, str]]:
        """Returns translations of the first test sentences by the child as it is now, with their references."""
        source, references = (side[:count] for side in self.text.test)
        rows = zip(source, self.translate(source, self.beams), references, strict=True)
        return [dict(zip(("source", "translation", "reference"), row, strict=True)) for row in rows]

    def describe(self) -> dict[str, Any]:
        settings = {k: v for k, v in asdict(self).items() if k != "text"}
        return settings | {"pairs": {split: len(getattr(self.text, split)[0]) for split in ("train", "valid", "test")}}

    def translate(self, sentences: Sequence[str], num_beams: int) -> list[str]:
        """Translates with the child as it is now.

        Args:
            sentences: Source text.
            num_beams: Beams of the search.
        """
        return self._translator(sentences, num_beams)

    def bleu(self, translations: Sequence[str], references: Sequence[str]) -> float:
        """Returns sacrebleu's corpus BLEU, 0 to 100."""
        return bleu(translations, references, self.tokenize)

    @cached_property
    def _translator(self) -> Translator:
        return Translator(self.child.model, self.subwords, 2 * self.max_length, self.alpha)

    @cached_property
    def subwords(self) -> Subwords:
        """The joint vocabulary, learned from the training split at first use."""
        return Subwords([*self.text.train[0], *self.text.train[1]], self.vocabulary_size)

    @cached_property
    def child(self) -> Child:
        """The compiled child, built at first use."""
        model = transformer(
            self.subwords.vocabulary_size,
            self.subwords.vocabulary_size,
            self.num_layers,
            self.hidden_dim,
            self.num_heads,
            self.intermediate_dim,
            share_embeddings=True,
            normalize_first=True,
            mutable=True,
        )
        warmup = int(self.warmup * self.steps)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, self.steps - warmup, warmup_target=self.learning_rate, warmup_steps=warmup
        )
        optimizer = keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9)
        return Child(
            model,
            optimizer,
            self._loss,
            self._train,
            self.steps,
            self.batch_size,
            # XLA takes minutes to compile these 44 pattern layers for a CPU.
            jit_compile=any(device.device_type != "CPU" for device in tf.config.list_logical_devices()),
        )

    @cached_property
    def _train(self) -> Split:
        pairs = zip(*map(self.subwords.encode, self.text.train), strict=True)
        source, target = zip(*(pair for pair in pairs if max(map(len, pair)) <= self.max_length), strict=True)
        sources = tf.constant(padded(source, self.max_length))
        targets = tf.constant(padded(target, self.max_length))
        starts = tf.constant(padded([[START, *ids[:-1]] for ids in target], self.max_length))

        def examples(index: tf.Tensor) -> tuple[Any, tf.Tensor]:
            return [tf.gather(sources, index), tf.gather(starts, index)], tf.gather(targets, index)

        return Split(examples, len(source))

    def _loss(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Smoothed cross-entropy (N, T), with a mean that is the mean over the tokens that are not padding."""
        size, smooth = logits.shape[-1], self.label_smoothing
        labels = tf.one_hot(targets, size, 1 - smooth + smooth / size, smooth / size)  # (N, T, V)
        loss = tf.nn.softmax_cross_entropy_with_logits(labels, logits)  # (N, T)
        weight = tf.cast(targets != PADDING, loss.dtype)
        return loss * weight / tf.reduce_mean(weight)
