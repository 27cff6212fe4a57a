"""The command line's options for settings that a task may have."""

from typing import Any

import click

_OPTIONS = (
    click.option("--steps", type=click.IntRange(1), help="Training steps of a child.  [task's own]"),
    click.option("--batch-size", type=click.IntRange(1), help="Examples per step.  [task's own]"),
    click.option("--train-size", type=click.IntRange(1), help="Training images.  [digits 200, cifar10-small 3000]"),
    click.option("--valid-size", type=click.IntRange(1), help="Validation examples of the reward.  [task's own]"),
    click.option("--image-size", type=click.IntRange(1), help="Side after averaging.  [cifar10-small 16]"),
    click.option("--depth", type=click.IntRange(1), help="Depth of the Wide ResNet.  [cifar10-small 10]"),
    click.option("--width", type=click.IntRange(1), help="Width of the Wide ResNet.  [cifar10-small 2]"),
    click.option("--table", help="Directory of a run, or a table of its trials.  [tabular]"),
    click.option("--data-dir", help="Directory of the data: of TFDS, or of the task's own files.  [TFDS' own]"),
)


def task_options(command: Any) -> Any:
    """Adds the settings that a task may have; None stands for the task's own."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
