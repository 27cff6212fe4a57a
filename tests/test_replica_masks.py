"""Masks and schedules of replicas, on two logical devices: set up before TensorFlow computes, so in another process."""

import json
import subprocess
import sys

import scipy.stats

import tf_autodropout as tad

REPLICAS = """
import json
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tf_autodropout as tad

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
conv, transformer = tad.ConvPattern(size=2), tad.TransformerPattern(size=1, rate=0.5)
found = {}
for pattern, shape, mutable, jit in (
    (conv, (4, 6, 6, 3), False, False),
    (conv, (4, 6, 6, 3), True, True),
    (transformer, (4, 12, 5), False, True),
    (transformer, (4, 12, 5), True, False),
):
    with strategy.scope():
        layer = tad.PatternDropout(pattern, seed=1, mutable=mutable)

    def call():
        return layer(tf.ones(shape), training=True)

    def replica():  # a shared compiled function would be bound to the first replica's variables
        return tf.function(call, jit_compile=True)() if jit else call()

    @tf.function
    def function():
        return strategy.run(replica)

    steps = []
    for _ in range(2):
        values = strategy.experimental_local_results(function())
        steps.append([(value.numpy() != 0).astype(int).ravel().tolist() for value in values])
    found[f"{pattern.TYPE} mutable={mutable}"] = steps

schedule = tad.Schedule.ramp_up(8)
counts = []
with strategy.scope():
    layer = tad.PatternDropout(tad.members.dropout(0.5), seed=1, schedule=schedule)

@tf.function
def dropped():
    return strategy.run(lambda: tf.math.count_nonzero(layer(tf.ones((400, 1, 16)), training=True) == 0))

for _ in range(10):
    counts.append([int(one) for one in strategy.experimental_local_results(dropped())])
found["schedule"] = counts
print(json.dumps(found))
"""


def test_replicas_draw_different_masks():
    run = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    for number, counts in enumerate(found.pop("schedule")):
        rate = 0.5 * tad.Schedule.ramp_up(8)(number)
        assert all(scipy.stats.binomtest(count, 6400, rate).pvalue > 1e-6 for count in counts), (number, counts)
    assert len(found) == 4
    for case, steps in found.items():
        assert [len(step) for step in steps] == [2, 2], case
        masks = {tuple(mask) for step in steps for mask in step}
        assert len(masks) == 4, f"{case}: {len(masks)} different masks of 2 replicas in 2 steps"
    for kind in ("ConvPattern", "TransformerPattern"):  # fixed or mutable, compiled by XLA or not
        assert found[f"{kind} mutable=False"] == found[f"{kind} mutable=True"]
