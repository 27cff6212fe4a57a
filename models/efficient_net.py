"""EfficientNet B0 to B7 with a pattern site at every batch normalization."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from tf_autodropout.models.arguments import check_image_shape, check_width
from tf_autodropout.models.classifier import Backbone, first_that_imports, image_classifier
from tf_autodropout.patterns import ConvPattern
from tf_autodropout.patterns.checks import check_int, invalid


class _Variant(NamedTuple):
    width: float
    depth: float
    resolution: int  # pixels


class _Stage(NamedTuple):
    kernel: int
    blocks: int
    filters_in: int
    filters_out: int
    expansion: int
    stride: int


_VARIANTS = {
    "b0": _Variant(1.0, 1.0, 224),
    "b1": _Variant(1.0, 1.1, 240),
    "b2": _Variant(1.1, 1.2, 260),
    "b3": _Variant(1.2, 1.4, 300),
    "b4": _Variant(1.4, 1.8, 380),
    "b5": _Variant(1.6, 2.2, 456),
    "b6": _Variant(1.8, 2.6, 528),
    "b7": _Variant(2.0, 3.1, 600),
}
# Of B0; the other variants multiply filters and blocks.
_STAGES = (
    _Stage(3, 1, 32, 16, 1, 1),
    _Stage(3, 2, 16, 24, 6, 2),
    _Stage(5, 2, 24, 40, 6, 2),
    _Stage(3, 3, 40, 80, 6, 2),
    _Stage(5, 3, 80, 112, 6, 1),
    _Stage(5, 4, 112, 192, 6, 2),
    _Stage(3, 1, 192, 320, 6, 1),
)
_SQUEEZE = 0.25  # filters inside squeeze and excitation, of the block's input
_SMALLEST = 32  # pixels: the product of all strides


def efficientnet(
    variant: str = "b0",
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int = 1000,
    width: float = 1.0,
    patterns: Mapping[str, ConvPattern] | None = None,
    weight_decay: float = 0.0,
    seed: int = 0,
    mutable: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Builds an EfficientNet on the backbone of keras-cv, or of KerasHub where keras-cv does not import.

    Images in, logits out.

    The sites are the outputs of the batch normalizations, as in the paper: `stem_bn`, then
    `stage2_block1_expand_bn`, `..._depthwise_bn`, `..._project_bn` and so on (the blocks of stage 1 do not
    expand), and `top_bn`. A pattern with `residual=True` acts on the skip connection of its block as well.

    Neither the Dropout of the original's head nor its Stochastic Depth is built in: both are patterns. The
    activation that keras-cv puts after each projection is left out: the projections of EfficientNet are linear.

    Args:
        variant: `"b0"` to `"b7"`.
        input_shape: `(H, W, channels)`; H and W at least 32. Default: the variant's resolution, 224 for
            B0 to 600 for B7, and 3 channels.
        num_classes: Number of classes.
        width: Factor on the variant's filters; 0.5 of B0 is the half-width proxy.
        patterns: Site to `ConvPattern`; sites left out drop nothing.
        weight_decay: L2 factor on the kernels, added to the loss (`loss += factor * sum(w^2)`).
        seed: Seeds the initial weights and the masks.
        mutable: Have a layer at every site, its pattern in variables, see `PatternDropout`.
        name: Name of the model.

    Returns:
        `keras.Model` from `(N, H, W, channels)` to float32 logits `(N, num_classes)`.

    Raises:
        ValueError: an unknown variant, a bad size or shape, an unknown site.
        TypeError: a pattern that is no `ConvPattern`.

    Example:
        >>> import tf_autodropout as tad
        >>> model = tad.models.efficientnet("b0", (32, 32, 3), 10, 0.25, {"top_bn": tad.ConvPattern(size=1, rate=0.5)})
        >>> model.output_shape
        (None, 10)

    Reference:
        Tan and Le, EfficientNet, ICML 2019; sites: Pham and Le, AutoDropout, AAAI 2021, Section
        "Search Space".
    """
    if variant not in _VARIANTS:
        raise invalid("variant", f"one of {', '.join(_VARIANTS)}", variant)
    check_width(width)
    input_shape = input_shape or _resolution(variant)
    check_image_shape(input_shape, _SMALLEST)
    check_int("num_classes", num_classes, 1)
    factor, depth = _VARIANTS[variant].width * width, _VARIANTS[variant].depth
    backbone, change = first_that_imports(
        lambda: _of_keras_cv(factor, depth, input_shape), lambda: _of_keras_hub(factor, depth, input_shape)
    )
    name = name or f"efficientnet_{variant}"
    return image_classifier(backbone, change, num_classes, weight_decay, seed, name, patterns, mutable)


_STACKS = {
    "stackwise_kernel_sizes": [stage.kernel for stage in _STAGES],
    "stackwise_num_repeats": [stage.blocks for stage in _STAGES],
    "stackwise_input_filters": [stage.filters_in for stage in _STAGES],
    "stackwise_output_filters": [stage.filters_out for stage in _STAGES],
    "stackwise_expansion_ratios": [stage.expansion for stage in _STAGES],
    "stackwise_strides": [stage.stride for stage in _STAGES],
    "stackwise_squeeze_and_excite_ratios": [_SQUEEZE] * len(_STAGES),
}


def _of_keras_cv(width: float, depth: float, shape: tuple[int, int, int]) -> Backbone:
    import keras_cv  # two seconds that other builders need not wait for

    backbone = keras_cv.models.EfficientNetV1Backbone(
        include_rescaling=False,
        width_coefficient=width,
        depth_coefficient=depth,
        drop_connect_rate=0.0,
        input_shape=shape,
        **_STACKS,
    )
    return backbone, _change


def _of_keras_hub(width: float, depth: float, shape: tuple[int, int, int]) -> Backbone:
    import keras_hub

    backbone = keras_hub.models.EfficientNetBackbone(
        width_coefficient=width,
        depth_coefficient=depth,
        stackwise_block_types=["v1"] * len(_STAGES),
        use_depth_divisor_as_min_depth=True,
        cap_round_filter_decrease=True,
        batch_norm_momentum=0.99,
        batch_norm_epsilon=1e-3,
        dropout=0.0,
        input_shape=shape,
        **_STACKS,
    )
    return backbone, _change


def _resolution(variant: str) -> tuple[int, int, int]:
    return _VARIANTS[variant].resolution, _VARIANTS[variant].resolution, 3


def _change(layer: str) -> dict[str, Any] | None:
    """From a layer's name in keras-cv and KerasHub to ours: `block2b_dwconv_bn` to `stage2_block2_depthwise_bn`."""
    if layer.endswith(("project_activation", "_pad")):
        return None
    changes = {"padding": "same"} if layer.endswith(("stem_conv", "dwconv")) else {}  # the two pad in layers, unalike
    if block := re.match(r"block(\d)([a-z])", layer):
        layer = f"stage{block[1]}_block{ord(block[2]) - ord('a') + 1}{layer[block.end() :]}"
    return changes | {
        "name": layer.replace("dwconv", "depthwise").replace("_conv", "").replace("_activation", "_bn_swish")
    }
