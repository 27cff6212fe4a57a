"""From the settings of a recipe to its network."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from tf_autodropout import models
from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import invalid
from tf_autodropout.search.recipes.carrying import carry
from tf_autodropout.search.recipes.noise import add_noise, transformer_noise
from tf_autodropout.surgery import sites
from tf_autodropout.surgery.edit import insert_after, refresh


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Builds in a dtype policy of Keras, such as `"mixed_bfloat16"`, and sets the one before it back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def image_network(
    plan: Mapping[str, Any], num_classes: int, noise: str = "none", patterns: PatternSet | None = None, seed: int = 0
) -> keras.Model:
    """Builds the ConvNet of a plan with its noise.

    Args:
        plan: `network` (`wide_resnet`, `resnet50`, `efficientnet`), `image_size`, `precision`, `weight_decay` (the
            published factor of half the squared norm), `head_rate` of Dropout before the classifier, and the
            builder's `depth`, `width`, `variant`.
        num_classes: Number of classes.
        noise: See `add_noise`.
        patterns: For noise `"patterns"`; carried to the network where it is for another one.
        seed: Seeds weights and masks.

    Raises:
        ValueError: an unknown network, patterns that cannot be carried.

    Example:
        >>> from tf_autodropout.search.recipes.networks import image_network
        >>> plan = {"network": "wide_resnet", "depth": 10, "width": 1, "image_size": 16, "weight_decay": 5e-4}
        >>> image_network(plan | {"noise_rate": 0.1}, 10, "stochastic_depth").output_shape
        (None, 10)
    """
    shape = (plan["image_size"], plan["image_size"], 3)
    # Public recipes add `decay * tf.nn.l2_loss`, half the squared norm; the builders add the squared norm.
    common = {"weight_decay": plan.get("weight_decay", 0.0) / 2, "seed": seed}
    kind = plan["network"]
    with precision(plan.get("precision", "float32")):
        if kind == "wide_resnet":
            network = models.wide_resnet(plan["depth"], plan["width"], shape, num_classes, **common)
        elif kind == "resnet50":
            network = models.resnet50(shape, num_classes, plan.get("width", 1.0), **common)
        elif kind == "efficientnet":
            network = models.efficientnet(plan["variant"], shape, num_classes, plan.get("width", 1.0), **common)
        else:
            raise invalid("network", "wide_resnet, resnet50 or efficientnet", kind)
        if plan.get("head_rate"):
            # The authors' own, before the classifier: no site of the search.
            head = keras.layers.Dropout(plan["head_rate"], seed=seed, name="head_dropout")
            insert_after(network, network.get_layer("pool"), head)
            refresh(network)
        if noise == "patterns" and patterns:
            patterns = carry(patterns, sites(network).as_sites())
        return add_noise(network, noise, plan, patterns, seed)


def language_model(
    plan: Mapping[str, Any],
    vocabulary_size: int,
    noise: str = "none",
    patterns: PatternSet | None = None,
    seed: int = 0,
) -> keras.Model:
    """Builds the Transformer-XL of a plan with its noise, for segments and memories of any length."""
    with precision(plan.get("precision", "float32")):
        return models.transformer_xl(
            vocabulary_size,
            None,
            None,
            plan["num_layers"],
            plan["hidden_dim"],
            plan["num_heads"],
            plan["intermediate_dim"],
            transformer_noise(noise, plan, patterns),
            seed,
        )


def translator(
    plan: Mapping[str, Any],
    vocabulary_size: int,
    noise: str = "none",
    patterns: PatternSet | None = None,
    seed: int = 0,
) -> keras.Model:
    """Builds the encoder-decoder of a plan with its noise; one vocabulary and one embedding for both languages."""
    with precision(plan.get("precision", "float32")):
        return models.transformer(
            vocabulary_size,
            vocabulary_size,
            plan["num_layers"],
            plan["hidden_dim"],
            plan["num_heads"],
            plan["intermediate_dim"],
            share_embeddings=True,
            normalize_first=plan.get("normalize_first", False),
            patterns=transformer_noise(noise, plan, patterns),
            seed=seed,
        )
