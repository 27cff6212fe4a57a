"""Pictures: what the panels show is what their titles say, and what the definition allows."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

import tf_autodropout as tad
from tests import reference
from tf_autodropout.visualize import summary

CONV = tad.ConvPattern(size=2, stride=1, repeat=2, rotate=30, shear_x=0.25)
TRANSFORMER = tad.TransformerPattern(size=2, stride=2, share_c=True, rate=1)


def picture(axes):
    (image,) = axes.images
    return np.asarray(image.get_array(), np.float64)


def texts(figure):
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


@pytest.mark.parametrize(("pattern", "shape"), [(CONV, (9, 7, 16)), (TRANSFORMER, (12, 5))])
@pytest.mark.parametrize("draws", [1, 5])
def test_one_pattern(pattern, shape, draws):
    figure = tad.visualize.plot(pattern, shape, draws=draws)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == draws + 1
    for axes in figure.axes[:-1]:
        mask = picture(axes)
        assert mask.shape == shape[:2]
        assert set(np.unique(mask)) <= {0.0, 1.0}
        assert axes.get_title() == f"keep {mask.mean():.0%}"


def test_the_panels_are_masks_of_the_definition():
    legal = {mask.tobytes() for mask in reference.all_conv_masks(CONV, 9, 7).values()}
    masks = [picture(axes).astype(np.int64) for axes in tad.visualize.plot(CONV, (9, 7, 3)).axes[:-1]]
    assert {mask.tobytes() for mask in masks} <= legal
    everything = np.ones((12, 5), bool)
    legal = {reference.transformer_mask(TRANSFORMER, 12, 5, start, everything).tobytes() for start in range(4)}
    masks = [picture(axes).astype(np.int64) for axes in tad.visualize.plot(TRANSFORMER, (12, 5)).axes[:-1]]
    assert {mask.tobytes() for mask in masks} <= legal
    assert len({mask.tobytes() for mask in masks}) > 1


def test_the_last_panel_is_the_drop_probability():
    pattern = tad.ConvPattern(size=3)
    axes = tad.visualize.plot(pattern, (8, 8, 3)).axes[-1]
    marginal = picture(axes)
    assert marginal.shape == (8, 8)
    assert marginal.mean() == pytest.approx(reference.conv_drop_probability(pattern, 8, 8), abs=0.03)
    low, high = map(float, re.fullmatch(r"P\(drop\) ([\d.]+)\D([\d.]+)", axes.get_title()).groups())
    assert (low, high) == (round(marginal.min(), 2), round(marginal.max(), 2))


def test_a_set_has_a_row_for_each_site():
    patterns = tad.PatternSet({"stem": CONV, "ffn": TRANSFORMER, "none": tad.ConvPattern()})
    shapes = {"stem": (9, 7, 3), "ffn": (12, 5), "none": (4, 4, 1), "unused": (1, 1, 1)}
    figure = tad.visualize.plot(patterns, shapes, draws=3)
    assert len(figure.axes) == 3 * 4
    for row, (site, pattern) in enumerate(patterns.items()):
        panels = figure.axes[4 * row : 4 * row + 3]
        if pattern.is_identity:  # named, without pictures
            assert not any(axes.images or axes.axison for axes in panels)
        else:
            assert [picture(axes).shape for axes in panels] == [shapes[site][:2]] * 3
            assert [axes.get_title() for axes in panels] == [f"keep {picture(axes).mean():.0%}" for axes in panels]
        words = " ".join(text.get_text() for text in panels[0].texts)
        assert site in words
        assert summary(pattern) in words
    assert tad.visualize.plot(tad.ConvPattern(), (4, 4, 1)).axes[0].get_title() == "keep 100%"


def test_a_seed_fixes_the_pictures():
    def masks(seed):
        return b"".join(picture(axes).tobytes() for axes in tad.visualize.plot(CONV, (9, 7, 3), seed=seed).axes)

    assert masks(1) == masks(1)
    assert masks(1) != masks(2)


def test_a_figure_can_be_written(tmp_path):
    tad.visualize.plot(tad.PatternSet({"a": CONV}), {"a": (9, 7, 3)}, draws=2).savefig(tmp_path / "masks.png")
    assert (tmp_path / "masks.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        (tad.ConvPattern(), ["no pattern"]),
        (tad.TransformerPattern(), ["no pattern"]),
        (tad.ConvPattern(size=(2, 5), stride=3, repeat=4), ["2", "5", "3", "4"]),
        (tad.ConvPattern(size=2, rotate=30, shear_x=0.25), ["30", "0.25"]),
        (tad.ConvPattern(size=2, share_c=True, residual=True, rate=0.5), ["share c", "residual", "rate 0.5"]),
        (tad.TransformerPattern(size=7, stride=3, share_t=True, rate=0.25), ["7", "3", "share t", "rate 0.25"]),
    ],
)
def test_captions_name_what_matters(pattern, wanted):
    caption = summary(pattern)
    assert all(word in caption for word in wanted)
    shape = (4, 4, 1) if isinstance(pattern, tad.ConvPattern) else (4, 4)
    assert caption in texts(tad.visualize.plot(pattern, shape, draws=1))


@pytest.mark.parametrize("draws", [0, -1, 2.5])
def test_draws_are_checked(draws):
    with pytest.raises(ValueError, match=rf"^Invalid value for 'draws'\. Expected 1 to 256\. Received: draws={draws}"):
        tad.visualize.plot(CONV, (4, 4, 1), draws=draws)


@pytest.mark.parametrize(
    ("pattern", "shape", "message"),
    [
        (CONV, (4, 4), r"\(H, W, C\)"),
        (CONV, (1, 4, 4, 1), r"\(H, W, C\)"),
        (TRANSFORMER, (4,), r"\(T, C\)"),
        (TRANSFORMER, (4, 4, 1), r"\(T, C\)"),
        (tad.PatternSet({"stem": CONV}), {"stem": (4, 4)}, r"\(H, W, C\) .*stem"),
        (tad.PatternSet({"stem": CONV}), {"other": (4, 4, 1)}, "none for 'stem'"),
        (tad.PatternSet({"stem": CONV}), (4, 4, 1), "map each site to its shape"),
        (tad.PatternSet({}), {}, "at least one site"),
    ],
)
def test_shapes_are_checked(pattern, shape, message):
    with pytest.raises(ValueError, match=message):
        tad.visualize.plot(pattern, shape)


def test_what_is_no_pattern_and_a_map_without_cells_are_refused():
    with pytest.raises(TypeError, match="Expected 'pattern' to be a pattern or a PatternSet"):
        tad.visualize.plot(None, (4, 4, 1))
    with pytest.raises(ValueError, match="Expected a shape"):
        tad.visualize.plot(CONV, (0, 4, 1))
