"""The table of a campaign: who the found PatternSet has to beat, and sections that stay."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.benchmark_scripts import script
from tf_autodropout.search.results.comparison import Row
from tf_autodropout.search.results.paired import paired_lead

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def campaign() -> ModuleType:
    return script("campaign")


def row(name: str, valid: float, test: float) -> Row:
    return Row(name, tuple(valid + RNG.normal(0, 0.1, 10)), tuple(test + RNG.normal(0, 0.1, 10)))


def rows(found: float) -> list[Row]:
    others = [
        ("no dropout", 55, 70),
        ("Word Dropout(0.1)", 44, 62),
        ("Dropout(0.2)", 46, 61),
        ("TrivialPattern", 45, 63),
    ]
    return [row("best PatternSet", 43, found), *(row(*one) for one in others), row("random PatternSets", 50, 66)]


def test_the_rivals_are_chosen_by_validation_and_by_test(campaign: ModuleType) -> None:
    chosen = {what: rival.name for what, rival in campaign.rivals(rows(60), True).items()}
    assert chosen == {
        "tuned classic, by validation": "Word Dropout(0.1)",
        "best classic on test": "Dropout(0.2)",
        **{name: name for name in ("TrivialPattern", "random PatternSets", "no dropout")},
    }


def test_a_row_a_search_and_the_mean_over_them(campaign: ModuleType, tmp_path: Path) -> None:
    searches = {seed: rows(60 + seed) for seed in (0, 1)}
    text = campaign.section("pydoc", "test perplexity", True, searches, 64, "thompson")
    assert "| seed 0 | 60." in text
    assert "| seed 1 | 61." in text
    lead = paired_lead(searches[0][0].test, searches[0][2].test, True)
    assert f"{lead.mean:+.2f}" in text
    mean = next(line for line in text.splitlines() if line.startswith("| mean"))
    by_hand = np.mean([np.subtract(r[2].test, r[0].test).mean() for r in searches.values()])
    assert f"{by_hand:+.2f}" in mean.split("|")[3]
    on_validation = next(line for line in text.splitlines() if line.startswith("| mean, on validation"))
    by_hand = np.mean([np.subtract(r[2].valid, r[0].valid).mean() for r in searches.values()])
    assert f"{by_hand:+.2f}" in on_validation.split("|")[3]
    table = tmp_path / "table.md"
    campaign.write_section(table, "pydoc", text)
    campaign.write_section(table, "digits", text.replace("## pydoc", "## digits"))
    campaign.write_section(table, "pydoc", text)
    written = table.read_text()
    assert [line for line in written.splitlines() if line.startswith("#")] == [
        "# Campaigns on real data",
        "## pydoc",
        "## digits",
    ]
    assert written.count("| mean |") == 2
