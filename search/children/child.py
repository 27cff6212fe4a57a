"""A child network that is built and compiled once and then serves every trial of a process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.layers import assign_patterns, pattern_layers, site_seed
from tf_autodropout.layers.keras_internals import clipped_by, learning_rate_of
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import Progress, unheard

Batch = tuple[tf.Tensor, tf.Tensor]  # inputs, targets


@dataclass(frozen=True)
class Split:
    """Examples that live on the device.

    Args:
        examples: In-graph function from int32 indices `(batch,)` to `(inputs, targets)`.
        count: Number of examples; the indices are `0 ... count - 1`.
    """

    examples: Callable[[tf.Tensor], Batch]
    count: int


class Child:
    """Trains one compiled model again and again, each time from a fresh state.

    A trial assigns the patterns, the initial weights, the statistics, the optimizer's slots and the
    seeds: everything but the learning rate. The initial weights of a seed are those of the builder
    with the entries of each tensor shuffled by that seed: for initializers that draw the entries
    independently, as all of ours do, this is a draw from the same distribution.

    A child that is made in the scope of a `tf.distribute.Strategy` trains on all of its replicas. Each takes
    its share of the batch, and the gradients are summed: without dropout and batch statistics a step equals
    that of one device. Batch normalization sees, and keeps, the statistics of its own replica.

    Args:
        model: Built with `mutable=True`.
        optimizer: Keras optimizer; its learning rate may be a schedule over `steps`.
        loss: Function `(targets, logits)` to the loss of each example or token.
        train: Training examples.
        steps: Training steps of a trial.
        batch_size: Examples per step, over all replicas; a multiple of their number.
        steps_per_call: Largest number of steps inside one call of the compiled function; the largest
            divisor of `steps` up to it is taken, of a quarter of them if they have quarters: there halving judges.
        jit_compile: Compile with XLA. Under a strategy what a replica computes is compiled, its exchange with
            the others is not; a TPU compiles in any case.

    Raises:
        ValueError: steps below 1, a batch larger than the split or not to be shared equally by the replicas.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        train: Split,
        steps: int,
        batch_size: int,
        steps_per_call: int = 50,
        jit_compile: bool = True,
    ) -> None:
        if steps < 1 or steps_per_call < 1:
            raise ValueError(f"Expected steps and steps_per_call >= 1. Received: {steps} and {steps_per_call}")
        if batch_size > train.count:
            raise ValueError(f"Expected batch_size <= {train.count} examples. Received: batch_size={batch_size}")
        self.model, self.optimizer, self.steps, self.batch_size = model, optimizer, steps, batch_size
        self._train, self._strategy = train, tf.distribute.get_strategy()
        self._replicas = self._strategy.num_replicas_in_sync
        if batch_size % self._replicas:
            raise ValueError(
                f"Expected batch_size to be a multiple of the {self._replicas} replicas. "
                f"Received: batch_size={batch_size}"
            )
        alone = not tf.distribute.has_strategy()
        # The exchange between replicas does not compile: there only what each computes is, and on a TPU it is anyway.
        on_tpu = isinstance(self._strategy, tf.distribute.TPUStrategy)
        self._jit_whole, jit_replica = jit_compile and alone, jit_compile and not alone and not on_tpu
        self._gradients = (
            tf.function(self._compute_gradients, jit_compile=True) if jit_replica else self._compute_gradients
        )
        whole_calls = steps // 4 if steps % 4 == 0 else steps
        self._steps_per_call = next(n for n in range(min(steps, steps_per_call), 0, -1) if whole_calls % n == 0)
        self._loss = loss
        self._clips = any((optimizer.clipnorm, optimizer.global_clipnorm, optimizer.clipvalue))
        optimizer.build(model.trainable_variables)
        self._schedule = tf.Variable(tf.zeros((steps, batch_size), tf.int32), trainable=False)
        layers = [layer for twins in pattern_layers(model).values() for layer in twins]
        self._mutable_layers = [layer for layer in layers if layer.mutable]
        seeds_and_patterns = {id(v) for layer in layers for v in layer.variables}
        self._initial_state = [
            (variable, variable.numpy())
            for variable in [*model.non_trainable_variables, *optimizer.variables]
            if id(variable) not in seeds_and_patterns and variable is not learning_rate_of(optimizer)
        ]
        self._initial_weights = [(variable, variable.numpy()) for variable in model.trainable_variables]
        self._train_steps = tf.function(self._make_train_steps, jit_compile=self._jit_whole)
        self._drawn_steps = tf.function(self._make_drawn_steps, jit_compile=self._jit_whole)
        self._evaluators: dict[Any, Any] = {}
        self.traces = 0
        self.last_train_seconds = 0.0

    def reset(self, patterns: PatternSet, seed: int) -> None:
        """Puts the child at the start of a trial.

        Raises:
            ValueError: the set names sites that the model does not have.
            TypeError: a pattern of the wrong kind for its site.
        """
        assign_patterns(self.model, patterns)
        for site, layers in pattern_layers(self.model).items():
            for index, layer in enumerate(layers):
                layer.reseed(site_seed(seed, site, index))
        for variable, value in self._initial_state:
            variable.assign(value)
        rng = np.random.default_rng([seed & 0xFFFFFFFF, 1])
        for variable, value in self._initial_weights:
            variable.assign(rng.permutation(value.reshape(-1)).reshape(value.shape))
        self._schedule.assign(self._order(np.random.default_rng([seed & 0xFFFFFFFF, 2])))

    def train(
        self,
        progress: Progress = unheard,
        ends: Callable[[int], bool] = lambda done: False,
        drawn: Callable[[], PatternSet] | None = None,
        done: int = 0,
    ) -> list[float]:
        """Trains for all steps; returns the mean loss of each call, for the learning curve.

        Args:
            progress: Called after each call of the compiled function.
            ends: Called after it, with the number of steps done; True ends the training.
            drawn: Returns the patterns of the next step; None for those of `reset` at all steps.
            done: Steps that the child has taken already: it goes on after them, with the examples that are next.

        Raises:
            ValueError: `done` is none of the steps after which `ends` is asked.
            FloatingPointError: the loss is no longer finite.
        """
        if done % self._steps_per_call or not 0 <= done < self.steps:
            raise ValueError(
                f"Expected 'done' to be a multiple of {self._steps_per_call} below {self.steps}. Received: done={done}"
            )
        start, curve = time.perf_counter(), []
        for first in range(done, self.steps, self._steps_per_call):
            if drawn is None:
                loss = float(self._train_steps(tf.constant(first)))
            else:
                loss = float(self._drawn_steps(tf.constant(first), self._vectors(drawn)))
            if not np.isfinite(loss):
                raise FloatingPointError(f"training loss is {loss} after {first + self._steps_per_call} steps")
            curve.append(loss)
            progress(first + self._steps_per_call, self.steps, loss)
            if ends(first + self._steps_per_call):
                break
        self.last_train_seconds = time.perf_counter() - start
        return curve

    def evaluate(
        self, split: Split, measure: Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]], batch_size: int
    ) -> dict[str, float]:
        """Returns the mean over a split of what `measure(targets, logits)` gives for each example."""
        key = (split, measure, batch_size)
        batch_size = -(-batch_size // self._replicas) * self._replicas
        if key not in self._evaluators:
            self._evaluators[key] = tf.function(self._make_evaluator(split, measure), jit_compile=self._jit_whole)
        totals: dict[str, float] = {}
        for index in self._evaluation_order(split.count, batch_size):
            # The last batch is filled up with examples of weight 0: one static shape for all.
            weight = (index < split.count).astype(np.float32)
            sums = self._evaluators[key](tf.constant(np.minimum(index, split.count - 1), tf.int32), weight)
            for name, value in sums.items():
                totals[name] = totals.get(name, 0.0) + float(value)
        return {name: total / split.count for name, total in totals.items()}

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        """The examples of each training step, (steps, batch): every example at most once an epoch."""
        per_epoch = self._train.count // self.batch_size * self.batch_size
        epochs = -(-self.steps * self.batch_size // per_epoch)
        order = np.concatenate([rng.permutation(self._train.count)[:per_epoch] for _ in range(epochs)])
        return order[: self.steps * self.batch_size].reshape(self.steps, self.batch_size).astype(np.int32)

    def _evaluation_order(self, count: int, batch_size: int) -> np.ndarray:
        """The examples of each evaluation step, (steps, batch); numbers from `count` on fill the last one up."""
        return np.arange(-(-count // batch_size) * batch_size).reshape(-1, batch_size)

    def _logits(self, inputs: Any, training: bool) -> tf.Tensor:
        return self.model(inputs, training=training)

    def _make_train_steps(self, first: tf.Tensor) -> tf.Tensor:
        self.traces += 1  # runs while tracing only
        total = tf.constant(0.0)
        for step in tf.range(self._steps_per_call):
            total += self._sum(self._strategy.run(self._train_step, (first + step,)))
        return total / tf.cast(self._steps_per_call, tf.float32)

    def _make_drawn_steps(self, first: tf.Tensor, vectors: list[tf.Tensor]) -> tf.Tensor:
        """The same, with a pattern for each step at each mutable layer, (steps per call, integers)."""
        total = tf.constant(0.0)
        for step in tf.range(self._steps_per_call):
            for layer, patterns in zip(self._mutable_layers, vectors, strict=True):
                layer.values.assign(patterns[step])
            total += self._sum(self._strategy.run(self._train_step, (first + step,)))
        return total / tf.cast(self._steps_per_call, tf.float32)

    def _vectors(self, drawn: Callable[[], PatternSet]) -> list[tf.Tensor]:
        sets = [drawn() for _ in range(self._steps_per_call)]
        layers = self._mutable_layers
        return [
            tf.constant(np.stack([one.vector(s.get(one.site, type(one.pattern)())) for s in sets])) for one in layers
        ]

    def _train_step(self, step: tf.Tensor) -> tf.Tensor:
        """What one replica does in a step; returns its part of the mean loss."""
        gradients, loss = self._gradients(step)
        if self._clips and self._replicas > 1:
            # Keras clips before it sums. Clipped after our sum and divided, they pass its clipping unchanged.
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            clipped = clipped_by(self.optimizer, gradients)
            gradients = [tf.convert_to_tensor(gradient) / self._replicas for gradient in clipped]
        self.optimizer.apply(gradients, self.model.trainable_variables)  # sums them over the replicas
        return loss

    def _compute_gradients(self, step: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        inputs, targets = self._train.examples(self._share(tf.gather(self._schedule, step)))
        with tf.GradientTape() as tape:
            logits = tf.cast(self._logits(inputs, training=True), tf.float32)
            loss = tf.reduce_mean(self._loss(targets, logits))
            if self.model.losses:
                loss += tf.add_n(self.model.losses)
            if self._replicas > 1:
                loss /= self._replicas
        return tape.gradient(loss, self.model.trainable_variables), loss

    def _make_evaluator(self, split: Split, measure: Any) -> Any:
        def evaluate_share(index: tf.Tensor, weight: tf.Tensor) -> dict[str, tf.Tensor]:
            inputs, targets = split.examples(self._share(index))
            values = measure(targets, tf.cast(self._logits(inputs, training=False), tf.float32))
            return {name: tf.reduce_sum(value * self._share(weight)) for name, value in values.items()}

        def evaluate(index: tf.Tensor, weight: tf.Tensor) -> dict[str, tf.Tensor]:
            sums = self._strategy.run(evaluate_share, (index, weight))
            return {name: self._sum(value) for name, value in sums.items()}

        return evaluate

    def _share(self, batch: tf.Tensor) -> tf.Tensor:
        """The part of a batch that this replica works on."""
        if self._replicas == 1:
            return batch
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.reshape(batch, (self._replicas, -1))[replica]

    def _sum(self, value: Any) -> tf.Tensor:
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
