"""The shipped PatternSets: what is in the files, and that they fit the networks they are for."""

import fnmatch
from pathlib import Path

import pytest

import tf_autodropout as tad
from tests.site_lists import efficientnet_sites, resnet50_sites, wide_resnet_sites
from tf_autodropout.layers import site_seed
from tf_autodropout.models.transformer_lm import TRANSFORMER_SITES
from tf_autodropout.search.space import SPACE_VERSION

CLASSIC_SITES = ("softmax", "output", "ffn")
PRESETS = {
    "convnet-spatial-0.1": {"*": tad.members.spatial_dropout(0.1)},
    "resnet-drop-path-0.1": {"*_bn3": tad.members.drop_path(0.1)},
    "transformer-dropout-0.1": dict.fromkeys(CLASSIC_SITES, tad.members.dropout(0.1)),
    "transformer-variational-0.2": dict.fromkeys(CLASSIC_SITES, tad.members.variational_dropout(0.2)),
    "transformer-word-0.1": dict.fromkeys(CLASSIC_SITES, tad.members.word_dropout(0.1)),
    "transformer-word-0.3": dict.fromkeys(CLASSIC_SITES, tad.members.word_dropout(0.3)),
    "wide-resnet-drop-path-0.1": {"*_bn2": tad.members.drop_path(0.1)},
}
SMALL = (64, 64, 3)
NETWORKS = {  # built when a test asks for them
    "convnet": lambda: [wide_resnet_sites(10, 1), resnet50_sites(SMALL, 0.25), efficientnet_sites("b0", SMALL, 0.25)],
    "resnet": lambda: [resnet50_sites(SMALL, 0.25)],
    "wide-resnet": lambda: [wide_resnet_sites(10, 1), wide_resnet_sites(28, 1)],
}

FOUND = [name for name in tad.presets.names() if "-found-" in name]


def test_names():
    assert tuple(name for name in tad.presets.names() if name not in FOUND) == tuple(PRESETS)


def test_a_found_preset_has_its_provenance_and_the_scores_of_the_released_table():
    for name in FOUND:
        preset = tad.presets.load(name)
        notes = preset.provenance
        assert "not from the AutoDropout paper" in notes["made_by"]
        assert notes["space_version"] == SPACE_VERSION
        assert {"task", "data", "searcher", "search_seed", "seeds", "family", "measured"} <= notes.keys()
        assert next(iter(notes["leads"])) == "tuned classic, by validation"
        assert all({"over", "mean", "low", "high", "p"} <= lead.keys() for lead in notes["leads"].values())
        assert notes["elsewhere"] == "not run" or all(len(one["leads"]) == 2 for one in notes["elsewhere"])
        recorded = tad.search.benchmark(notes["task"], **{"steps": notes["settings"]["steps"]})
        tests = [recorded.query(preset, seed).test for seed in notes["seeds"]]
        assert sum(tests) / len(tests) == pytest.approx(notes["test"], abs=1e-4)


def test_the_table_has_a_line_a_preset(capsys):
    tad.presets.table()
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["preset", "made", "by"]
    assert [line.split()[0] for line in lines] == list(tad.presets.names())
    word = next(line for line in lines if line.startswith("transformer-word-0.1"))
    assert "65.70 ± 1.88" in word
    assert "not run" in word


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_member_it_names(name):
    assert tad.presets.load(name) == tad.PatternSet(PRESETS[name])


@pytest.mark.parametrize("name", PRESETS)
def test_provenance(name):
    notes = tad.presets.load(name).provenance
    for key in ("made_by", "member", "reference", "space_version", "family", "task", "seeds", "spread"):
        assert key in notes, key
    assert "not from the AutoDropout paper" in notes["made_by"]
    assert notes["space_version"] == SPACE_VERSION
    member, rate = notes["member"].rstrip(")").split("(")
    assert set(PRESETS[name].values()) == {getattr(tad.members, member)(float(rate))}
    assert bool(notes["task"]) == bool(notes["seeds"]) == bool(notes["spread"])  # measured, or said not to be


@pytest.mark.parametrize("name", [name for name in PRESETS if not name.startswith("transformer")])
def test_the_globs_match_the_sites_of_their_family(name):
    ((key, pattern),) = PRESETS[name].items()
    for sites in NETWORKS["convnet" if name.startswith("convnet") else name.removesuffix("-drop-path-0.1")]():
        matched = [site for site in sites if fnmatch.fnmatchcase(site.name, key)]
        blocks = {site.block for site in sites} - {"stem", "head"}
        assert len(matched) == (len(sites) if key == "*" else len(blocks))
        assert {site.kind for site in matched} == {type(pattern)}


def test_the_keys_of_transformers_are_kinds_of_sites():
    assert set(CLASSIC_SITES) <= set(TRANSFORMER_SITES)
    model = tad.models.transformer_lm(7, 4, 1, 8, 2, 8, patterns=tad.presets.load("transformer-word-0.1"))
    assert model.get_layer("layer0_ffn").pattern == tad.members.word_dropout(0.1)


def test_an_unknown_preset():
    wanted = r"^Invalid value for 'name'\. Expected one of convnet-found-digits-0, .+\. Received: name='dropout'$"
    with pytest.raises(ValueError, match=wanted):
        tad.presets.load("dropout")


@pytest.mark.parametrize("name", ["../presets/transformer-word-0.1", "", None, 3])
def test_names_are_no_paths(name):
    with pytest.raises(ValueError, match="^Invalid value for 'name'"):
        tad.presets.load(name)


TABLE = Path(__file__).parent.parent / "benchmarks" / "found_on_pydoc.md"
TITLES = {"dropout": "Dropout", "variational_dropout": "Variational Dropout", "word_dropout": "Word Dropout"}


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("transformer")])
def test_what_was_measured_is_what_the_table_says(name):
    lines = [line.strip("| ").split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    rows = {row[0].split(" (best")[0]: tuple(row[2:]) for row in lines if len(row) == 4}
    notes = tad.presets.load(name).provenance
    member, rate = notes["member"].split("(")
    assert (f"{notes['test_perplexity']:.2f}", f"{notes['spread']:.2f}") == rows[f"{TITLES[member]}({rate}"]
    without = notes["without_dropout"]
    assert (f"{without['test_perplexity']:.2f}", f"{without['spread']:.2f}") == rows["no dropout"]
    assert notes["measured"][:10] in TABLE.read_text()
    assert notes["seeds"] == [site_seed(0, "benchmark", index) for index in range(3)]
