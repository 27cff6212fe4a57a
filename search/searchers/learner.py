"""The update: REINFORCE with a moving-average baseline and importance weights (Eq. 2 and 3)."""

import io
import math
from collections.abc import Sequence
from dataclasses import asdict

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.search.searchers.controller import Controller
from tf_autodropout.search.searchers.learner_config import LearnerConfig

_LARGEST_LOG_RATIO = 30.0  # without a limit of the weights: their squares must stay within float32
_REPLAYED = ("replayed_tokens", "replayed_log_prob", "replayed_rewards")
_ROUNDING = 1e-3  # of a ratio of two log-probabilities of some hundred tokens


def importance_weights(log_prob: tf.Tensor, behaviour_log_prob: tf.Tensor, ratio_clip: float = 0.0) -> tf.Tensor:
    """Returns `P(r; theta) / P(r; theta_i)`, the weights of Eq. 3, without gradient.

    Args:
        log_prob: Log-probability of each trial under the weights of now, `(M,)`.
        behaviour_log_prob: Under the weights that suggested it, `(M,)`.
        ratio_clip: Upper limit of a weight; 0 for none but the range of float32.
    """
    limit = math.log(ratio_clip) if ratio_clip else _LARGEST_LOG_RATIO
    return tf.exp(tf.minimum(tf.stop_gradient(log_prob) - behaviour_log_prob, limit))


def policy_loss(log_prob: tf.Tensor, weights: tf.Tensor, advantages: tf.Tensor) -> tf.Tensor:
    """Returns the scalar whose negative gradient is Eq. 3, and Eq. 2 where all weights are 1.

    `-(1/M) sum_i  w_i (R_i - b) log P(r_i; theta)`, since the gradient of a ratio of probabilities
    is the ratio times the gradient of the log-probability.
    """
    return -tf.reduce_mean(weights * advantages * log_prob)


class Learner:
    """Updates a controller from batches of finished trials.

    Args:
        controller: The policy.
        config: Settings of the update.

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, Equations 2 and 3; Williams, Simple Statistical
        Gradient-Following Algorithms, Machine Learning 1992.
    """

    def __init__(self, controller: Controller, config: LearnerConfig | None = None) -> None:
        self.controller, self.config = controller, config or LearnerConfig()
        bias = controller.bias
        weights = [variable for variable in controller.trainable_variables if variable is not bias]
        rates = (self.config.learning_rate, self.config.bias_learning_rate or self.config.learning_rate)
        self._optimizers = [
            (keras.optimizers.Adam(rate), group) for rate, group in zip(rates, (weights, [bias]), strict=True)
        ]
        for optimizer, variables in self._optimizers:
            optimizer.build(variables)
        self._baseline: float | None = None
        self._variance = 0.0
        self._replayed: list[np.ndarray] = [np.zeros(0)] * 3  # tokens, behaviour log-probabilities and rewards
        self._step = tf.function(self._gradient_step, jit_compile=True)

    @property
    def baseline(self) -> float | None:
        """The moving average of the rewards; None before the first update."""
        return self._baseline

    def update(
        self, tokens: Sequence[Sequence[int]], behaviour_log_prob: Sequence[float], rewards: Sequence[float]
    ) -> dict[str, float]:
        """Makes one update.

        Args:
            tokens: M sequences of L tokens.
            behaviour_log_prob: Log-probability of each when it was suggested.
            rewards: Reward of each.

        Returns:
            What to log: baseline, mean reward, entropy, gradient norm, effective sample size, largest
            importance weight and the fraction of weights that `ratio_clip` has lowered.

        Raises:
            ValueError: lengths differ, or a number is not finite.
        """
        if not len(tokens) == len(behaviour_log_prob) == len(rewards) > 0:
            raise ValueError(
                "Expected as many tokens as log-probabilities and rewards. "
                f"Received: {len(tokens)}, {len(behaviour_log_prob)} and {len(rewards)}"
            )
        r = np.asarray(rewards, np.float64)
        if not np.isfinite(r).all() or not np.isfinite(behaviour_log_prob).all():
            raise ValueError("Expected finite rewards and log-probabilities.")
        # The first batch is its own baseline; later ones are compared with the past alone.
        baseline = float(r.mean()) if self._baseline is None else self._baseline
        spread = float(np.mean((r - baseline) ** 2))
        decay = self.config.baseline_decay
        self._variance = spread if self._baseline is None else decay * self._variance + (1 - decay) * spread
        scale = math.sqrt(self._variance) if self.config.scale_advantages and self._variance > 0 else 1.0
        seen = [np.asarray(tokens), np.asarray(behaviour_log_prob, float), r]  # the newest last
        seen = [np.concatenate([old, new]) if len(old) else new for old, new in zip(self._replayed, seen, strict=True)]
        # As many rows at every update, so that it compiles once: those that fill up have no advantage.
        rows, used = len(r) + self.config.replay, len(seen[0])
        filled = [np.concatenate([one, np.repeat(one[:1], rows - used, 0)]) for one in seen]
        advantages = np.where(np.arange(rows) < used, (filled[2] - baseline) / scale * rows / used, 0.0)
        for _ in range(self.config.epochs):
            entropy, norm, weights, clipped = self._step(
                tf.constant(filled[0], tf.int32),
                tf.constant(filled[1], tf.float32),
                tf.constant(advantages, tf.float32),
            )
        self._replayed = [one[max(0, used - self.config.replay) :] for one in seen]
        w, lowered = (one.numpy()[:used].astype(np.float64) for one in (weights, clipped))
        self._baseline = decay * baseline + (1 - decay) * float(r.mean())
        return {
            "baseline": self._baseline,
            "mean_reward": float(r.mean()),
            "entropy_per_token": float(entropy),
            "gradient_norm": float(norm),
            "effective_sample_size": float(w.sum() ** 2 / np.sum(w**2)) if w.any() else 0.0,
            "largest_weight": float(w.max()),
            "clipped_fraction": float(lowered.mean()),
        }

    def state(self) -> bytes:
        """Returns weights, optimizer slots and moving averages, to go on with elsewhere."""
        moving = np.array([np.nan if self._baseline is None else self._baseline, self._variance])
        arrays = {f"v{i}": variable.numpy() for i, variable in enumerate(self._variables())}
        if self.config.replay:
            arrays |= dict(zip(_REPLAYED, self._replayed, strict=True))
        buffer = io.BytesIO()
        np.savez(buffer, moving=moving, **arrays)
        return buffer.getvalue()

    def restore(self, state: bytes) -> None:
        """Goes back to what `state` returned.

        Raises:
            ValueError: the state is of another controller.
        """
        with np.load(io.BytesIO(state)) as arrays:
            variables = self._variables()
            replayed = _REPLAYED if self.config.replay else ()
            if set(arrays.files) != {"moving", *replayed, *(f"v{i}" for i in range(len(variables)))}:
                raise ValueError("The stored state belongs to another controller.")
            for i, variable in enumerate(variables):
                variable.assign(arrays[f"v{i}"])
            self._replayed = [arrays[name] for name in replayed] or [np.zeros(0)] * 3
            baseline, self._variance = (float(value) for value in arrays["moving"])
        self._baseline = None if np.isnan(baseline) else baseline

    def describe(self) -> dict[str, float | bool]:
        """Returns the settings, to be reported with every result."""
        return asdict(self.config)

    def _variables(self) -> list[keras.Variable]:
        slots = [variable for optimizer, _ in self._optimizers for variable in optimizer.variables]
        return [*self.controller.variables, *slots]

    def _gradient_step(
        self, tokens: tf.Tensor, behaviour_log_prob: tf.Tensor, advantages: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        groups = [variables for _, variables in self._optimizers]
        with tf.GradientTape() as tape:
            log_prob, entropy = self.controller.log_prob_and_entropy(tokens)  # (M,), (M,)
            weights = importance_weights(log_prob, behaviour_log_prob, self.config.ratio_clip)
            per_token = tf.reduce_mean(entropy) / tf.cast(tf.shape(tokens)[1], tf.float32)
            loss = policy_loss(log_prob, weights, advantages) - self.config.entropy_bonus * per_token
        gradients = tape.gradient(loss, groups, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        for (optimizer, variables), gradient in zip(self._optimizers, gradients, strict=True):
            optimizer.apply(gradient, variables)
        # A fresh trial's weight is 1 but for rounding: that is not clipped.
        lowered = importance_weights(log_prob, behaviour_log_prob) > weights * (1 + _ROUNDING)
        return per_token, tf.linalg.global_norm([*gradients[0], *gradients[1]]), weights, tf.cast(lowered, tf.float32)
