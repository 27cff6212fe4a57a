"""The command line's options for settings that a task may have."""

import textwrap
from typing import Any

import click

from tf_autodropout.search.tasks.registry import TASKS, task_settings

_OPTIONS = (
    click.option("--steps", type=click.IntRange(1), help="Training steps of a child.  [task's own]"),
    click.option("--batch-size", type=click.IntRange(1), help="Examples per step.  [task's own]"),
    click.option("--train-size", type=click.IntRange(1), help="Training images.  [task's own]"),
    click.option("--valid-size", type=click.IntRange(1), help="Validation examples of the reward.  [task's own]"),
    click.option("--image-size", type=click.IntRange(1), help="Side after averaging.  [task's own]"),
    click.option("--depth", type=click.IntRange(1), help="Depth of the Wide ResNet.  [task's own]"),
    click.option("--width", type=click.IntRange(1), help="Width of the Wide ResNet.  [task's own]"),
    click.option("--table", help="Directory of a run, or a table of its trials.  [tabular]"),
    click.option("--data-dir", help="Directory of the data: of TFDS, or of the task's own files.  [TFDS' own]"),
)


def task_options(command: Any) -> Any:
    """Adds the settings that a task may have; None stands for the task's own."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def task_list() -> str:
    """Returns the tasks for the help, each with its own options and their defaults."""
    lines = []
    for name, entry in TASKS.items():
        shown = {name: value or name.upper() for name, value in task_settings(name).items() if name != "noise"}
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shown.items())
        lines += [f"{name:15}{entry.summary}", *textwrap.wrap(options, 80, break_on_hyphens=False)]
    lines.append(f"{'FILE.py:NAME':15}a function of your own that returns a task: tf-autodropout init FILE.py")
    starts = (*TASKS, "FILE.py:NAME")
    return "\n".join(f"  {line}" if line.startswith(starts) else f"{'':17}{line}" for line in lines)
