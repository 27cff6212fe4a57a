"""Masks and schedules of replicas, on two logical devices: set up before TensorFlow computes, so in another process.

The ranks of a PyTorch training, two processes, draw what the replicas do.
"""

import json
import os
import subprocess
import sys

import pytest
import scipy.stats

import tf_autodropout as tad
from tests.test_other_backends import ROOT, other, python_of

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


RANKS = """
import json
import sys
import keras
import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

import tf_autodropout as tad
from tf_autodropout.layers import pattern_layers

rank, meeting = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=2)
conv, transformer = tad.ConvPattern(size=2), tad.TransformerPattern(size=1, rate=0.5)
found = {}
for pattern, shape, mutable in (
    (conv, (4, 6, 6, 3), False),
    (conv, (4, 6, 6, 3), True),
    (transformer, (4, 12, 5), False),
    (transformer, (4, 12, 5), True),
):
    layer = tad.PatternDropout(pattern, seed=1, mutable=mutable)
    steps = [keras.ops.convert_to_numpy(layer(keras.ops.ones(shape), training=True)) for _ in range(2)]
    found[f"{pattern.TYPE} mutable={mutable}"] = [(step != 0).astype(int).ravel().tolist() for step in steps]

def build():
    layers = keras.layers
    image = keras.Input((6, 6, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.ReLU()(x))))

def loss(model, step):
    x, y = np.random.default_rng((rank, step)).normal(size=(8, 6, 6, 3)), np.arange(8) % 3
    logits = model(torch.tensor(x, dtype=torch.float32), training=True)
    return torch.nn.functional.cross_entropy(logits, torch.tensor(y))

def seeds(model):
    return [[int(word) for word in one.seed_state.numpy()] for here in pattern_layers(model).values() for one in here]

# Weights and seeds are drawn by each process for itself: a wrapped model takes those of rank 0.
model = tad.regularize(build(), tad.ConvPattern(size=2, share_c=True))
parallel = DistributedDataParallel(model)
alone = tad.regularize(build(), tad.ConvPattern(size=2, share_c=True))
optimizer = torch.optim.SGD(parallel.parameters(), 0.1)
found["seeds"], found["losses"] = [seeds(model)], []
for step in range(3):
    alone.set_weights(model.get_weights())
    for one, other in zip(pattern_layers(model).values(), pattern_layers(alone).values()):
        other[0].seed_state.assign(one[0].seed_state)
    for trained in (model, alone):
        trained.zero_grad()
    value = loss(parallel, step)
    value.backward()
    loss(alone, step).backward()
    for one, other in zip(model.trainable_variables, alone.trainable_variables):
        mean = other.value.grad.clone()
        torch.distributed.all_reduce(mean)
        torch.testing.assert_close(one.value.grad, mean / 2)
        assert not torch.equal(mean / 2, other.value.grad) or not mean.any()
    optimizer.step()
    found["losses"].append(float(value))
found["seeds"].append(seeds(model))
found["weights"] = [float(one.value.double().sum()) for one in model.trainable_variables]
print(json.dumps(found))
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def of_replicas():
    """Masks by case, step and replica, and what a schedule dropped by step and replica."""
    run = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def test_replicas_draw_different_masks(of_replicas):
    found = dict(of_replicas)
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


@pytest.mark.parametrize("backend", [other("torch")])
def test_ranks_of_pytorch_draw_the_masks_of_replicas_and_train_together(backend, of_replicas, tmp_path):
    where = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    commands = [[python_of(backend), "-c", RANKS, str(rank), str(tmp_path / "meeting")] for rank in range(2)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=where, **pipes) for command in commands]
    try:
        said = [process.communicate(timeout=300) for process in running]
    finally:
        for process in running:  # one waits for the other
            process.kill()
    for process, (_, errors) in zip(running, said, strict=True):
        assert process.returncode == 0, errors[-3000:]
    found = [json.loads(out.splitlines()[-1]) for out, _ in said]
    for case, steps in of_replicas.items():
        if case != "schedule":
            for step, replicas in enumerate(steps):
                assert [rank[case][step] for rank in found] == replicas, (case, step)
                assert replicas[0] != replicas[1]
    for rank in found:
        first, last = rank["seeds"]
        assert len(first) == 1
        assert [[seed, step + 3] for seed, step in first] == last
    assert found[0]["seeds"] == found[1]["seeds"]
    assert found[0]["weights"] == pytest.approx(found[1]["weights"], abs=1e-12)
    assert found[0]["losses"] != found[1]["losses"]
