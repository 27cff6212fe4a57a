"""`tad.show`: the activations that arrive at each site, the masks on them, and nothing moved by looking."""

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tf_autodropout.layers import PatternAttention
from tf_autodropout.layers.recording import current_observer, recording

IMAGES = np.random.default_rng(0).random((3, 12, 12, 3)).astype("float32")


def convnet(sites=1):
    x = image = keras.Input((12, 12, 3))
    for number in range(sites):
        x = keras.layers.Conv2D(4, 1, name=f"conv{number}")(x)
        x = tad.PatternDropout(tad.ConvPattern(size=3), site=f"site{number}")(x)
    return keras.Model(image, x)


def picture(axes, number=0):
    return np.asarray(axes.images[number].get_array(), np.float64)


def labels(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_weight() == "bold"]


def test_the_activation_is_what_arrives_and_the_marks_are_what_is_dropped():
    model = convnet()
    figure = tad.show(model, IMAGES, draws=3)
    assert len(figure.axes) == 5
    arrives = np.asarray(model.layers[1](IMAGES))
    shown = picture(figure.axes[0])
    spread = arrives.std((1, 2))
    example, channel = np.unravel_index(spread.argmax(), spread.shape)
    np.testing.assert_allclose(shown, arrives[example, ..., channel], rtol=1e-5)
    for axes in figure.axes[1:4]:
        np.testing.assert_allclose(picture(axes), shown)
        marks = picture(axes, 1)[..., 3]
        assert 0 < (marks > 0).sum() <= 9
        assert float(axes.get_title()[5:-1]) == pytest.approx(100 * (marks == 0).mean(), abs=0.5)
    assert figure.axes[4].texts[0].get_text() == f"{9 / 14 / 14:.3g}"
    assert labels(figure) == ["site0\n12×12×4"]


def test_looking_moves_nothing():
    model = convnet()
    layer = model.layers[2]
    before = layer.seed_state.numpy().copy()
    tad.show(model, IMAGES)
    np.testing.assert_array_equal(layer.seed_state.numpy(), before)
    assert current_observer() is None
    with pytest.raises(ZeroDivisionError), recording(lambda layer, x: 1 / 0):
        model(IMAGES)
    assert current_observer() is None


def test_channels_first_maps_are_turned_round():
    image = keras.Input((3, 12, 10))
    model = keras.Model(image, tad.PatternDropout(tad.ConvPattern(size=3), data_format="channels_first")(image))
    x = np.random.default_rng(0).random((2, 3, 12, 10)).astype("float32")
    figure = tad.show(model, x, draws=1)
    assert any(np.allclose(picture(figure.axes[0]), one) for example in x for one in example)


@pytest.mark.parametrize(("shape", "size"), [((20, 6), (20, 6)), ((4, 6, 6, 2), (13, 13))])
def test_one_and_three_axes(shape, size):
    image = keras.Input(shape)
    model = keras.Model(image, tad.PatternDropout(tad.ConvPattern(size=2))(image))
    figure = tad.show(model, np.random.default_rng(0).random((2, *shape)), draws=1)
    assert picture(figure.axes[0]).shape == size


def test_hidden_layers_are_found():
    tokens = keras.Input((7, 8))
    patterns = {"softmax": tad.members.dropout(0.1), "output": tad.members.word_dropout(0.1)}
    model = keras.Model(tokens, PatternAttention(2, 4, patterns=patterns)(tokens, tokens))
    x = np.random.default_rng(0).random((2, 7, 8)).astype("float32")
    figure = tad.show(model, x, draws=2)
    assert labels(figure) == ["softmax\n7×14", "output\n7×8"]
    assert figure.axes[0].get_ylabel() == "← key"
    np.testing.assert_allclose(picture(figure.axes[0]).sum(0), np.ones(14), rtol=1e-5)  # each query's keys
    assert labels(tad.show(model)) == labels(figure)


def test_layers_of_keras_hub_are_seen_and_stay_the_identity():
    import keras_nlp

    from tf_autodropout.layers.pattern_transformer import PatternTransformerDecoder, PatternTransformerEncoder

    x = keras.Input((5, 8))
    patterns = {"ffn": tad.members.word_dropout(0.1), "query": tad.members.dropout(0.1)}
    layers = [
        kind(16, 2, dropout=0.5, patterns=patterns) for kind in (PatternTransformerEncoder, PatternTransformerDecoder)
    ]
    model = keras.Model(x, layers[1](layers[0](x)))
    batch = np.random.default_rng(0).random((2, 5, 8)).astype("float32")
    assert labels(tad.show(model, batch, draws=1)) == ["query\n5×8", "ffn\n5×8"]
    plain = np.asarray(model(batch, training=False))
    with recording(lambda layer, x: None):
        watched = np.asarray(model(batch, training=False))
    np.testing.assert_allclose(watched, plain, rtol=1e-5, atol=1e-5)  # neither patterns nor Dropout act
    assert isinstance(layers[0], keras_nlp.layers.TransformerEncoder)


def test_layers_alike_are_one_row():
    tokens = keras.Input((7, 8))
    x = tokens
    for _ in range(3):
        x = tad.PatternDropout(tad.members.dropout(0.1), site="ffn")(x)
    x = tad.PatternDropout(tad.members.dropout(0.2), site="ffn", schedule=tad.Schedule.ramp_up(9))(x)
    figure = tad.show(keras.Model(tokens, x), np.ones((1, 7, 8), "float32"), draws=1)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(figure.axes) == 2 * 3
    assert any("3 layers alike" in text for text in texts)
    assert any("schedule ×0 to ×1" in text for text in texts)


def test_rows_are_twelve_unless_sites_says_otherwise():
    model = convnet(14)
    figure = tad.show(model, IMAGES, draws=1)
    assert len(labels(figure)) == 12
    assert "12 of 14 sites; 2 more" in figure.texts[0].get_text()
    assert len(labels(tad.show(model, IMAGES, sites="*", draws=1))) == 14
    assert labels(tad.show(model, IMAGES, sites=["site1", "site1?"], draws=1))[0] == "site1\n12×12×4"
    with pytest.raises(ValueError, match=r"fits sites='nothing'\. Sites: site0, site1"):
        tad.show(model, IMAGES, sites="nothing")


def test_without_images_masks_alone():
    figure = tad.show(convnet(2), draws=2)
    assert len(figure.axes) == 2 * 3
    assert len(figure.axes[0].images) == 1


def test_a_skip_connection_without_residual_is_no_site():
    image = keras.Input((8, 8, 2))
    x = tad.PatternDropout(tad.ConvPattern(size=2), site="a", on_skip=True)(image)
    with pytest.raises(ValueError, match="no site with a pattern"):
        tad.show(keras.Model(image, x))


@pytest.mark.parametrize("images", [IMAGES[0], IMAGES[:, :5], IMAGES[:0], [IMAGES, IMAGES], "images"])
def test_inputs_are_checked(images):
    with pytest.raises(ValueError, match="Invalid value for 'images'"):
        tad.show(convnet(), images)


def test_inputs_by_name_are_checked():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    outputs = tad.PatternDropout(tad.members.dropout(0.1))(keras.layers.Add()(list(inputs.values())))
    model = keras.Model(inputs, outputs)
    batch = np.ones((2, 4), "float32")
    assert len(tad.show(model, {"a": batch, "b": batch}, draws=1).axes) == 3
    with pytest.raises(ValueError, match=r"Expected the inputs \['a', 'b'\]\. Received: no 'b'"):
        tad.show(model, {"a": batch})


def test_what_is_no_model_and_a_model_without_patterns_are_refused():
    with pytest.raises(TypeError, match="Expected 'model' to be a Keras model"):
        tad.show(tad.ConvPattern(), IMAGES)
    image = keras.Input((4, 4, 1))
    with pytest.raises(ValueError, match="has no site with a pattern"):
        tad.show(keras.Model(image, keras.layers.Conv2D(1, 1)(image)), np.ones((1, 4, 4, 1)))
