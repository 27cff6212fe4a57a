"""Settings of the update, without TensorFlow."""

from dataclasses import dataclass

from tf_autodropout.patterns.checks import check_bool, check_float, check_int


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of the update. Those marked "ours" are extensions: 0 or False switches them off.

    Args:
        learning_rate: Of Adam.
        bias_learning_rate: Ours: of Adam for the bias of each decision, which acts on one token
            where a weight of the Transformer acts on all; 0 for `learning_rate`.
        baseline_decay: Weight of the past in the moving average of the rewards, per update.
        scale_advantages: Ours: divide advantages by the moving standard deviation of the rewards.
        entropy_bonus: Ours: weight of the mean entropy per token, added to the objective.
        ratio_clip: Ours: upper limit of the importance weights; 0 for none. One weight of many orders
            of magnitude fills Adam's moments and spoils the updates after it.
        epochs: Ours: gradient steps of an update, 1 in the paper; from the second on its trials are off-policy, which
            the importance weights correct.
        replay: Ours: number of the newest earlier trials that every gradient step sees again, 0 for none.

    Raises:
        ValueError: something that is not a number, or one out of range.
    """

    learning_rate: float = 0.001
    bias_learning_rate: float = 0.3
    baseline_decay: float = 0.5
    scale_advantages: bool = True
    entropy_bonus: float = 0.0
    ratio_clip: float = 1.0
    epochs: int = 1
    replay: int = 0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "bias_learning_rate", "baseline_decay", "entropy_bonus", "ratio_clip"):
            check_float(name, getattr(self, name))
        check_bool("scale_advantages", self.scale_advantages)
        if not self.learning_rate > 0:
            raise ValueError(f"Invalid value for 'learning_rate'. Expected > 0. Received: {self.learning_rate!r}")
        if not 0 <= self.baseline_decay < 1:
            raise ValueError(f"Invalid value for 'baseline_decay'. Expected 0 to 1. Received: {self.baseline_decay!r}")
        check_int("epochs", self.epochs, 1)
        check_int("replay", self.replay, 0)
        for name in ("bias_learning_rate", "entropy_bonus", "ratio_clip"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Invalid value for '{name}'. Expected >= 0. Received: {getattr(self, name)!r}")
