"""The search space: tokens to PatternSets."""

import numpy as np
import pytest

from tests.site_lists import transformer_sites, wide_resnet_sites
from tf_autodropout.patterns import ConvPattern, Site, TransformerPattern
from tf_autodropout.search.space import CONV_GRID, TRANSFORMER_GRID, SearchSpace


@pytest.mark.parametrize(("granularity", "groups"), [("layer", 25), ("block", 13), ("stage", 3), ("network", 1)])
def test_granularity_sets_the_number_of_decisions_of_a_wide_resnet(granularity: str, groups: int) -> None:
    space = SearchSpace(wide_resnet_sites(28, 2), granularity)
    assert len(space.groups) == groups
    assert len(space.decisions) == 8 * groups
    assert sum(len(sites) for sites in space.groups.values()) == 25
    assert space.vocabulary_sizes == tuple(len(values) for values in CONV_GRID.values()) * groups


def test_transformer_granularities() -> None:
    counts = {g: len(SearchSpace(transformer_sites(32, 64), g).groups) for g in ("layer", "block", "network")}
    assert counts == {"layer": 7, "block": 3, "network": 1}


def test_every_token_reaches_its_field() -> None:
    space = SearchSpace((Site("here", ConvPattern, (16, 16, 4), "b", "s"),))
    for position, (name, values) in enumerate(CONV_GRID.items()):
        for index, value in enumerate(values):
            tokens = [0] * 8
            tokens[position] = index
            expected = round(value * 16) if name in ("size", "stride") else value
            assert getattr(space.decode(tokens)["here"], name) == expected


def test_conv_sizes_follow_the_resolution_and_fit_the_map() -> None:
    space = SearchSpace(wide_resnet_sites(10, 1, (16, 16, 3)), "network")
    largest = [len(values) - 1 for values in CONV_GRID.values()]
    found = space.decode(largest)
    by_side = {site.shape[0]: found[site.name].size for site in space.sites}
    assert by_side == {16: 8, 8: 4, 4: 2}
    smallest = space.decode([1, 1] + [0] * 6)
    assert {p.size for p in smallest.values()} == {1}  # a fraction above zero is at least one cell


def test_transformer_size_all_is_the_sequence() -> None:
    space = SearchSpace(transformer_sites(24, 8))
    index = TRANSFORMER_GRID["size"].index("all")
    assert space.decode([index, *[0] * 34])["query"] == TransformerPattern(size=24, rate=0.05)


def test_random_tokens_decode_and_zero_size_switches_off() -> None:
    space = SearchSpace(wide_resnet_sites(10, 2, (8, 8, 1)))
    rng = np.random.default_rng(0)
    for _ in range(200):
        tokens = [int(rng.integers(size)) for size in space.vocabulary_sizes]
        patterns = space.decode(tokens)
        for group, sites in space.groups.items():
            first = next(i for i, d in enumerate(space.decisions) if d.group == group)
            for site in sites:
                assert patterns[site.name].is_identity == (tokens[first] == 0)


@pytest.mark.parametrize("tokens", [[0] * 34, [0] * 36, [6] + [0] * 34, [-1] + [0] * 34])
def test_bad_tokens_are_refused(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        SearchSpace(transformer_sites(32, 64)).decode(tokens)


def test_sites_of_different_kinds_share_no_decision() -> None:
    conv, line = wide_resnet_sites(10, 1, (8, 8, 3)), Site("wave", ConvPattern, (16, 4), "wave", "wave")
    space = SearchSpace((*transformer_sites(32, 64), *conv, line), "network")
    assert list(space.groups) == ["network TransformerPattern", "network ConvPattern", "network ConvPattern 1D"]
    assert len(space.decisions) == 5 + 8 + 5  # maps of one axis cannot be turned
    largest = space.decode([size - 1 for size in space.vocabulary_sizes])
    assert isinstance(largest["ffn"], TransformerPattern)
    assert largest["final_bn"].size == 1  # half of a map of 2 x 2
    assert largest["wave"].size == 8
    described = space.describe()
    assert described["kind"] == "mixed"
    assert described["kinds"]["wave"] == "ConvPattern 1D"
    assert set(described["grid"]) >= {"TransformerPattern rate", "ConvPattern rotate", "ConvPattern 1D size"}
    assert "ConvPattern 1D rotate" not in described["grid"]
    assert not any(p for p in (space.decode([0] * 18)).values() if not p.is_identity)


def test_bad_spaces_are_refused() -> None:
    sites = transformer_sites(32, 64)
    with pytest.raises(ValueError, match="granularity"):
        SearchSpace(sites, "cell")
    with pytest.raises(ValueError, match="one or more sites"):
        SearchSpace(())
    with pytest.raises(ValueError, match="differ"):
        SearchSpace((*sites, sites[0]))


def test_description_tells_spaces_apart() -> None:
    sites = transformer_sites(32, 64)
    assert SearchSpace(sites).describe() == SearchSpace(transformer_sites(32, 64)).describe()
    assert SearchSpace(sites).describe() != SearchSpace(sites, "network").describe()
    assert SearchSpace(sites).describe() != SearchSpace(transformer_sites(16, 64)).describe()
