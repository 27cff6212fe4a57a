"""The command line's options for settings that a task may have."""

import functools
import textwrap
from typing import Any

import click

from tf_autodropout.search.tasks.registry import TASKS, task_settings
from tf_autodropout.search.terminal.sections import SectionOption

_option = functools.partial(click.option, cls=SectionOption, section="Settings of the tasks that have them, see above")
_OPTIONS = (
    _option("--steps", type=click.IntRange(1), help="Training steps of a child.  [task's own]"),
    _option("--batch-size", type=click.IntRange(1), help="Examples per step.  [task's own]"),
    _option("--train-size", type=click.IntRange(1), help="Training images.  [task's own]"),
    _option("--valid-size", type=click.IntRange(1), help="Validation examples of the reward.  [task's own]"),
    _option("--image-size", type=click.IntRange(1), help="Side after averaging.  [task's own]"),
    _option("--depth", type=click.IntRange(1), help="Depth of the Wide ResNet.  [task's own]"),
    _option("--width", type=click.IntRange(1), help="Width of the Wide ResNet.  [task's own]"),
    _option("--table", help="Directory of a run, or a table of its trials.  [tabular]"),
    _option("--data-dir", help="Directory of the data: of TFDS, or of the task's own files.  [TFDS' own]"),
)


def task_options(command: Any) -> Any:
    """Adds the settings that a task may have; None stands for the task's own."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def task_list(granularity: bool = True) -> str:
    """Returns the tasks for the help, each with its own options and their defaults.

    Args:
        granularity: Whether the command has this option, which only a search needs.
    """
    hidden = {"noise"} if granularity else {"noise", "granularity"}
    lines = []
    for name, entry in TASKS.items():
        shown = {name: value or name.upper() for name, value in task_settings(name).items() if name not in hidden}
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shown.items())
        lines += [f"{name:15}{entry.summary}", *textwrap.wrap(options, 80, break_on_hyphens=False)]
    lines.append(f"{'FILE.py:NAME':15}a function of your own that returns a task: tf-autodropout init FILE.py")
    starts = (*TASKS, "FILE.py:NAME")
    return "\n".join(f"  {line}" if line.startswith(starts) else f"{'':17}{line}" for line in lines)
