"""Trainings of ConvNets: with all labels, or with a few and UDA."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.recipes.image_pipeline import evaluation_batches, training_batches, uda_batches
from tf_autodropout.search.recipes.image_source import ArrayImages, ImageSource, open_images
from tf_autodropout.search.recipes.mixing import MixingClassifier
from tf_autodropout.search.recipes.networks import image_network
from tf_autodropout.search.recipes.optimizer import make_optimizer
from tf_autodropout.search.recipes.training import Training
from tf_autodropout.search.recipes.uda import UDA

# Where Manifold Mixup and MoEx act, by network: the input and the ends of the first stages; the end of the first.
_PLACES = {
    "wide_resnet": ["images", "stage1_block{}_add", "stage2_block{}_add"],
    "resnet50": ["images", "stage1_block3_add_relu", "stage2_block4_add_relu"],
}


def image_training(
    data: str,
    data_dir: str | Path | None,
    plan: Mapping[str, Any],
    noise: str = "none",
    patterns: PatternSet | None = None,
    seed: int = 0,
) -> Training:
    """Makes the supervised training of a plan.

    Args:
        data: Name of the images, see `open_images`.
        data_dir: Where the data sets are.
        plan: See `image_network`, `training_batches` and `make_optimizer`; `label_smoothing`, `manifold_mixup` (alpha)
            or `moex` (weight of the own label) with `mixing_probability`.
        noise: See `add_noise`.
        patterns: For noise `"patterns"`.
        seed: Seeds weights, order, augmentation and masks.
    """
    source = open_images(data, data_dir, plan, seed=0)
    network = image_network(plan, source.num_classes, noise, patterns, seed)
    model = _mixing(network, plan, seed)
    return _training(model, network, source, plan, lambda step: training_batches(source, plan, seed, step))


def uda_training(
    data: str,
    data_dir: str | Path | None,
    plan: Mapping[str, Any],
    noise: str = "none",
    patterns: PatternSet | None = None,
    seed: int = 0,
) -> Training:
    """Makes the training of a plan with few labels: UDA, or supervised alone where `unlabelled_ratio` is 0.

    Args:
        data: As for `image_training`; all of its training images are the unlabelled ones.
        data_dir: As for `image_training`.
        plan: As for `image_training`, and `labels`, how many images have one, equally many a class; or `labelled_data`,
            a data set of its own for them; `unlabelled_ratio`, `uda_weight`, `temperature`, `threshold`, `tsa`.
        noise: As for `image_training`.
        patterns: As for `image_training`.
        seed: As for `image_training`; it chooses the labels as well.

    Raises:
        ValueError: as `image_training`; images that are too many to choose labels from in memory.
    """
    whole = open_images(data, data_dir, plan, seed=0)
    if plan.get("labelled_data"):
        labelled = open_images(plan["labelled_data"], data_dir, plan, seed=0)
    elif isinstance(whole, ArrayImages):
        labelled = whole.part(plan["labels"], True, seed)
    else:
        raise ValueError(f"Images of '{data}' are too many to hold in memory: name a data set with the labelled ones")
    network = image_network(plan, whole.num_classes, noise, patterns, seed)
    if not plan["unlabelled_ratio"]:
        return _training(network, network, labelled, plan, lambda step: training_batches(labelled, plan, seed, step))
    model = UDA(
        network, plan["uda_weight"], plan["temperature"], plan["threshold"], plan.get("tsa"), steps=plan["steps"]
    )
    return _training(model, network, whole, plan, lambda step: uda_batches(labelled, whole, plan, seed, step))


def _training(
    model: keras.Model, network: keras.Model, source: ImageSource, plan: Mapping[str, Any], batches: Any
) -> Training:
    model.compile(
        make_optimizer(plan),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=plan.get("label_smoothing", 0.0)),
        metrics=["accuracy"],
    )

    def evaluate() -> dict[str, float]:
        # Without smoothing, without UDA; the weights are the averages by now where the plan has them.
        plain = keras.Model(network.inputs, network.outputs)
        plain.compile(None, keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        scores = plain.evaluate(evaluation_batches(source, plan), verbose=0, return_dict=True)
        return {"accuracy": 100 * scores["accuracy"], "loss": scores["loss"]}

    facts = {"train_images": source.train_size, "parameters": network.count_params()}
    return Training(model, network, batches, evaluate, plan["steps"], facts)


def _mixing(network: keras.Model, plan: Mapping[str, Any], seed: int) -> keras.Model:
    """The network in a `MixingClassifier` where the plan asks for one."""
    if not plan.get("manifold_mixup") and not plan.get("moex"):
        return network
    blocks = (plan.get("depth", 0) - 4) // 6
    places = [name.format(blocks) for name in _PLACES[plan["network"]]]
    share = plan.get("mixing_probability", 1.0)
    if plan.get("moex"):
        return MixingClassifier(network, places[1:2], exchange=plan["moex"], probability=share, seed=seed)
    return MixingClassifier(network, places, alpha=plan["manifold_mixup"], probability=share, seed=seed)
