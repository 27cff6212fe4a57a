"""Language modelling with Transformer-XL: the child, its search space."""

from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np

from tf_autodropout.models import transformer_xl
from tf_autodropout.search.children.child import Split
from tf_autodropout.search.children.segment_child import SegmentChild, segments
from tf_autodropout.search.space import SearchSpace
from tf_autodropout.search.tasks.text import TextTask, sequence_loss, token_loss
from tf_autodropout.surgery import sites

_EVALUATION_STREAMS = 16


@dataclass
class XLTextTask(TextTask):
    """Trains `transformer_xl` on a corpus, segment after segment; the reward is 80 / validation perplexity.

    Args:
        intermediate_dim: Features inside the feed-forward part.
        memory_length: M, tokens remembered while training.
        evaluation_memory_length: M while evaluating.
        warmup_steps: Steps in which Adam's learning rate rises to its peak.
        clip_norm: Largest norm of the gradient of all weights together.
    """

    steps: int = 1500
    batch_size: int = 16
    sequence_length: int = 64
    num_layers: int = 4
    hidden_dim: int = 128
    learning_rate: float = 2e-3
    intermediate_dim: int = 512
    memory_length: int = 64
    evaluation_memory_length: int = 128
    warmup_steps: int = 100
    clip_norm: float = 0.25

    @cached_property
    def space(self) -> SearchSpace:
        lengths = self.sequence_length, self.memory_length
        model = transformer_xl(1, *lengths, 1, self.hidden_dim, self.num_heads, 1)  # one pattern a role
        return SearchSpace(sites(model).as_sites(), self.granularity)

    @cached_property
    def child(self) -> SegmentChild:
        """The compiled child, built at first use."""
        model = transformer_xl(
            self.corpus.vocabulary_size,
            self.sequence_length,
            None,
            self.num_layers,
            self.hidden_dim,
            self.num_heads,
            self.intermediate_dim,
            mutable=True,
        )
        warmup = max(1, min(self.warmup_steps, self.steps // 2))
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, self.steps - warmup), warmup_target=self.learning_rate, warmup_steps=warmup
        )
        each = (len(self.corpus.train) - 1) // self.sequence_length // self.batch_size
        whole = self.corpus.train[: each * self.batch_size * self.sequence_length + 1]
        return SegmentChild(
            model,
            keras.optimizers.Adam(schedule, global_clipnorm=self.clip_norm),
            token_loss,
            segments(whole, self.sequence_length, self.batch_size),
            self.steps,
            self.batch_size,
            self.memory_length,
            self.evaluation_memory_length,
            _EVALUATION_STREAMS,
            steps_per_call=10,
        )

    @cached_property
    def _valid(self) -> Split:
        return segments(self.corpus.valid, self.sequence_length, _EVALUATION_STREAMS)

    @cached_property
    def _test(self) -> Split:
        return segments(self.corpus.test, self.sequence_length, _EVALUATION_STREAMS)

    def _perplexity(self, split: Split) -> float:
        return float(np.exp(self.child.evaluate(split, sequence_loss, _EVALUATION_STREAMS)["loss"]))
