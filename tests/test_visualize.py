"""Pictures: what the panels show is what their titles say, and what the definition allows."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import tf_autodropout as tad
from tests import reference
from tf_autodropout.masks import drop_probability
from tf_autodropout.visualize import summary, telling
from tf_autodropout.visualize.telling import acts
from tf_autodropout.visualize.view import View

CONV = tad.ConvPattern(size=2, stride=1, repeat=2, rotate=30, shear_x=0.25)
TRANSFORMER = tad.TransformerPattern(size=2, stride=2, share_c=True, rate=1)


def picture(axes):
    return np.asarray(axes.images[0].get_array(), np.float64)


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
        assert axes.get_title().startswith("keep ")
        assert float(axes.get_title()[5:-1]) == pytest.approx(100 * mask.mean(), abs=0.5)


def test_the_panels_are_masks_of_the_definition():
    legal = {mask.tobytes() for mask in reference.all_conv_masks(CONV, 9, 7).values()}
    masks = [picture(axes).astype(np.int64) for axes in tad.visualize.plot(CONV, (9, 7, 3)).axes[:-1]]
    assert {mask.tobytes() for mask in masks} <= legal
    everything = np.ones((12, 5), bool)
    legal = {reference.transformer_mask(TRANSFORMER, 12, 5, start, everything).tobytes() for start in range(4)}
    masks = [picture(axes).astype(np.int64) for axes in tad.visualize.plot(TRANSFORMER, (12, 5)).axes[:-1]]
    assert {mask.tobytes() for mask in masks} <= legal
    assert len({mask.tobytes() for mask in masks}) > 1


@pytest.mark.parametrize(
    ("pattern", "shape"), [(tad.ConvPattern(size=3), (8, 8, 3)), (tad.members.word_dropout(0.003), (64, 32))]
)
def test_a_drop_probability_that_is_the_same_everywhere_is_a_number(pattern, shape):
    axes = tad.visualize.plot(pattern, shape).axes[-1]
    assert not axes.images
    exact = 0.003 if len(shape) == 2 else reference.conv_drop_probability(pattern, 8, 8)
    assert axes.texts[0].get_text() == f"{exact:.3g}"


def test_the_drop_probability_of_drop_block_is_a_picture_with_a_scale():
    pattern = tad.members.drop_block(3, 0.1)
    axes = tad.visualize.plot(pattern, (8, 6, 3)).axes[-1]
    np.testing.assert_allclose(picture(axes), drop_probability(pattern, (8, 6)), rtol=1e-6)
    assert len(axes.child_axes) == 1
    low, high = picture(axes).min(), picture(axes).max()
    assert axes.get_title() == f"P(drop) {low:.2g}–{high:.2g}"


@pytest.mark.parametrize(
    ("pattern", "shape", "words"),
    [
        (tad.members.spatial_dropout(0.01), (8, 8, 3), "acts in 1 % of maps"),
        (tad.ConvPattern(size=2, rate=0.001, share_c=True), (8, 8, 3), "acts in 0.1 % of examples"),
        (tad.ConvPattern(size=2, rate=0.02, share_c=True), (8, 3), "acts in 2 % of examples"),
        (tad.ConvPattern(size=2, rate=0.02), (8, 3), "acts in 2 % of channels"),
        (tad.members.drop_path(0.03, tad.TransformerPattern), (8, 8), "acts in 3 % of examples"),
        (tad.members.drop_block(4, 0.1), (8, 8, 3), "acts in"),
        (tad.members.dropout(0.001), (16, 16), "rate 0.001"),
    ],
)
def test_draws_at_small_rates_drop_something(pattern, shape, words):
    figure = tad.visualize.plot(pattern, shape, draws=4)
    assert words in texts(figure)
    for axes in figure.axes[:-1]:
        assert (picture(axes) == 0).any()
        assert axes.get_title() != "keep 100%"


def test_how_often_drop_block_acts_is_counted():
    pattern = tad.members.drop_block(4, 0.1)
    chance, what = acts(pattern, (8, 8))
    masks = tad.keep_mask(pattern, (4000, 8, 8, 1), 0).numpy()
    assert what == "maps"
    assert chance == pytest.approx((masks.min((1, 2, 3)) == 0).mean(), abs=4 * (0.25 / 4000) ** 0.5)


def test_draws_given_that_a_pattern_acts_are_its_own():
    one = tad.ConvPattern(size=2, rate=0.01)
    legal = {mask.tobytes() for mask in reference.all_conv_masks(replace(one, rate=1.0), 5, 4).values()}
    masks = [picture(axes).astype(np.int64) for axes in tad.visualize.plot(one, (5, 4, 3)).axes[:-1]]
    assert {mask.tobytes() for mask in masks} <= legal


def test_volumes_are_slices_with_gaps():
    axes = tad.visualize.plot(tad.ConvPattern(size=2), (4, 6, 6, 2), draws=1).axes[0]
    mosaic = picture(axes)
    assert mosaic.shape == (13, 13)  # two by two slices of six by six, a gap of one
    assert np.isnan(mosaic[6]).all()
    assert np.isnan(mosaic[:, 6]).all()
    assert (mosaic == 0).sum() == np.nansum(1 - mosaic) > 0
    assert "slices along depth" in axes.get_xlabel()
    view = View.of((4, 6, 6), (2, 2, 2), square=True)
    volume = np.arange(144.0).reshape(4, 6, 6)
    np.testing.assert_array_equal(view.picture(volume, (0, 0, 0))[7:, :6], volume[2])


def test_maps_of_one_axis_are_tables():
    figure = tad.visualize.plot(tad.ConvPattern(size=3), (16, 4), draws=2)
    assert picture(figure.axes[0]).shape == (16, 4)
    assert (figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()) == ("← position", "channel →")


def test_large_maps_are_reduced_and_say_so():
    figure = tad.visualize.plot(tad.ConvPattern(size="1/4"), (500, 400, 2), draws=2)
    assert "a pixel: 6×6 cells" in texts(figure)
    for axes in figure.axes[:2]:
        share = float(axes.get_title().removeprefix("keep ").removesuffix("%")) / 100
        assert picture(axes).shape == (84, 67)
        assert picture(axes).mean() == pytest.approx(share, abs=0.01)
    figure = tad.visualize.plot(tad.ConvPattern(size=2), (500, 400, 2), draws=2)
    assert "seen: 96×96 of 500×400" in texts(figure)
    assert all((picture(axes) == 0).any() for axes in figure.axes[:2])


@pytest.mark.parametrize("pattern", [tad.members.dropout(0.1), tad.ConvPattern(size=3, rate=0.1)])
def test_large_sites_draw_no_more_than_is_shown(pattern, monkeypatch):
    shapes = []

    def counted(one, shape, seed):
        shapes.append(shape)
        return tad.keep_mask(one, shape, seed)

    monkeypatch.setattr(telling, "keep_mask", counted)
    figure = tad.visualize.plot(pattern, (2048, 4096))
    assert sum(np.prod(shape) for shape in shapes) <= 5 * 2048 * 64
    assert "64 of 4096" in texts(figure)


def test_a_model_shows_its_sites():
    image = keras.Input((12, 10, 3))
    x = tad.PatternDropout(tad.ConvPattern(size="1/4"), site="first")(keras.layers.Conv2D(4, 3)(image))
    x = tad.PatternDropout(tad.ConvPattern(), site="nothing")(x)
    x = tad.PatternDropout(tad.members.dropout(0.1), site="last")(keras.layers.GlobalAveragePooling2D()(x))
    figure = tad.visualize.plot(keras.Model(image, x), draws=2)
    assert len(figure.axes) == 2 * 3
    assert picture(figure.axes[0]).shape == (10, 8)
    assert picture(figure.axes[3]).shape == (1, 4)
    assert "first\n10×8×4" in texts(figure)
    assert "nothing" not in texts(figure)
    sequence = keras.Input((None, 8))
    model = keras.Model(sequence, tad.PatternDropout(tad.members.dropout(0.1), site="tokens")(sequence))
    assert picture(tad.visualize.plot(model, draws=1).axes[0]).shape == (32, 8)
    assert picture(tad.visualize.plot(model, {"tokens": (5, 8)}, draws=1).axes[0]).shape == (5, 8)
    with pytest.raises(ValueError, match="no site with a pattern named 'other'"):
        tad.visualize.plot(model, {"other": (5, 8)})
    with pytest.raises(ValueError, match="map sites to shapes"):
        tad.visualize.plot(model, (5, 8))
    with pytest.raises(ValueError, match="has no site with a pattern"):
        tad.visualize.plot(keras.Model(sequence, keras.layers.Dense(2)(sequence)))


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
        words = " ".join(text.get_text() for text in panels[0].texts)
        assert site in words
        assert summary(pattern) in words
    assert tad.visualize.plot(tad.ConvPattern(), (4, 4, 1)).axes[0].get_title() == "keep 100%"
    assert "no pattern" in texts(tad.visualize.plot(patterns, shapes))


def test_a_seed_fixes_the_pictures():
    def masks(seed):
        return b"".join(picture(axes).tobytes() for axes in tad.visualize.plot(CONV, (9, 7, 3), seed=seed).axes[:-1])

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
        (CONV, (4, 4), r"cannot be rotated"),
        (CONV, (4,), r"\(H, W, C\)"),
        (CONV, (1, 1, 4, 4, 1), r"\(H, W, C\)"),
        (TRANSFORMER, (4,), r"\(T, C\)"),
        (TRANSFORMER, (4, 4, 1), r"\(T, C\)"),
        (tad.PatternSet({"stem": CONV}), {"stem": (4,)}, r"\(H, W, C\) .*stem"),
        (tad.PatternSet({"stem": CONV}), {"other": (4, 4, 1)}, "none for 'stem'"),
        (tad.PatternSet({"stem": CONV}), (4, 4, 1), "map each site to its shape"),
        (tad.PatternSet({}), {}, "at least one site"),
    ],
)
def test_shapes_are_checked(pattern, shape, message):
    with pytest.raises(ValueError, match=message):
        tad.visualize.plot(pattern, shape)


def test_what_is_no_pattern_and_a_map_without_cells_are_refused():
    with pytest.raises(TypeError, match="Expected 'pattern' to be a pattern, a PatternSet or a model"):
        tad.visualize.plot(None, (4, 4, 1))
    with pytest.raises(ValueError, match="Expected a shape"):
        tad.visualize.plot(CONV, (0, 4, 1))
