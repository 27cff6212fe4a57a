"""A PatternSet on another depth and resolution: which site takes which pattern, and how large it is."""

import math
import re

import pytest

import tf_autodropout as tad
from tests.site_lists import efficientnet_sites, resnet50_sites, transformer_sites, wide_resnet_sites
from tf_autodropout.patterns import Site

# Published for B0 to B7: blocks of the seven stages, and the resolution.
EFFICIENTNETS = {
    "b0": ((1, 2, 2, 3, 3, 4, 1), 224),
    "b3": ((2, 3, 3, 5, 5, 6, 2), 300),
    "b5": ((3, 5, 5, 7, 7, 9, 3), 456),
    "b7": ((4, 7, 7, 10, 10, 13, 4), 600),
}


def marked(sites):
    """A pattern for each site that tells by `repeat` which one it is."""
    patterns = {site.name: tad.ConvPattern(size=6, stride=3, repeat=i) for i, site in enumerate(sites, start=1)}
    return tad.PatternSet(patterns, {"task": "digits"})


def origins(carried, sites):
    """Site of the target to site of the source, read from marked patterns."""
    names = [site.name for site in sites]
    return {name: names[pattern.repeat - 1] for name, pattern in carried.items()}


def half_up(x):
    return math.floor(x + 0.5)


@pytest.mark.parametrize("variant", [pytest.param(name, marks=pytest.mark.slow) for name in ("b3", "b5", "b7")])
def test_efficientnet_in_proportion(variant):
    source, target = efficientnet_sites("b0"), efficientnet_sites(variant)
    carried = tad.transfer(marked(source), source, target)
    assert list(carried) == [site.name for site in target]
    blocks, side = EFFICIENTNETS["b0"]
    assert len(carried) == 3 * sum(EFFICIENTNETS[variant][0]) - EFFICIENTNETS[variant][0][0] + 2
    strides = (1, 2, 2, 2, 1, 2, 1)
    for name, origin in origins(carried, source).items():
        if name in ("stem_bn", "top_bn"):
            assert origin == name
            continue
        stage, block, part = re.fullmatch(r"stage(\d)_block(\d+)_(\w+)", name).groups()
        place = min(int(block), blocks[int(stage) - 1])
        assert origin == f"stage{stage}_block{place}_{part}"
        # A later block of the target has the map behind the stride; the source's only block expands before it.
        reduction = 2 * math.prod(strides[: int(stage)])
        here, there = reduction, reduction
        if part == "expand_bn":
            here = reduction // (strides[int(stage) - 1] if block == "1" else 1)
            there = reduction // (strides[int(stage) - 1] if place == 1 else 1)
        factor = math.ceil(EFFICIENTNETS[variant][1] / here) / math.ceil(side / there)
        pattern = carried[name]
        assert (pattern.size, pattern.stride) == (half_up(6 * factor), half_up(3 * factor)), name


@pytest.mark.slow
def test_a_wider_network_takes_the_set_as_it_is():
    source, target = wide_resnet_sites(28, 1), wide_resnet_sites(28, 2)
    patterns = marked(source)
    assert tad.transfer(patterns, source, target) == patterns
    source, target = resnet50_sites((64, 64, 3), 0.25), resnet50_sites((64, 64, 3), 0.5)
    patterns = marked(source)
    assert len(patterns) == 53
    assert tad.transfer(patterns, source, target) == patterns


def test_at_the_same_depth_it_is_scale():
    source, target = wide_resnet_sites(16, 2), wide_resnet_sites(16, 2, (64, 64, 3))
    assert tad.transfer(marked(source), source, target) == marked(source).scale(2)
    source, target = transformer_sites(32, 64), transformer_sites(48, 128)
    patterns = tad.PatternSet({"ffn": tad.TransformerPattern(size=4, stride=2), "query": tad.TransformerPattern(32)})
    carried = tad.transfer(patterns, source, target)
    assert carried == patterns.scale(1.5)
    assert carried["query"].size == 48  # what covered all tokens does so again


def test_the_last_block_serves_the_rest_of_its_stage():
    source, target = wide_resnet_sites(16, 1), wide_resnet_sites(28, 1)
    found = origins(tad.transfer(marked(source), source, target), source)
    for stage in (1, 2, 3):
        for block, origin in {1: 1, 2: 2, 3: 2, 4: 2}.items():
            for part in ("bn1", "bn2"):
                assert found[f"stage{stage}_block{block}_{part}"] == f"stage{stage}_block{origin}_{part}"
    assert found["final_bn"] == "final_bn"


@pytest.mark.slow
def test_a_projection_stays_one():
    source = resnet50_sites((64, 64, 3), 0.5)
    patterns = tad.PatternSet({"stage2_block1_project_bn": tad.ConvPattern(size=4)})
    carried = tad.transfer(patterns, source, resnet50_sites((128, 128, 3)))
    assert carried == tad.PatternSet({"stage2_block1_project_bn": tad.ConvPattern(size=8)})


def test_sites_without_a_pattern_pass_on_none():
    source, target = wide_resnet_sites(10, 1), wide_resnet_sites(16, 1)
    carried = tad.transfer(tad.PatternSet({"stage2_block1_bn2": tad.ConvPattern(size=2)}), source, target)
    assert list(carried) == ["stage2_block1_bn2", "stage2_block2_bn2"]
    assert tad.transfer(tad.PatternSet({}), source, target) == tad.PatternSet({})


def test_a_map_that_is_not_square_counts_by_its_smaller_side():
    source = wide_resnet_sites(10, 1, (16, 32, 3))
    target = wide_resnet_sites(10, 1, (24, 96, 3))
    patterns = tad.PatternSet({"stage1_block1_bn1": tad.ConvPattern(size=(2, 4))})
    assert tad.transfer(patterns, source, target)["stage1_block1_bn1"].size == (3, 6)


def test_names_of_other_families_and_blocks_counted_through():
    # As `tad.sites` numbers blocks: from the first to the last of the network, whatever the layers are called.
    def network(blocks):
        sites, count = [Site("conv1_bn", tad.ConvPattern, (8, 8, 4), "stem", "stage1")], 0
        for stage, number in enumerate(blocks, start=1):
            for block in range(1, number + 1):
                count += 1
                parts = ("0_bn", "1_bn", "2_bn") if block == 1 else ("1_bn", "2_bn")
                for part in parts:
                    name = f"conv{stage}_block{block}_{part}"
                    sites.append(Site(name, tad.ConvPattern, (8, 8, 4), f"block{count}", f"stage{stage}"))
        return sites

    source, target = network((1, 2)), network((2, 3))
    found = origins(tad.transfer(marked(source), source, target), source)
    assert found == {
        "conv1_bn": "conv1_bn",
        **{f"conv1_block1_{k}_bn": f"conv1_block1_{k}_bn" for k in (0, 1, 2)},
        **{f"conv1_block2_{k}_bn": f"conv1_block1_{k}_bn" for k in (1, 2)},
        **{f"conv2_block1_{k}_bn": f"conv2_block1_{k}_bn" for k in (0, 1, 2)},
        **{f"conv2_block{b}_{k}_bn": f"conv2_block2_{k}_bn" for k in (1, 2) for b in (2, 3)},
    }


def test_provenance_tells_what_was_done():
    source, target = wide_resnet_sites(16, 1), wide_resnet_sites(10, 1, (64, 64, 3))
    carried = tad.transfer(marked(source), source, target)
    left = [f"stage{stage}_block2_{part}" for stage in (1, 2, 3) for part in ("bn1", "bn2")]
    note = {"from_sites": 13, "to_sites": 7, "scaled_by": [2.0, 2.0], "left_out": left}
    assert carried.provenance == {
        "task": "digits",
        "sites": {site.name: list(site.shape) for site in target},
        "transfers": [note],
    }
    back = tad.transfer(carried, target, source)
    assert [one["to_sites"] for one in back.provenance["transfers"]] == [7, 13]
    assert tad.PatternSet.from_json(back.to_json()).provenance == back.provenance


def test_a_pattern_at_a_site_that_the_source_lacks():
    source = wide_resnet_sites(10, 1)
    patterns = tad.PatternSet({"stage1_block7_bn1": tad.ConvPattern(1), "final_bn": tad.ConvPattern(1)})
    with pytest.raises(ValueError, match=r"^1 of 2 sites of 'patterns' are not in 'source': stage1_block7_bn1\. Its"):
        tad.transfer(patterns, source, source)


@pytest.mark.slow
def test_a_target_of_another_family():
    source, target = wide_resnet_sites(10, 1), resnet50_sites((64, 64, 3), 0.25)
    with pytest.raises(ValueError, match=r"^\d+ sites of 'target' have no counterpart.+ in 'source': stem_bn, "):
        tad.transfer(marked(source), source, target)


def test_a_pattern_that_the_target_has_no_place_for():
    source = wide_resnet_sites(10, 1)
    target = [site for site in source if site.stage != "stage3"]
    wanted = r"^3 sites of 'source' have no counterpart.+ in 'target': stage3_block1_bn1, .+, final_bn$"
    with pytest.raises(ValueError, match=wanted):
        tad.transfer(marked(source), source, target)
    patterns = tad.PatternSet({"stage1_block1_bn1": tad.ConvPattern(1)})
    assert tad.transfer(patterns, source, target) == patterns


def test_kinds_must_agree():
    source = wide_resnet_sites(10, 1)
    with pytest.raises(TypeError, match=r"^Site 'final_bn' needs a ConvPattern\. Received: TransformerPattern$"):
        tad.transfer(tad.PatternSet({"final_bn": tad.TransformerPattern(1)}), source, source)
    other = [Site(site.name, tad.TransformerPattern, (8, 4), site.block, site.stage) for site in source]
    with pytest.raises(ValueError, match="have no counterpart"):
        tad.transfer(marked(source), source, other)


def test_arguments_are_checked():
    source = wide_resnet_sites(10, 1)
    with pytest.raises(TypeError, match=r"^Expected 'patterns' to be a PatternSet\. Received: {"):
        tad.transfer({"final_bn": tad.ConvPattern(1)}, source, source)
    for arguments in ((["final_bn"], source), (source, ["final_bn"])):
        with pytest.raises(
            TypeError, match=r"^Expected '(source|target)' to be a sequence of sites, as tad.+ Received: 'fin"
        ):
            tad.transfer(marked(source), *arguments)
