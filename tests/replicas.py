"""A small child for tests of strategies; run as a script, it trains under one and prints what came out as JSON.

`python -m tests.replicas mirrored 2`: on 2 logical devices; `multiworker 1`: with `TF_CONFIG` in the environment.
Logical devices and collectives are set up before TensorFlow computes anything, so each needs a process of its own.
"""

import json
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_autodropout.layers import PatternDropout
from tf_autodropout.patterns import PatternSet, TransformerPattern
from tf_autodropout.search.children.child import Child, Split
from tf_autodropout.search.children.strategy import make_strategy

STEPS, BATCH = 20, 16
NOTHING = PatternSet({})
HALF = PatternSet({"site": TransformerPattern(size=1, rate=0.5)})


def small_child(jit_compile: bool, same_inputs: bool = False) -> Child:
    """A child without statistics across examples: there every replica has its own, and no two devices would agree."""
    keras.utils.set_random_seed(0)  # the same initial weights in every process
    rng = np.random.default_rng(0)
    x = tf.constant(np.ones((64, 4, 6)) if same_inputs else rng.normal(size=(64, 4, 6)), tf.float32)
    y = tf.constant(np.zeros((64, 4)) if same_inputs else rng.integers(0, 3, (64, 4)), tf.int32)
    inputs = keras.Input((4, 6))
    h = keras.layers.LayerNormalization()(keras.layers.Dense(8, "gelu", kernel_regularizer="l2")(inputs))
    h = PatternDropout(TransformerPattern(), seed=0, site="site", mutable=True)(h)
    return Child(
        keras.Model(inputs, keras.layers.Dense(3)(h)),
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, STEPS), global_clipnorm=0.5),
        tf.nn.sparse_softmax_cross_entropy_with_logits,
        Split(lambda index: (tf.gather(x, index), tf.gather(y, index)), 64),
        STEPS,
        BATCH,
        steps_per_call=5,
        jit_compile=jit_compile,
    )


def trained(child: Child, patterns: PatternSet) -> dict[str, Any]:
    """Curve, weights and evaluation after one trial."""
    child.reset(patterns, 1)
    curve = child.train()
    weights = np.concatenate([np.ravel(v.numpy()) for v in child.model.trainable_variables])

    def loss(targets: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits), -1)}

    return {"curve": curve, "weights": weights.tolist(), **child.evaluate(child._train, loss, 50)}


def own_gradients(child: Child, patterns: PatternSet) -> list[list[float]]:
    """The last layer's gradient on each replica of this process, before the sum."""
    strategy = tf.distribute.get_strategy()
    child.reset(patterns, 1)
    gradients, _ = tf.function(lambda: strategy.run(child._gradients, (tf.constant(0),)))()
    return [np.ravel(value.numpy()).tolist() for value in strategy.experimental_local_results(gradients[-2])]


def report(strategy: tf.distribute.Strategy, jit_compile: bool) -> dict[str, Any]:
    """What the tests look at."""
    with strategy.scope():
        child, alike = small_child(jit_compile), small_child(jit_compile=False, same_inputs=True)
        return {
            "replicas": strategy.num_replicas_in_sync,
            "none": trained(child, NOTHING),
            "half": trained(child, HALF),
            "traces": child.traces,
            "gradients": {"none": own_gradients(alike, NOTHING), "half": own_gradients(alike, HALF)},
        }


def main() -> None:
    """Prints the report of one strategy."""
    name, devices = sys.argv[1], int(sys.argv[2])
    if devices > 1:
        logical = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
    print(json.dumps(report(make_strategy(name), jit_compile=devices == 2)))


if __name__ == "__main__":
    main()
