"""What a search maximizes: a metric of `evaluate`, its direction, and the reward made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tf_autodropout.patterns.checks import invalid

_VALID = "val_"
_LARGER_IS_BETTER = (
    *("acc", "auc", "precision", "recall", "sensitivity", "specificity", "f1", "fbeta", "f_score", "iou", "dice"),
    *("r2", "cosine_similarity", "bleu", "rouge", "true_positives", "true_negatives"),
)
_SMALLER_IS_BETTER = (
    *("loss", "error", "mse", "mae", "mape", "msle", "rmse", "crossentropy", "entropy", "divergence", "perplexity"),
    *("hinge", "poisson", "cosh", "huber", "false_positives", "false_negatives", "edit_distance"),
)


@dataclass(frozen=True)
class Objective:
    """A metric with its direction.

    Args:
        metric: Name of a metric of `model.evaluate`, without `val_`.
        smaller_is_better: Its direction.

    Example:
        >>> from tf_autodropout.search.tasks.objective import Objective
        >>> Objective.of("val_accuracy", ["loss", "accuracy"]).reward(0.75)
        0.75
        >>> Objective.of("val_loss", ["loss"]).reward(3.0)
        0.25
    """

    metric: str
    smaller_is_better: bool

    @classmethod
    def of(cls, objective: str | tuple[str, str] | None, metrics: Sequence[str]) -> "Objective":
        """Makes the objective from what the user says.

        Args:
            objective: `"val_accuracy"`; a pair with the direction, `("val_score", "max")`; None for the first metric,
                or the loss if there is none.
            metrics: Names of what `model.evaluate` returns, the one that the user named first before the others.

        Raises:
            ValueError: a metric that the model does not have, a direction that its name does not tell.
        """
        direction = None
        if isinstance(objective, tuple | list):
            if len(objective) != 2 or objective[1] not in ("max", "min"):
                raise invalid("objective", "a name, or a name with 'max' or 'min'", objective)
            objective, direction = objective
        if objective is None:
            objective = next((name for name in metrics if name != "loss" and not name.endswith("_loss")), "loss")
        if not isinstance(objective, str) or objective.removeprefix(_VALID) not in metrics:
            known = ", ".join(_VALID + name for name in metrics)
            raise invalid("objective", f"one of {known}, the metrics of the compiled model", objective)
        name = objective.removeprefix(_VALID)
        if direction is None:
            direction = _direction(name)
        return cls(name, direction == "min")

    def reward(self, value: float) -> float:
        """Returns the reward: at least 0, more is better.

        The value itself where larger is better; else `1 / (1 + value)`, and `1 - value` below 0: in the same order, and
        never too large or too small for a number.
        """
        if not self.smaller_is_better:
            return max(0.0, value)
        return 1 / (1 + value) if value > 0 else 1 - value


def _direction(name: str) -> str:
    larger, smaller = (any(word in name.lower() for word in words) for words in (_LARGER_IS_BETTER, _SMALLER_IS_BETTER))
    if larger == smaller:
        raise ValueError(
            f"Invalid value for 'objective'. Whether a larger '{name}' is better cannot be told from its name: "
            f"say objective=('val_{name}', 'max') or ('val_{name}', 'min')."
        )
    return "max" if larger else "min"


def first_metric_first(names: Sequence[str], compile_config: Any) -> list[str]:
    """Returns the names with the metric in front that a model was compiled with first."""
    metrics = (compile_config or {}).get("metrics") or [None]
    first = metrics[0] if isinstance(metrics, list) else None
    if isinstance(first, dict):
        first = first.get("config", {}).get("name")
    found = [name for name in names if isinstance(first, str) and name in (first, {"acc": "accuracy"}.get(first))]
    return [*found, *(name for name in names if name not in found)]
