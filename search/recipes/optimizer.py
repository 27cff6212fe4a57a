"""The optimizer of a recipe."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.patterns.checks import invalid
from tf_autodropout.search.recipes.schedules import InverseSquareRoot, PartialCosine, WarmUp

_schedules = keras.optimizers.schedules


def make_schedule(plan: Mapping[str, Any]) -> Any:
    """Returns the learning rate over the steps.

    Args:
        plan: `schedule` (`cosine`, `steps`, `exponential`, `partial_cosine`, `inverse_square_root`), `learning_rate`
            at its peak, `steps` in all and, where the schedule has them, `warmup`, the share of the steps that warms
            up, `drops`, shares of the steps after which the rate is multiplied by `drop`, `decay_every`, a share.

    Raises:
        ValueError: an unknown schedule.
    """
    kind, rate, steps = plan["schedule"], plan["learning_rate"], plan["steps"]
    warmup = int(plan.get("warmup", 0) * steps)
    if kind == "cosine":
        if not warmup:
            return _schedules.CosineDecay(rate, steps)
        return _schedules.CosineDecay(0.0, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup)
    if kind == "steps":
        drops = plan["drops"]
        values = [rate * plan["drop"] ** number for number in range(len(drops) + 1)]
        return WarmUp(_schedules.PiecewiseConstantDecay([max(1, int(at * steps)) for at in drops], values), warmup)
    if kind == "exponential":
        every = max(1, int(plan["decay_every"] * steps))
        return WarmUp(_schedules.ExponentialDecay(rate, every, plan["drop"], staircase=True), warmup)
    if kind == "partial_cosine":
        return PartialCosine(rate, steps)
    if kind == "inverse_square_root":
        return InverseSquareRoot(rate, max(1, warmup))
    raise invalid("schedule", "cosine, steps, exponential, partial_cosine or inverse_square_root", kind)


def make_optimizer(plan: Mapping[str, Any]) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a plan, with clipping, weight decay and the average of the weights as it says.

    Args:
        plan: As for `make_schedule`, and `optimizer` (`sgd` with Nesterov momentum, `momentum`, `rmsprop`, `adam`)
            with `momentum` (SGD, RMSProp), `rho` (RMSProp), `beta_2` (Adam), `epsilon`; `clip_norm`, of all gradients
            together; `ema`, the momentum of the weights' average, which takes their place when `fit` ends;
            `decoupled_decay` (Adam). `weight_decay` of the ConvNets is an L2 loss of the network, not the optimizer's.

    Raises:
        ValueError: an unknown optimizer.
    """
    common: dict[str, Any] = {"global_clipnorm": plan.get("clip_norm"), "weight_decay": plan.get("decoupled_decay")}
    if plan.get("ema"):
        common |= {"use_ema": True, "ema_momentum": plan["ema"]}
    rate, kind = make_schedule(plan), plan["optimizer"]
    if kind in ("sgd", "momentum"):
        return keras.optimizers.SGD(rate, momentum=plan["momentum"], nesterov=kind == "sgd", **common)
    if kind == "rmsprop":
        return keras.optimizers.RMSprop(
            rate, rho=plan["rho"], momentum=plan["momentum"], epsilon=plan["epsilon"], **common
        )
    if kind == "adam":
        return keras.optimizers.Adam(
            rate, beta_2=plan.get("beta_2", 0.999), epsilon=plan.get("epsilon", 1e-7), **common
        )
    raise invalid("optimizer", "sgd, momentum, rmsprop or adam", kind)
