"""ResNet-50 with a pattern site at every batch normalization."""

import re
from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.models.arguments import check_image_shape, check_width
from tf_autodropout.models.classifier import Backbone, first_that_imports, image_classifier
from tf_autodropout.patterns import ConvPattern
from tf_autodropout.patterns.checks import check_int, scaled_length

_BLOCKS = (3, 4, 6, 3)
_STRIDES = (1, 2, 2, 2)
_FILTERS = (64, 128, 256, 512)
_EXPANSION = 4  # filters of a block's last convolution, as a multiple of those before
_SMALLEST = 32  # pixels: the product of all strides
_STEM = {"conv1_conv": "stem", "conv1_bn": "stem_bn", "conv1_relu": "stem_bn_relu", "pool1_pool": "stem_pool"}


def resnet50(
    input_shape: tuple[int, int, int] = (224, 224, 3),
    num_classes: int = 1000,
    width: float = 1.0,
    patterns: Mapping[str, ConvPattern] | None = None,
    weight_decay: float = 0.0,
    seed: int = 0,
    mutable: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Builds ResNet-50 on the backbone of keras-cv, or of KerasHub where keras-cv does not import.

    Images in, logits out.

    The sites are the outputs of the batch normalizations, as in the paper: `stem_bn`, then
    `stage1_block1_bn1`, `..._bn2`, `..._bn3`, and `..._project_bn` in the first block of each stage. A
    pattern with `residual=True` acts on the skip connection of its block as well.

    Args:
        input_shape: `(H, W, channels)`; H and W at least 32.
        num_classes: Number of classes.
        width: Factor on the filters of all convolutions; 0.5 is the half-width proxy.
        patterns: Site to `ConvPattern`; sites left out drop nothing.
        weight_decay: L2 factor on the kernels, added to the loss (`loss += factor * sum(w^2)`).
        seed: Seeds the initial weights and the masks.
        mutable: Have a layer at every site, its pattern in variables, see `PatternDropout`.
        name: Name of the model.

    Returns:
        `keras.Model` from `(N, H, W, channels)` to float32 logits `(N, num_classes)`.

    Raises:
        ValueError: a bad size or shape, an unknown site.
        TypeError: a pattern that is no `ConvPattern`.

    Example:
        >>> import tf_autodropout as tad
        >>> model = tad.models.resnet50((32, 32, 3), 10, 0.25, {"stem_bn": tad.ConvPattern(size=4)})
        >>> model.output_shape
        (None, 10)

    Reference:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016; sites: Pham and Le,
        AutoDropout, AAAI 2021, Section "Search Space".
    """
    check_width(width)
    check_image_shape(input_shape, _SMALLEST)
    check_int("num_classes", num_classes, 1)
    filters = [scaled_length(full, width) for full in _FILTERS]
    backbone, change = first_that_imports(
        lambda: _of_keras_cv(filters, input_shape), lambda: _of_keras_hub(filters, input_shape)
    )
    return image_classifier(backbone, change, num_classes, weight_decay, seed, name or "resnet50", patterns, mutable)


def _of_keras_cv(filters: list[int], input_shape: tuple[int, int, int]) -> Backbone:
    import keras_cv  # two seconds that other builders need not wait for

    backbone = keras_cv.models.ResNetBackbone(
        stackwise_filters=filters,
        stackwise_blocks=list(_BLOCKS),
        stackwise_strides=list(_STRIDES),
        include_rescaling=False,
        input_shape=input_shape,
    )
    stem = {"filters": filters[0]}  # keras-cv fixes them at 64
    return backbone, lambda layer: {"name": _readable(layer)} | (stem if layer == "conv1_conv" else {})


def _of_keras_hub(filters: list[int], input_shape: tuple[int, int, int]) -> Backbone:
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[_FILTERS[0]],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=list(_FILTERS),  # it takes no others
        stackwise_num_blocks=list(_BLOCKS),
        stackwise_num_strides=list(_STRIDES),
        block_type="bottleneck_block",
        image_shape=input_shape,
    )

    def change(layer: str) -> dict[str, Any] | None:
        """To the network of keras-cv: other places of stride and padding, other numbers of the normalizations."""
        if layer.endswith("_pad"):
            return None
        if layer.endswith("_bn"):
            changes: dict[str, Any] = {"momentum": 0.99, "epsilon": 1.001e-5}
        else:
            changes = {"padding": "same"} if layer.endswith(("conv", "pool")) else {}
        of_block = re.match(r"stack(\d)_block(\d)(_.*)", layer)
        if of_block is None:
            return changes | {"name": _readable(layer)} | ({"filters": filters[0]} if layer == "conv1_conv" else {})
        stage, block, part = int(of_block[1]), int(of_block[2]), of_block[3]
        if part.endswith("_conv"):
            changes["filters"] = filters[stage] * (1 if part in ("_1_conv", "_2_conv") else _EXPANSION)
            # KerasHub has the stride of a block at its second convolution, keras-cv and He et al. at its first.
            changes["strides"] = _STRIDES[stage] if block == 0 and part in ("_0_conv", "_1_conv") else 1
        return changes | {"name": _readable(f"v2_stack_{stage}_block{block + 1}{part}")}

    return backbone, change


def _readable(layer: str) -> str:
    """From the name of a layer in keras-cv to ours: `v2_stack_0_block1_2_bn` to `stage1_block1_bn2`."""
    block = re.match(r"v2_stack_(\d)_block(\d)_", layer)
    if block is None:
        return _STEM[layer]
    parts = {"0_conv": "project", "0_bn": "project_bn", "add": "add", "out": "add_relu"}
    for number in "123":
        parts |= {
            f"{number}_conv": f"conv{number}",
            f"{number}_bn": f"bn{number}",
            f"{number}_relu": f"bn{number}_relu",
        }
    return f"stage{int(block[1]) + 1}_block{block[2]}_{parts[layer[block.end() :]]}"
