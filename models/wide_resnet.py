"""Wide ResNet with a pattern site at every batch normalization."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.layers import PatternDropout, site_seed
from tf_autodropout.models.arguments import check_image_shape
from tf_autodropout.patterns import ConvPattern, TransformerPattern, patterns_for
from tf_autodropout.patterns.checks import check_int

_STAGES = 3
_STEM_FILTERS = 16


def wide_resnet(
    depth: int,
    width: int,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    patterns: Mapping[str, ConvPattern] | None = None,
    dropout: float = 0.0,
    weight_decay: float = 0.0,
    seed: int = 0,
    mutable: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Builds a pre-activation Wide ResNet, images in, logits out.

    The sites are the outputs of the batch normalizations, as in the paper: `stage1_block1_bn1`,
    `stage1_block1_bn2`, ..., `final_bn`. A pattern with `residual=True` acts on the skip connection
    of its block as well.

    Args:
        depth: Number of convolutional layers, `6 * n + 4`.
        width: Widening factor k; the stages have 16k, 32k and 64k filters.
        input_shape: `(H, W, channels)`; H and W at least 4.
        num_classes: Number of classes.
        patterns: Site to `ConvPattern`; sites left out drop nothing.
        dropout: Rate of the element-wise Dropout between the convolutions of each block, as in the
            WRN paper; the classic to compare with.
        weight_decay: L2 factor on the kernels, added to the loss (`loss += factor * sum(w^2)`).
        seed: Seeds the initial weights and the masks.
        mutable: Have a layer at every site, its pattern in variables, see `PatternDropout`.
        name: Name of the model.

    Returns:
        `keras.Model` from `(N, H, W, channels)` to float32 logits `(N, num_classes)`.

    Raises:
        ValueError: `depth` is not `6 * n + 4`, a bad size or shape, an unknown site.

    Example:
        >>> import tf_autodropout as tad
        >>> model = tad.models.wide_resnet(10, 1, patterns={"final_bn": tad.ConvPattern(size=2)})
        >>> model.output_shape
        (None, 10)

    Reference:
        Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016; sites: Pham and Le,
        AutoDropout, AAAI 2021, Section "Search Space".
    """
    check_wide_resnet_sizes(depth, width, input_shape)
    check_int("num_classes", num_classes, 1)
    stages, blocks = range(1, _STAGES + 1), range(1, (depth - 4) // 6 + 1)
    places = [f"stage{stage}_block{block}" for stage in stages for block in blocks]
    sites = [*(f"{place}_{norm}" for place in places for norm in ("bn1", "bn2")), "final_bn"]
    chosen = patterns_for(sites, ConvPattern, patterns)

    def drop(site: str, x: Any, on_skip: bool = False) -> Any:
        where = "skip" if on_skip else "main"
        pattern = chosen.get(site, ConvPattern())
        if not mutable and (pattern.is_identity or (on_skip and not pattern.residual)):
            return x
        layer = PatternDropout(
            pattern,
            seed=site_seed(seed, site, where),
            data_format="channels_last",
            site=site,
            on_skip=on_skip,
            mutable=mutable,
            name=f"{site}_pattern_{where}",
        )
        return layer(x)

    def conv(x: Any, filters: int, kernel: int, stride: int, layer_name: str) -> Any:
        layer = keras.layers.Conv2D(
            filters,
            kernel,
            stride,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed=site_seed(seed, "weights", layer_name)),
            kernel_regularizer=keras.regularizers.L2(weight_decay) if weight_decay else None,
            name=layer_name,
        )
        return layer(x)

    def norm_drop_relu(x: Any, site: str) -> Any:
        x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=site)(x)
        return keras.layers.ReLU(name=f"{site}_relu")(drop(site, x))

    images = keras.Input(input_shape, name="images")
    h = conv(images, _STEM_FILTERS, 3, 1, "stem")  # (N, H, W, C)
    for index, place in enumerate(places):
        stage, block = divmod(index, len(blocks))
        filters = _STEM_FILTERS * width * 2**stage
        stride = 2 if block == 0 and stage > 0 else 1
        x = norm_drop_relu(h, f"{place}_bn1")
        if block == 0:  # new width or resolution: project the activated input
            h = conv(x, filters, 1, stride, f"{place}_project")
        x = conv(x, filters, 3, stride, f"{place}_conv1")
        x = norm_drop_relu(x, f"{place}_bn2")
        if dropout:
            x = PatternDropout(
                TransformerPattern(size=1, rate=dropout),
                seed=site_seed(seed, place, "dropout"),
                name=f"{place}_dropout",
            )(x)
        x = conv(x, filters, 3, 1, f"{place}_conv2")
        for site in (f"{place}_bn1", f"{place}_bn2"):
            h = drop(site, h, on_skip=True)
        h = keras.layers.Add(name=f"{place}_add")([h, x])
    h = norm_drop_relu(h, "final_bn")
    h = keras.layers.GlobalAveragePooling2D(name="pool")(h)
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.GlorotUniform(seed=site_seed(seed, "weights", "classifier")),
        name="classifier",
    )(h)
    return keras.Model(images, logits, name=name or f"wide_resnet_{depth}_{width}")


def check_wide_resnet_sizes(depth: Any, width: Any, input_shape: Any) -> None:
    """Raises `ValueError` unless there is a Wide ResNet of this depth, width and shape of images."""
    if not isinstance(depth, int) or depth < 10 or (depth - 4) % 6:
        raise ValueError(f"Invalid value for 'depth'. Expected 6 * n + 4 with n >= 1. Received: depth={depth!r}")
    check_int("width", width, 1)
    check_image_shape(input_shape, 4)
