"""The recipe of `ptb` gives the perplexity that `benchmarks/transformer_xl_ptb.md` states."""

import re
from pathlib import Path

import pytest

from tf_autodropout.search.train_child import train_child

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "ptb"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason=f"Penn Treebank is not in {DATA}")
def test_the_stated_perplexity_is_reproduced_within_a_tenth() -> None:
    table = (ROOT / "benchmarks" / "transformer_xl_ptb.md").read_text("utf-8")
    row = re.search(r"^\| no dropout \| ([\d.]+) \| ([\d.]+) \|", table, re.MULTILINE)
    assert row is not None
    trained = train_child("ptb", seed=0, settings={"data_dir": str(DATA)})
    assert trained.valid == pytest.approx(float(row[1]), rel=0.1)
    assert trained.test == pytest.approx(float(row[2]), rel=0.1)
