"""UDA: a classifier that must answer alike on an unlabelled image and on its augmented copy."""

from typing import Any

import keras
from keras import ops

LABELLED, ORIGINAL, AUGMENTED = "labelled", "original", "augmented"
TSA = ("linear", "log", "exp")


def consistency_loss(original: Any, augmented: Any, temperature: float = 1.0, threshold: float = 0.0) -> Any:
    """Returns UDA's loss of unlabelled examples, one each.

    `KL(p || q)` with `p` the prediction on the original, sharpened by `temperature` and without gradient, and `q`
    the one on the augmented copy; 0 where the original's largest probability is at most `threshold`.

    Args:
        original: Logits `(N, classes)`.
        augmented: Logits `(N, classes)`.
        temperature: Above 0; below 1 sharpens.
        threshold: Confidence, before sharpening.

    Returns:
        `(N,)`. UDA takes the mean over all examples, those below the threshold included.

    Example:
        >>> import numpy as np
        >>> from tf_autodropout.search.recipes.uda import consistency_loss
        >>> logits = np.array([[4.0, 0.0], [0.1, 0.0]], np.float32)
        >>> [round(float(loss), 3) for loss in consistency_loss(logits, -logits, threshold=0.8)]
        [3.856, 0.0]

    Reference:
        Xie et al., Unsupervised Data Augmentation for Consistency Training, NeurIPS 2020, Equation 1 and Section 2.4.
    """
    original = ops.stop_gradient(ops.cast(original, "float32"))
    sharp = ops.log_softmax(original / temperature)
    divergence = ops.sum(ops.exp(sharp) * (sharp - ops.log_softmax(ops.cast(augmented, "float32"))), -1)
    confident = ops.max(ops.softmax(original), -1) > threshold
    return divergence * ops.cast(confident, divergence.dtype)


def tsa_threshold(schedule: str, progress: Any, num_classes: int) -> Any:
    """Returns the probability above which training signal annealing leaves a labelled example out.

    Args:
        schedule: `"linear"`, `"log"` or `"exp"`.
        progress: Share of the steps done, 0 to 1.
        num_classes: Number of classes; the threshold rises from one over it to 1.

    Example:
        >>> from tf_autodropout.search.recipes.uda import tsa_threshold
        >>> [round(float(tsa_threshold("linear", share, 10)), 2) for share in (0.0, 0.5, 1.0)]
        [0.1, 0.55, 1.0]

    Reference:
        Xie et al., NeurIPS 2020, Section 2.4 ("TSA"; off in the authors' recipe for CIFAR-10).
    """
    share = {
        "linear": progress,
        "log": 1 - ops.exp(-5.0 * progress),
        "exp": ops.exp(5.0 * (progress - 1)),
    }[schedule]
    return share * (1 - 1 / num_classes) + 1 / num_classes


class UDA(keras.Model):
    """Trains a classifier with UDA by plain `fit`; evaluates and predicts as the classifier.

    Training inputs are a dictionary `labelled` `(N, ...)`, `original` `(M, ...)` and `augmented` `(M, ...)`; targets
    are those of the labelled images. All three run through the network in one batch, as in the authors' code, so
    that batch normalization sees them together.

    Args:
        network: The classifier, images in, logits out.
        weight: Of the unlabelled loss.
        temperature: See `consistency_loss`.
        threshold: See `consistency_loss`.
        tsa: Schedule of training signal annealing, None for off.
        steps: Steps of the training; needed for annealing.

    Raises:
        ValueError: an unknown schedule.

    Example:
        >>> import keras, numpy as np, tf_autodropout as tad
        >>> from tf_autodropout.search.recipes.uda import UDA
        >>> model = UDA(tad.models.wide_resnet(10, 1, (8, 8, 3)), temperature=0.4, threshold=0.8)
        >>> model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
        >>> x, y = np.zeros((2, 8, 8, 3), "float32"), np.eye(10, dtype="float32")[:2]
        >>> history = model.fit({"labelled": x, "original": x, "augmented": x}, y, verbose=0)

    Reference:
        Xie et al., Unsupervised Data Augmentation for Consistency Training, NeurIPS 2020; google-research/uda@960684e.
    """

    def __init__(
        self,
        network: keras.Model,
        weight: float = 1.0,
        temperature: float = 1.0,
        threshold: float = 0.0,
        tsa: str | None = None,
        steps: int = 1,
    ) -> None:
        super().__init__(name=f"{network.name}_uda")
        if tsa is not None and tsa not in TSA:
            raise ValueError(
                f"Invalid value for 'tsa'. Expected one of {', '.join(TSA)} or None. Received: tsa={tsa!r}"
            )
        self.network, self.weight, self.tsa, self.steps = network, weight, tsa, steps
        self.temperature, self.threshold = temperature, threshold
        self.built = True  # as the network: a checkpoint can be loaded before the first step

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not isinstance(inputs, dict):
            return self.network(inputs, training=training)
        if not training:
            return self.network(inputs[LABELLED], training=False)
        parts = [inputs[name] for name in (LABELLED, ORIGINAL, AUGMENTED)]
        logits = self.network(ops.concatenate(parts, 0), training=True)
        labelled, unlabelled = ops.shape(parts[0])[0], ops.shape(parts[1])[0]
        original, augmented = logits[labelled : labelled + unlabelled], logits[labelled + unlabelled :]
        losses = consistency_loss(original, augmented, self.temperature, self.threshold)
        self.add_loss(self.weight * ops.mean(losses))
        return logits[:labelled]

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The supervised loss, of the examples that annealing keeps, and the unlabelled one."""
        if self.tsa and training:
            progress = ops.minimum(ops.cast(self.optimizer.iterations, "float32") / self.steps, 1.0)
            right = ops.sum(ops.softmax(ops.cast(y_pred, "float32")) * ops.cast(y, "float32"), -1)
            kept = ops.cast(right < tsa_threshold(self.tsa, progress, y_pred.shape[-1]), "float32")
            # A mean over those kept: Keras divides by the size of the batch.
            count = ops.maximum(ops.sum(kept), 1.0)
            sample_weight = kept * ops.cast(ops.shape(kept)[0], "float32") / count
        return super().compute_loss(x, y, y_pred, sample_weight, training)
