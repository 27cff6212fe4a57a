"""The `tf.distribute` strategy that a child trains under, by name. Brings TensorFlow only when asked for one."""

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

STRATEGIES = ("default", "auto", "tpu", "mirrored", "multiworker")
PRECISIONS = ("float32", "bfloat16")


def make_strategy(name: str) -> "tf.distribute.Strategy":
    """Makes a strategy; TensorFlow must not have computed anything before in this process.

    Args:
        name: `"default"`: one device. `"mirrored"`: all GPUs of this machine, or all logical CPUs if it has
            none. `"multiworker"`: all processes named in the environment variable `TF_CONFIG`. `"tpu"`: all
            TPU cores of this machine, or of the TPU named in `TPU_NAME` (not run on a TPU). `"auto"`:
            multiworker, tpu, mirrored or default, the first that is there.

    Raises:
        ValueError: an unknown name, no `TF_CONFIG`, no TPU.

    Example:
        >>> from tf_autodropout.search.children.strategy import make_strategy
        >>> make_strategy("mirrored").num_replicas_in_sync
        1
    """
    import tensorflow as tf

    if name not in STRATEGIES:
        raise ValueError(f"Invalid value for 'strategy'. Expected one of {', '.join(STRATEGIES)}. Received: {name!r}")
    if name == "auto":
        name = _what_is_there()
    if name == "tpu":
        return _tpu_strategy()
    if name == "multiworker":
        if not _is_multi_worker():
            raise ValueError("Strategy 'multiworker' needs the environment variable TF_CONFIG with two workers or more")
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def _what_is_there() -> str:
    import tensorflow as tf

    if _is_multi_worker():
        return "multiworker"
    if os.environ.get("TPU_NAME") or tf.config.list_physical_devices("TPU"):
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "default"


def follows(name: str) -> bool:
    """Whether this process trains along with another one that leads: strategy multiworker, but not its first worker.

    Args:
        name: Name of the strategy.
    """
    if name not in ("auto", "multiworker") or not _is_multi_worker():
        return False
    config = json.loads(os.environ["TF_CONFIG"])
    first = "chief" if "chief" in config["cluster"] else "worker"
    return (config["task"]["type"], int(config["task"]["index"])) != (first, 0)


def _is_multi_worker() -> bool:
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    return sum(len(hosts) for job, hosts in cluster.items() if job in ("chief", "worker")) > 1


def _tpu_strategy() -> "tf.distribute.Strategy":
    """Not run on a TPU; the steps are those of TensorFlow's guide to TPUs."""
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=os.environ.get("TPU_NAME") or "local")
        tf.config.experimental_connect_to_cluster(resolver)  # does nothing for a local TPU
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ValueError(f"Strategy 'tpu' found no TPU ({reason})") from error
    return tf.distribute.TPUStrategy(resolver)
