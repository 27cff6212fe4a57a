"""What stands on TensorFlow says so at once where Keras runs on something else."""

import os
import sys


def check_tensorflow(what: str) -> None:
    """Raises unless Keras runs on TensorFlow; imports neither.

    Args:
        what: What needs it, the subject of the sentence.

    Raises:
        NotImplementedError: Keras runs on another backend.
    """
    keras = sys.modules.get("keras")
    name = keras.backend.backend() if keras is not None else os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name != "tensorflow":
        raise NotImplementedError(
            f"{what} runs on TensorFlow only, and Keras runs on '{name}' here. Set KERAS_BACKEND=tensorflow before "
            "Keras is imported; what comes out, PatternSets and .keras files, serves every backend."
        )
