"""A child under tf.distribute strategies: on logical CPU devices and in two processes."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.replicas import HALF, NOTHING, STEPS, small_child, trained
from tf_autodropout.search import EngineConfig, run
from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.children.strategy import STRATEGIES, follows, make_strategy
from tf_autodropout.search.tasks.pydoc import pydoc_task
from tf_autodropout.search.terminal import cli

ROOT = Path(__file__).parents[1]


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=quiet, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def output(process: subprocess.Popen[str]) -> str:
    try:
        out, error = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, error[-3000:]
    return out


def two_processes(*arguments: str) -> list[subprocess.Popen[str]]:
    """Starts the same command as two workers of one cluster."""
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    configs = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}} for i in range(2)]
    return [start(*arguments, TF_CONFIG=json.dumps(config)) for config in configs]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    child = small_child(jit_compile=False)
    return {"none": trained(child, NOTHING), "half": trained(child, HALF)}


def check(report: dict[str, Any], alone: dict[str, Any], replicas: int) -> None:
    assert report["replicas"] == replicas
    assert report["traces"] == 1
    # Without dropout: 20 steps are those of one device. A Dense stack with LayerNormalization, as batch statistics
    # belong to each replica; L2 and a clipped gradient norm, as both go wrong if the sum is scaled in the wrong place.
    assert len(report["none"]["curve"]) * 5 == STEPS
    for key in ("curve", "weights", "loss"):
        np.testing.assert_allclose(report["none"][key], alone["none"][key], atol=1e-4)
    # With dropout the masks are others than on one device, so the curve is too.
    assert np.abs(np.subtract(report["half"]["curve"], alone["half"]["curve"])).max() > 1e-3


def check_masks(none: list[list[float]], half: list[list[float]]) -> None:
    """All examples are alike: only masks can make the gradients of replicas differ."""
    for gradient in none[1:]:
        np.testing.assert_allclose(gradient, none[0], atol=1e-7)
    for index, gradient in enumerate(half):
        assert all(np.abs(np.subtract(gradient, other)).max() > 1e-5 for other in half[:index])


def test_two_logical_devices_equal_one(alone: dict[str, Any]) -> None:
    report = json.loads(output(start("-m", "tests.replicas", "mirrored", "2")))
    check(report, alone, replicas=2)
    check_masks(**report["gradients"])


@pytest.mark.slow
def test_eight_logical_devices_equal_one(alone: dict[str, Any]) -> None:
    report = json.loads(output(start("-m", "tests.replicas", "mirrored", "8")))
    check(report, alone, replicas=8)
    check_masks(**report["gradients"])


@pytest.mark.slow
def test_two_processes_equal_one(alone: dict[str, Any]) -> None:
    reports = [json.loads(output(process)) for process in two_processes("-m", "tests.replicas", "multiworker", "1")]
    for report in reports:
        check(report, alone, replicas=2)
    assert reports[0]["half"] == reports[1]["half"]
    gradients = {name: [report["gradients"][name][0] for report in reports] for name in ("none", "half")}
    check_masks(**gradients)


DIGITS = """
import sys
import tensorflow as tf
if sys.argv[1] == "mirrored":
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.tasks.digits import digits_task
placement = Placement(sys.argv[1])
assert placement.made.num_replicas_in_sync == 2
with placement.scope():
    print(digits_task(steps=100).train(PatternSet({}), seed=1).reward)
"""


@pytest.mark.slow
def test_digits_learns_on_two_logical_devices() -> None:
    assert float(output(start("-c", DIGITS, "mirrored"))) > 0.8


@pytest.mark.slow
def test_digits_is_searched_by_two_processes(tmp_path: Path) -> None:
    command = ["search", "digits", "--trials", "2", "--steps", "20", "--finalists", "1"]
    command += ["--trial-zero", "--tuning", "4", "--fresh-seeds", "1"]  # all that is trained, in both of them
    where = ["--strategy", "multiworker", "--out", str(tmp_path / "run")]
    leading, following = map(output, two_processes("-m", "tf_autodropout.search", *command, *where))
    assert "trials: 2 finished" in leading
    assert all(line in leading for line in ("Dropout(0.1)", "DropBlock(0.1)", "TrivialPattern", "random PatternSets"))
    assert "the search has ended" in following
    assert (tmp_path / "run" / "best.json").exists()


OWN = """
import sys
import tensorflow as tf
if sys.argv[1] == "mirrored":
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
import keras
import numpy as np
from tests.own_models import CLASSES, SIDE, compiled, in_order
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.children.placement import Placement
from tf_autodropout.search.tasks.model_task import ModelTask

def build():
    image = keras.Input((SIDE, SIDE, 2))  # no statistics across examples: each replica has its own
    h = keras.layers.LayerNormalization()(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.Dense(CLASSES)(keras.layers.GlobalAveragePooling2D()(h)))
    return compiled(model, keras.optimizers.SGD(0.1))

placement = Placement(sys.argv[1])
placement.prepare()
with placement.scope():
    task = ModelTask(build, in_order, validation_data=in_order, objective="val_loss", epochs=3)
    print(placement.made.num_replicas_in_sync, task.train(PatternSet({}), 1).metrics["val_loss"])
"""


@pytest.mark.slow
def test_an_own_model_on_streaming_input_is_the_same_on_two_logical_devices() -> None:
    replicas, losses = zip(*(output(start("-c", OWN, name)).split() for name in ("default", "mirrored")), strict=True)
    assert replicas == ("1", "2")
    assert float(losses[0]) == pytest.approx(float(losses[1]), abs=1e-5)


def test_the_step_of_a_replica_is_legal_on_a_tpu() -> None:
    child = small_child(jit_compile=False)
    step = tf.function(child._compute_gradients, jit_compile=True)
    program = step.experimental_get_compiler_ir(tf.constant(0))(stage="stablehlo")
    assert "stablehlo.dot_general" in program
    assert "custom_call" not in program
    assert not re.search(r"tensor<[^>]*\?", program)  # no dynamic dimension
    assert not re.search(r"stablehlo\.(dynamic_(reshape|iota|broadcast_in_dim|pad|conv|gather)|rng)\b", program)


@pytest.mark.slow
def test_bfloat16_computes_in_bfloat16_and_keeps_weights_in_float32() -> None:
    before = keras.config.dtype_policy()
    with Placement(precision="bfloat16").scope():
        child = pydoc_task(steps=1).child
    assert keras.config.dtype_policy() == before
    assert child.model.compute_dtype == "bfloat16"
    assert {v.dtype for v in child.model.trainable_variables} == {"float32"}
    child.reset(NOTHING, 0)
    assert child.train()[0] == pytest.approx(np.log(child.model.output_shape[-1]), rel=0.2)


def test_a_batch_that_replicas_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    monkeypatch.setattr(type(strategy), "num_replicas_in_sync", property(lambda self: 3))
    with strategy.scope(), pytest.raises(ValueError, match="multiple of the 3 replicas. Received: batch_size=16"):
        small_child(jit_compile=False)


def test_strategies_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("TPU_NAME", raising=False)
    assert make_strategy("default") is tf.distribute.get_strategy()
    assert make_strategy("auto") is tf.distribute.get_strategy()  # nothing else is here
    assert isinstance(make_strategy("mirrored"), tf.distribute.MirroredStrategy)
    for name, match in (("gpu", ", ".join(STRATEGIES)), ("multiworker", "TF_CONFIG"), ("tpu", "found no TPU")):
        with pytest.raises(ValueError, match=match):
            make_strategy(name)


@pytest.mark.parametrize(
    ("jobs", "kind", "index", "expected"),
    [
        ({"worker": 2}, "worker", 0, False),
        ({"worker": 2}, "worker", 1, True),
        ({"chief": 1, "worker": 1}, "chief", 0, False),
        ({"chief": 1, "worker": 1}, "worker", 0, True),
        ({"worker": 1}, "worker", 0, False),
        ({"worker": 2}, "worker", "0", False),  # as text, which TensorFlow takes
    ],
)
def test_who_follows(
    monkeypatch: pytest.MonkeyPatch, jobs: dict[str, int], kind: str, index: int | str, expected: bool
) -> None:
    cluster = {job: [f"host{i}:1" for i in range(count)] for job, count in jobs.items()}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}}))
    assert follows("multiworker") is follows("auto") is expected
    assert not follows("mirrored")


def test_a_process_that_follows_does_not_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cluster = {"worker": ["host0:1", "host1:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    with pytest.raises(ValueError, match="trains along with the first worker"):
        run("digits", 2, tmp_path / "run", EngineConfig(strategy="multiworker"))
    assert not (tmp_path / "run").exists()


def test_a_process_that_follows_is_told_how_to_go_on_without_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is on the first worker's machine; 'search' needs nothing of it, and goes on as well."""
    cluster = {"worker": ["host0:1", "host1:1"]}
    followed = []
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    monkeypatch.setattr(cli, "_follow", lambda task, settings, engine, quiet: followed.append((task, settings)))
    out = str(tmp_path / "run")
    with pytest.raises(ValueError, match="which has it. Give the command that began it, tf-autodropout search"):
        cli.cli(["resume", out, "--strategy", "multiworker"], standalone_mode=False)
    given = ["search", "digits", "--steps", "20", "--strategy", "multiworker", "--out", out]
    cli.cli(given, standalone_mode=False)
    assert followed == [("digits", {"steps": 20})]
    assert not (tmp_path / "run").exists()
