"""The figures of README and docs/results.md are those of the tables in benchmarks/, which scripts there print."""

import re
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.]*\w)")
TABLE = re.compile(r"benchmarks/\w+\.md")


def passages(path: Path) -> list[str]:
    """Returns what has its tables named beside it: sections of a page, paragraphs of the README, without code."""
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text("utf-8"))
    return re.split(r"\n\n" if path.name == "README.md" else r"(?m)^#+ .+$", text)


def not_in_the_tables(text: str, tables: str) -> list[str]:
    """Returns the decimal figures of a text that are no figure of the tables, rounded to as many places."""
    known = [Decimal(found.replace(",", "")) for found in NUMBER.findall(tables)]

    def is_known(told: str) -> bool:
        figure = Decimal(told.replace(",", ""))
        return any(
            figure == one.quantize(figure, rounding)
            for one in known
            for rounding in (ROUND_HALF_UP, ROUND_HALF_DOWN)
            if one.as_tuple().exponent <= figure.as_tuple().exponent  # type: ignore[operator]
        )

    return [told for told in NUMBER.findall(text) if not is_known(told)]


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_figures_are_those_of_the_tables_that_are_named_beside_them(page: str) -> None:
    found = 0
    for text in passages(ROOT / page):
        tables = "".join((ROOT / name).read_text("utf-8") for name in sorted(set(TABLE.findall(text))))
        if tables:
            words = re.sub(r"`[^`]*`", "", text)
            found += len(NUMBER.findall(words))
            assert not not_in_the_tables(words, tables), text
    assert found >= 4


def test_a_figure_that_no_table_has_is_found() -> None:
    assert not_in_the_tables("0.69 and 60.3, 1.2", "| 60.29 | +0.690 [+0.25] |") == ["1.2"]
    assert not_in_the_tables("12.0", "| 12 |") == ["12.0"]
    assert not_in_the_tables("keras 3.15.1, Python 3.11 or 0.35", "| 3.15 | 0.345 |") == ["3.11"]
