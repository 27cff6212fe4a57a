"""The command line's options for where and how children are trained."""

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from tf_autodropout.search.children.strategy import PRECISIONS, STRATEGIES
from tf_autodropout.search.engines.config import ENGINES, EngineConfig
from tf_autodropout.search.terminal.sections import SectionOption

_option = functools.partial(click.option, cls=SectionOption, section="Where children are trained")
_OPTIONS = (
    _option("--engine", type=click.Choice(ENGINES), default="in-process", show_default=True, help="Where to train."),
    _option("--workers", type=click.IntRange(1), help="Children at a time.  [one per accelerator, or per core]"),
    _option("--time-limit", type=click.FloatRange(0, min_open=True), help="Seconds until a child counts as hanging."),
    _option(
        "--strategy",
        type=click.Choice(STRATEGIES),
        default="default",
        show_default=True,
        help="What a child trains on.",
    ),
    _option("--address", help="Ray cluster, as host:port or auto.  [one of its own]"),
)
_precision = _option(
    "--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True, help="Of what a child computes."
)
_NAMES = tuple(field.name for field in fields(EngineConfig))


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command, which takes them as one `EngineConfig` called `engine`."""
    return place_options(_precision(command))


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds those options that may change when a run goes on: all but the precision."""

    @functools.wraps(command)
    def with_config(**arguments: Any) -> Any:
        config = EngineConfig(**{name: arguments.pop(name) for name in _NAMES if name in arguments})
        return command(engine=config, **arguments)

    for option in reversed(_OPTIONS):
        with_config = option(with_config)
    return with_config
