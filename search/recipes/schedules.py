"""Learning rates that Keras does not have."""

import math
from typing import Any

import keras
from keras import ops

from tf_autodropout.layers.registration import registered


@registered
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a straight line to what another schedule gives, which then goes on as if it had begun at step 0.

    Args:
        schedule: The schedule, or its config.
        steps: Steps of the rise; 0 for none.

    Example:
        >>> import keras
        >>> from tf_autodropout.search.recipes.schedules import WarmUp
        >>> rate = WarmUp(keras.optimizers.schedules.PiecewiseConstantDecay([20], [0.5, 0.25]), 10)
        >>> [float(rate(step)) for step in (0, 5, 10, 30)]
        [0.0, 0.25, 0.5, 0.25]

    Reference:
        Goyal et al., Accurate, Large Minibatch SGD, 2017, Section 2.2.
    """

    def __init__(self, schedule: Any, steps: int) -> None:
        is_config = isinstance(schedule, dict)
        self.schedule = keras.optimizers.schedules.deserialize(schedule) if is_config else schedule
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        rate = self.schedule(step)
        return rate * ops.minimum(1.0, ops.cast(step, rate.dtype) / max(self.steps, 1)) if self.steps else rate

    def get_config(self) -> dict[str, Any]:
        return {"schedule": keras.optimizers.schedules.serialize(self.schedule), "steps": self.steps}


@registered
class PartialCosine(keras.optimizers.schedules.LearningRateSchedule):
    """`rate * cos(7/8 * pi/2 * progress)`: the part of a cosine that ends at a fifth of the rate.

    Args:
        rate: At step 0.
        steps: Steps of the training.

    Example:
        >>> from tf_autodropout.search.recipes.schedules import PartialCosine
        >>> [round(float(PartialCosine(0.03, 100)(step)), 4) for step in (0, 100)]
        [0.03, 0.0059]

    Reference:
        google-research/uda@960684e, `image/main.py`; Sohn et al., FixMatch, NeurIPS 2020, Section 2.
    """

    def __init__(self, rate: float, steps: int) -> None:
        self.rate, self.steps = rate, steps

    def __call__(self, step: Any) -> Any:
        progress = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0)
        return self.rate * ops.cos(7 / 8 * math.pi / 2 * progress)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "steps": self.steps}


@registered
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a straight line to a peak, then falls with the square root of the step.

    Args:
        peak: Rate at the end of the warm-up.
        warmup: Steps of the rise, at least 1.

    Example:
        >>> from tf_autodropout.search.recipes.schedules import InverseSquareRoot
        >>> [float(InverseSquareRoot(1.0, 100)(step)) for step in (50, 100, 400)]
        [0.5, 1.0, 0.5]

    Reference:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017, Equation 3, up to its factor.
    """

    def __init__(self, peak: float, warmup: int) -> None:
        self.peak, self.warmup = peak, warmup

    def __call__(self, step: Any) -> Any:
        step = ops.maximum(ops.cast(step, "float32"), 1e-6)
        return self.peak * ops.minimum(step / self.warmup, ops.sqrt(self.warmup / step))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup}
