"""The command line's options for how a search searches."""

import functools
import json
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from tf_autodropout.search.search_config import SearchConfig
from tf_autodropout.search.searchers import SEARCHERS
from tf_autodropout.search.terminal.sections import SectionOption

_DEFAULT = SearchConfig()
_NOT_WITH_PAPER = ("searcher", "finalists", "halving")
_option = functools.partial(click.option, cls=SectionOption, section="How it searches")
_of_table = functools.partial(click.option, cls=SectionOption, section="What follows the search")
_OPTIONS = (
    _option(
        "--searcher",
        type=click.Choice(list(SEARCHERS)),
        default=_DEFAULT.searcher,
        show_default=True,
        help="Who suggests. The default measured best at all sizes up to 512 trials; paper: REINFORCE as published.",
    ),
    _option(
        "--searcher-setting",
        "searcher_settings",
        metavar="NAME=VALUE",
        multiple=True,
        help="A setting of the searcher, such as exploration=0.5; may be given more than once.",
    ),
    _option("--capacity", type=click.IntRange(1), help="C, trials out at once.  [grows with the engine]"),
    _option("--batch", type=click.IntRange(1), help="M, trials of an update.  [thompson, evolution: 1; else 16]"),
    _option(
        "--warm-start/--no-warm-start",
        default=_DEFAULT.warm_start,
        show_default=True,
        help="Begin with the classics; never with the searchers paper and random.",
    ),
    _option("--halving", is_flag=True, help="End unpromising trials early, with the reward to be expected."),
    _option(
        "--halving-setting",
        "halving_settings",
        metavar="NAME=VALUE",
        multiple=True,
        help="A setting of --halving: parts, keep, audited or warm_up.",
    ),
    _of_table(
        "--finalists",
        type=click.IntRange(1),
        default=_DEFAULT.finalists,
        show_default=True,
        help="Best trials that race on new seeds before one is called the best; 1: the highest reward decides.",
    ),
    _of_table(
        "--fresh-seeds",
        type=click.IntRange(0),
        default=_DEFAULT.fresh_seeds,
        show_default=True,
        help="Seeds of the table; 0: no table.",
    ),
    _of_table(
        "--tuning",
        type=click.IntRange(0),
        help="Trainings that tune the classics of the table; 0: usual rates.  [as many as trials]",
    ),
    _option("--trial-zero", is_flag=True, help="Train without dropout first.  [always, with FILE.py:NAME]"),
    _option("--paper", is_flag=True, help="The paper's own search: Eq. 3 to the letter, one finalist."),
)


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command, which takes them as one `SearchConfig` called `config`."""

    @functools.wraps(command)
    def with_config(
        searcher_settings: tuple[str, ...],
        capacity: int | None,
        halving: bool,
        halving_settings: tuple[str, ...],
        paper: bool,
        trial_zero: bool,
        searcher: str,
        batch: int | None,
        warm_start: bool,
        finalists: int,
        fresh_seeds: int,
        tuning: int | None,
        **arguments: Any,
    ) -> Any:
        context = click.get_current_context()
        said = [n for n in _NOT_WITH_PAPER if context.get_parameter_source(n) is ParameterSource.COMMANDLINE]
        if paper and said:
            raise click.UsageError("--paper is a search of its own: leave out --searcher, --finalists and --halving")
        exact = SearchConfig.paper()
        config = SearchConfig(
            exact.searcher if paper else searcher,
            _settings("--searcher-setting", searcher_settings),
            capacity,
            batch,
            _settings("--halving-setting", halving_settings) or halving,
            exact.finalists if paper else finalists,
            fresh_seeds,
            tuning,
            trial_zero,
            warm_start,
        )
        return command(config=config, **arguments)

    for option in reversed(_OPTIONS):
        with_config = option(with_config)
    return with_config


def _settings(option: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """Turns NAME=VALUE into a dictionary; values are JSON where they can be read so, else texts."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"Invalid value for '{option}'. Expected NAME=VALUE. Received: {pair}")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings
