"""The tasks that the searches of the tables train: a proxy network on a part of the data."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tf_autodropout.patterns.checks import invalid
from tf_autodropout.search.core import Task
from tf_autodropout.search.recipes.image_pipeline import evaluation_batches, training_batches
from tf_autodropout.search.recipes.image_source import open_images
from tf_autodropout.search.recipes.networks import image_network
from tf_autodropout.search.recipes.optimizer import make_optimizer
from tf_autodropout.search.recipes.recipe import SEARCH
from tf_autodropout.search.recipes.registry import find
from tf_autodropout.search.recipes.train_recipe import data_of
from tf_autodropout.search.recipes.train_text import open_corpus
from tf_autodropout.search.tasks.model_task import ModelTask
from tf_autodropout.search.tasks.xl_text import XLTextTask


def proxy(recipe: str = "table1/cifar10/search", scale: str = "full", data_dir: str | None = None) -> Task:
    """Makes the task of a search recipe; on the command line `tf_autodropout.search.recipes.proxies:proxy`.

    Args:
        recipe: Name of a recipe that is a search.
        scale: `"tiny"`, `"small"` or `"full"`.
        data_dir: Where the data sets are.

    Raises:
        ValueError: a recipe that is no search.
        DataMissing: its data set is not there.
    """
    found = find(recipe)
    if found.kind != SEARCH:
        raise invalid("recipe", "a recipe whose row is 'search'", recipe)
    plan, data = found.at(scale), data_of(found, scale, data_dir)
    if found.training == "text_proxy":
        return text_proxy(data, data_dir, plan)
    return image_proxy(data, data_dir, plan)


def image_proxy(data: str, data_dir: str | None, plan: Mapping[str, Any]) -> ModelTask:
    """Makes the search on a ConvNet: it trains as the finals do, on fewer images; the reward is validation accuracy.

    Args:
        data: As for `image_training`.
        data_dir: As for `image_training`.
        plan: As for `image_training`; `train_size` and `valid_size`, both taken from the training images.
    """
    whole: Any = open_images(data, data_dir, {k: v for k, v in plan.items() if k != "train_size"})
    train, valid = whole.split(plan["train_size"], plan["valid_size"])

    def build() -> keras.Model:
        # A trial sets NumPy's random state: weights and order of its own.
        network = image_network(plan, whole.num_classes, seed=int(np.random.randint(1 << 30)))
        smoothing = plan.get("label_smoothing", 0.0)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        network.compile(make_optimizer(plan), loss, metrics=["accuracy"])
        return network

    return ModelTask(
        build,
        lambda: training_batches(train, plan, int(np.random.randint(1 << 30))),
        validation_data=lambda: evaluation_batches(valid, plan),
        test_data=lambda: evaluation_batches(train, plan),
        objective="val_accuracy",
        steps=plan["steps"],
        granularity=plan["granularity"],
        name=plan["network"],
    )


def text_proxy(data: str, data_dir: str | None, plan: Mapping[str, Any]) -> XLTextTask:
    """Makes the search on a Transformer-XL; the reward is 80 / validation perplexity."""
    return XLTextTask(
        data,
        open_corpus(data, data_dir, plan),
        granularity=plan["granularity"],
        steps=plan["steps"],
        batch_size=plan["batch_size"],
        sequence_length=plan["segment_length"],
        num_layers=plan["num_layers"],
        hidden_dim=plan["hidden_dim"],
        num_heads=plan["num_heads"],
        learning_rate=plan["learning_rate"],
        intermediate_dim=plan["intermediate_dim"],
        memory_length=plan["memory_length"],
        evaluation_memory_length=plan["evaluation_memory_length"],
        warmup_steps=int(plan["warmup"] * plan["steps"]),
        clip_norm=plan["clip_norm"],
    )
