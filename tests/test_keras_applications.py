"""The families of keras.applications, with their classifier and without."""

import inspect
from collections.abc import Iterator

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests.blocks import blocks_without_site
from tests.test_surgery import same

# A member of each family, the sides of small images that leave it maps of more than one cell, and what makes it small.
FAMILIES = {
    "ConvNeXtTiny": (64, {}),
    "DenseNet121": (32, {}),
    "EfficientNetB0": (32, {}),
    "EfficientNetV2B0": (32, {}),
    "EfficientNetV2S": (32, {}),
    "InceptionResNetV2": (75, {}),
    "InceptionV3": (75, {}),
    "MobileNet": (32, {"alpha": 0.25}),
    "MobileNetV2": (32, {"alpha": 0.35}),
    "MobileNetV3Large": (32, {}),
    "MobileNetV3Small": (32, {}),
    "NASNetLarge": (32, {}),
    "NASNetMobile": (32, {}),
    "ResNet50": (32, {}),
    "ResNet50V2": (32, {}),
    "VGG16": (32, {}),
    "VGG19": (32, {}),
    "Xception": (71, {}),
}
IN_EVERY_RUN = ("MobileNet",)
PATTERN = tad.ConvPattern(size=1, rate=0.5, residual=True)


def modules() -> Iterator[str]:
    for name, module in inspect.getmembers(keras.applications, inspect.ismodule):
        yield from (f"{name}.{one}" for one, kind in inspect.getmembers(module, inspect.isfunction) if one[0].isupper())


def test_all_families_are_there():
    families = {name.partition(".")[0] for name in modules()}
    ours = {name.partition(".")[0] for name in modules() if name.partition(".")[2] in FAMILIES}
    assert ours == families - {"imagenet_utils"}


@pytest.mark.parametrize(
    "include_top", [pytest.param(True, id="top"), pytest.param(False, id="no top", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in IN_EVERY_RUN else pytest.mark.slow) for name in FAMILIES]
)
def test_a_family(name, include_top, tmp_path):
    side, arguments = FAMILIES[name]
    shape = (side, side, 3)
    build = getattr(keras.applications, name)
    plain = build(weights=None, include_top=include_top, input_shape=shape, **arguments)
    assert not [block for block in blocks_without_site(plain) if not block.endswith(" to predictions")]
    x = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")

    model = tad.regularize(plain, PATTERN)
    wanted = model(x, training=False)
    assert same(wanted, plain(x, training=False))
    assert all(site.pattern == PATTERN for site in tad.sites(model))

    stripped = tad.strip(model)
    assert [type(layer) for layer in stripped.layers] == [type(layer) for layer in plain.layers]
    assert same(stripped(x, training=False), wanted)

    model.save(tmp_path / "model.keras")
    loaded = tad.load_model(tmp_path / "model.keras")
    assert same(loaded(x, training=False), wanted)
    assert [site.pattern for site in tad.sites(loaded)] == [site.pattern for site in tad.sites(model)]
    assert not same(model(x, training=True), model(x, training=True))
