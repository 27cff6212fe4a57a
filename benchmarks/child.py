"""What a child costs beyond its training steps, and what patterns as variables cost in a step.

A trial after the first resets, trains and evaluates a compiled child. Its whole time is reported as a
multiple of the time of its training steps alone, and the same steps of a model without any pattern
layer as a multiple of those.

Run: `python benchmarks/child.py`, two minutes. Results: `benchmarks/child.md`.
"""

import statistics
import time

import keras
import numpy as np
import tensorflow as tf
from environment import environment

from tf_autodropout.search.children.child import Child
from tf_autodropout.search.core import Task
from tf_autodropout.search.tasks.digits import digits_task
from tf_autodropout.search.tasks.pydoc import pydoc_task

TRIALS = 5


def whole_against_steps(task: Task) -> tuple[float, float, float]:
    """Returns medians over trials: seconds of the steps, whole trial over steps, first trial over steps."""
    rng = np.random.default_rng(0)
    whole, steps = [], []
    for trial in range(TRIALS + 1):
        patterns = task.space.decode([int(rng.integers(size)) for size in task.space.vocabulary_sizes])
        start = time.perf_counter()
        result = task.train(patterns, trial)
        whole.append(time.perf_counter() - start)
        steps.append(result.metrics["train_seconds"])
    ratios = [a / b for a, b in zip(whole[1:], steps[1:], strict=True)]
    median = statistics.median(steps[1:])
    return median, statistics.median(ratios), whole[0] / median


def bare_steps(child: Child) -> float:
    """Returns the median seconds of the same steps without pattern layers."""

    def plain(layer: keras.layers.Layer) -> keras.layers.Layer:
        return keras.layers.Identity(name=layer.name) if type(layer).__name__ == "PatternDropout" else layer

    model = keras.models.clone_model(child.model, clone_function=lambda layer: plain(layer))
    seconds = []
    optimizer = type(child.optimizer).from_config(child.optimizer.get_config())
    sizes = child.steps, child.batch_size, child._steps_per_call
    bare = Child(model, optimizer, child._loss, child._train, *sizes, jit_compile=child._jit_whole)
    for _ in range(TRIALS + 1):
        bare._schedule.assign(child._schedule)
        bare.train()
        seconds.append(bare.last_train_seconds)
    return statistics.median(seconds[1:])


def main() -> None:
    """Prints the table as Markdown."""
    print(f"{environment()} Medians of {TRIALS} trials with different random PatternSets.\n")
    print(
        "| task | steps of a child | later trial / its steps | first trial / steps | steps / steps without patterns |"
    )
    print("|---|---:|---:|---:|---:|")
    pydoc, digits = pydoc_task(steps=200), digits_task()
    for task, child in ((digits, digits.child), (pydoc, lambda: pydoc.child)):
        steps, later, first = whole_against_steps(task)
        ratio = f"{steps / bare_steps(child()):.2f}" if task is digits else "-"
        print(f"| {task.name} ({task.steps} steps) | {steps:.2f} s | {later:.2f} | {first:.1f} | {ratio} |", flush=True)


if __name__ == "__main__":
    tf.get_logger().setLevel("ERROR")
    main()
