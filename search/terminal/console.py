"""The console of all commands: colours that can be read on dark and on light terminals."""

from typing import Any

from rich.color import ColorType
from rich.console import Console
from rich.default_styles import DEFAULT_STYLES
from rich.style import Style
from rich.theme import Theme

ACCENT = "#2f7fd0"  # 4.1 to 1 on white, 5.1 to 1 on black
_PLAIN = frozenset(
    {3, 6, 7, *range(8, 16)}
)  # yellow, cyan, white and the bright ones: one of the two grounds hides them


def make_console(**options: Any) -> Console:
    """Returns a console whose styles stay readable whatever the ground; numbers in a text are text.

    Args:
        **options: Of `rich.console.Console`.
    """
    return Console(highlight=False, theme=_THEME, **options)


def _readable(style: Style) -> Style:
    """The style, bold in place of a colour that only one ground carries; with a ground of its own it stays."""
    colour = style.color
    if colour is None or style.bgcolor is not None:
        return style
    if colour.type is ColorType.STANDARD and colour.number not in _PLAIN:
        return style
    return style.without_color + Style(bold=True)


_THEME = Theme(
    {name: _readable(style) for name, style in DEFAULT_STYLES.items()} | {"status.spinner": Style.parse(ACCENT)}
)
