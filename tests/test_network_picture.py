"""The drawing of a network with its patterns."""

import pytest

import tf_autodropout as tad

SHAPES = {"first": (16, 16, 8), "second": (8, 8, 16), "last": (4, 4, 32)}
FOUND = tad.PatternSet({"last": tad.ConvPattern(size=2), "first": tad.ConvPattern(size=5, rotate=20)})


def texts(figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def test_sites_stand_in_the_order_of_the_network_with_a_mask_where_there_is_a_pattern() -> None:
    figure = tad.visualize.network(FOUND, SHAPES)
    said = texts(figure)
    assert said[0::2] == ["first", "second", "last"]
    assert said[3] == "8×8×16"
    assert said[5].splitlines()[:3] == ["4×4×32", "drops 16%", "2×2"]
    masks = [image.get_array() for image in figure.axes[0].images]
    assert [mask.shape for mask in masks] == [(16, 16), (4, 4)]
    assert all((mask == 0).sum() > 0 for mask in masks)
    sides = [image.get_extent()[1] - image.get_extent()[0] for image in figure.axes[0].images]
    assert sides[0] > sides[1]  # the larger map is drawn larger


def test_a_model_knows_its_sites_and_many_take_several_rows() -> None:
    plain = tad.models.wide_resnet(16, 1, input_shape=(16, 16, 3))
    model = tad.regularize(plain, tad.ConvPattern(size="1/4"))
    figure = tad.visualize.network(model)
    assert len(texts(figure)) == 2 * len(tad.sites(plain))
    assert figure.get_figheight() > figure.get_figwidth() / 4
    text = tad.PatternSet({"ffn": tad.members.word_dropout(0.5)})
    assert texts(tad.visualize.network(text, {"query": (32, 8), "ffn": (32, 8)}))[0::2] == ["query", "ffn"]


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(TypeError, match="Expected 'pattern' to be a PatternSet or a model"):
        tad.visualize.network(tad.ConvPattern(size=2), SHAPES)
    with pytest.raises(ValueError, match="Expected a shape for each site. Received: none for 'last'"):
        tad.visualize.network(FOUND, {"first": (16, 16, 8)})
    with pytest.raises(ValueError, match="Expected 'shape' to map each site"):
        tad.visualize.network(FOUND)
