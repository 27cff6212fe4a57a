"""Trainings of recipes at scale tiny: they train, evaluate, save, go on after a stop; all rows of the tables when slow.

Where `../shared/data` has a data set it is used: CIFAR-10 for CIFAR-10, ten classes of Tiny ImageNet for ImageNet, Penn
Treebank, WikiText-2, a part of IWSLT'14 for IWSLT'14, Multi30k for WMT'14. Else each is a generated stand-in: squares
in noise for images, a counting language for text, numbers in words for translation.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tf_autodropout.search.recipes import imagenet
from tf_autodropout.search.recipes.data_sets import is_there
from tf_autodropout.search.recipes.networks import image_network
from tf_autodropout.search.recipes.recipe import SEARCH
from tf_autodropout.search.recipes.registry import RECIPES, find
from tf_autodropout.search.recipes.reproduce import reproduce
from tf_autodropout.search.recipes.train_images import image_training
from tf_autodropout.search.recipes.train_recipe import make_training, train_recipe

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
# B3, B5 and B7 have B0's depth and pixels at scale tiny: what is the same training is run once.
FINALS = list(
    {
        repr((recipe.training, recipe.noise, sorted(recipe.at("tiny").items(), key=str), recipe.place[:4])): name
        for name, recipe in reversed(RECIPES.items())
        if recipe.kind != SEARCH
    }.values()
)[::-1]
SEARCHES = [name for name, recipe in RECIPES.items() if recipe.kind == SEARCH]
ROLES = tad.PatternSet({"ffn": tad.TransformerPattern(size=2, stride=1, rate=0.2)})
pytestmark = pytest.mark.filterwarnings("ignore:Layer .* drops the whole map:UserWarning")  # maps of one cell


def data_for(name: str) -> Path | None:
    """Real data where it is at hand, else the stand-in."""
    plan = find(name).at("tiny")
    wanted = plan.get("data", find(name).data)
    return DATA if DATA.is_dir() and is_there(wanted, DATA) else None


def patterns_for(name: str) -> tad.PatternSet | None:
    """A set as a search would find it on the proxy of a recipe, smaller than the network of the recipe."""
    recipe = find(name)
    if not recipe.needs_patterns:
        return None
    if recipe.training in ("text", "translation"):
        return ROLES
    plan = recipe.at("tiny")
    proxy = image_network(plan | {"image_size": plan["image_size"], "variant": "b0"}, 10)
    sites = tad.sites(proxy).as_sites()
    chosen = {site.name: tad.ConvPattern(size=1, rate=0.5) for site in sites if site.name.endswith("bn2")}
    chosen |= {site.name: tad.ConvPattern(size=1, rate=0.5) for site in sites if site.name.endswith("depthwise_bn")}
    return tad.PatternSet(chosen, {"sites": {site.name: list(site.shape) for site in sites}})


def check(name: str, out: Path, data_dir: Path | None) -> None:
    recipe = find(name)
    result = train_recipe(recipe, "tiny", data_dir, out, patterns_for(name), "a set")
    assert np.isfinite(list(result.scores.values())).all()
    assert result.facts["parameters"] > 1000
    directory = next(out.glob("rows/*/tiny-seed0"))
    assert sorted(path.name for path in directory.iterdir()) == ["model.keras", "result.json"]
    with zipfile.ZipFile(directory / "model.keras") as archive:  # it loads where no recipe is imported
        assert b"search.recipes" not in archive.read("config.json")
    saved = tad.load_model(directory / "model.keras")
    assert saved.count_params() == result.facts["parameters"]


@pytest.mark.parametrize(
    "name", ["table4/ptb/variational-dropout", pytest.param("table2/cifar10/moex", marks=pytest.mark.slow)]
)
def test_a_row_trains_evaluates_and_is_saved(name: str, tmp_path: Path) -> None:
    """On the stand-ins, so that the default tests read nothing from elsewhere."""
    check(name, tmp_path, None)


def plain_weights(model: keras.Model) -> Mapping[str, np.ndarray]:
    return {variable.path: variable.numpy() for variable in model.variables}


class Stop(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table1/cifar10/stochastic-depth", "table4/ptb/dropout"])
def test_a_stopped_training_goes_on_to_the_same_weights(name: str, tmp_path: Path) -> None:
    """Weights, optimizer, masks, memory and order of the data are where they were: the same bits but for XLA's."""

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 2:
            raise Stop

    recipe = find(name)
    whole = make_training(recipe, "tiny", None)
    scores = whole.run(tmp_path / "whole")
    with pytest.raises(Stop):
        make_training(recipe, "tiny", None).run(tmp_path / "stopped", stop)
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["state-2.weights.h5"]
    again: list[int] = []
    resumed = make_training(recipe, "tiny", None)
    resumed_scores = resumed.run(tmp_path / "stopped", lambda step, steps, loss: again.append(step))
    assert again == [3, 4]
    assert resumed_scores == pytest.approx(scores, rel=1e-4)
    names = plain_weights(whole.network)
    for (path, expected), value in zip(names.items(), plain_weights(resumed.network).values(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5, err_msg=path)


@pytest.mark.slow
def test_the_average_of_the_weights_is_what_is_evaluated(tmp_path: Path) -> None:
    plan: dict[str, Any] = find("table1/cifar10/no-noise").at("tiny") | {"ema": 0.9}
    training = image_training("generated", None, plan)
    kernel = training.network.get_layer("classifier").kernel
    seen: list[np.ndarray] = []
    training.run(tmp_path, lambda step, steps, loss: seen.append(kernel.numpy()))
    average = seen[0]  # Keras begins with the weights after the first step
    for weights in seen[1:]:
        average = 0.9 * average + 0.1 * weights
    np.testing.assert_allclose(kernel.numpy(), average, rtol=1e-4, atol=1e-6)
    assert np.abs(average - seen[-1]).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", FINALS)
def test_every_row_of_the_tables_at_scale_tiny(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, data_for(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_at_scale_tiny_hands_its_patterns_to_the_final(name: str, tmp_path: Path) -> None:
    table, _, row = name.partition("/")
    place = row.partition("/")[0]
    final = "uda-autodropout" if table == "table3" else "autodropout"
    results = reproduce(table, tmp_path, data_for(name), "tiny", [row, f"{place}/{final}"])
    assert {result.recipe.rpartition("/")[2] for result in results} == {"search", final}
    assert all(result.seconds > 1 for result in results)
    trained = next(result for result in results if result.recipe.endswith(final))
    assert trained.patterns is not None
    assert trained.patterns.endswith("search")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["b3", "b5", "b7"])
def test_patterns_of_half_width_b0_fit_the_larger_ones_in_proportion(variant: str) -> None:
    proxy = tad.models.efficientnet("b0", (64, 64, 3), 10, 0.5)
    sites = tad.sites(proxy).as_sites()
    found = tad.PatternSet(
        {"stage2_block1_depthwise_bn": tad.ConvPattern(size=2, stride=1)},
        {"sites": {site.name: list(site.shape) for site in sites}},
    )
    plan = {"network": "efficientnet", "variant": variant, "image_size": 128}
    network = image_network(plan, 10, "patterns", found)
    pattern = next(site.pattern for site in tad.sites(network) if site.name == "stage2_block1_depthwise_bn")
    assert pattern == tad.ConvPattern(size=4, stride=2)
    assert imagenet.RESNET["network"].value == "resnet50"
