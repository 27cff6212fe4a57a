"""Ready-made models of other libraries, with random weights, for the tests of surgery."""

from typing import Any

import keras
import keras_nlp
import numpy as np

IMAGE = (64, 64, 3)


def applications_resnet50() -> keras.Model:
    return keras.applications.ResNet50(weights=None, input_shape=IMAGE, classes=10, classifier_activation=None)


def applications_efficientnet_b0() -> keras.Model:
    return keras.applications.EfficientNetB0(weights=None, input_shape=IMAGE, classes=10, classifier_activation=None)


def hub_resnet(blocks: tuple[int, ...] = (3, 4, 6, 3), kind: str = "bottleneck_block") -> keras.Model:
    return keras_nlp.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512][: len(blocks)],
        stackwise_num_blocks=list(blocks),
        stackwise_num_strides=[1, 2, 2, 2][: len(blocks)],
        block_type=kind,
        use_pre_activation=False,
        image_shape=IMAGE,
    )


def hub_efficientnet_b0() -> keras.Model:
    return keras_nlp.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 7,
        stackwise_depth_coefficients=[1.0] * 7,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        stackwise_block_types=["v1"] * 7,
        stackwise_squeeze_and_excite_ratios=[0.25] * 7,
        include_stem_padding=True,
        use_depth_divisor_as_min_depth=True,
        cap_round_filter_decrease=True,
        stem_conv_padding="valid",
        batch_norm_momentum=0.9,
        batch_norm_epsilon=1e-5,
        dropout=0,
        projection_activation=None,
        image_shape=IMAGE,
    )


def cv_resnet_v2(blocks: tuple[int, ...] = (3, 4, 6, 3), kind: str = "block") -> keras.Model:
    import keras_cv

    return keras_cv.models.ResNetV2Backbone(
        stackwise_filters=[64, 128, 256, 512][: len(blocks)],
        stackwise_blocks=list(blocks),
        stackwise_strides=[1, 2, 2, 2][: len(blocks)],
        include_rescaling=False,
        input_shape=IMAGE,
        block_type=kind,
    )


def cv_efficientnet_v1_b0() -> keras.Model:
    import keras_cv

    return keras_cv.models.EfficientNetV1Backbone(
        include_rescaling=False,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        stackwise_squeeze_and_excite_ratios=[0.25] * 7,
        input_shape=IMAGE,
    )


def bert(layers: int = 2, hidden: int = 128, heads: int = 2) -> keras.Model:
    """BERT-tiny's sizes, but for a small vocabulary."""
    return keras_nlp.models.BertBackbone(
        vocabulary_size=100,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=hidden,
        intermediate_dim=4 * hidden,
        max_sequence_length=32,
        dropout=0.0,  # Keras does not save the random state of its own Dropout
    )


def gpt2(layers: int = 2, hidden: int = 64, heads: int = 2) -> keras.Model:
    return keras_nlp.models.GPT2Backbone(
        vocabulary_size=100,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=hidden,
        intermediate_dim=4 * hidden,
        max_sequence_length=32,
        dropout=0.0,  # Keras does not save the random state of its own Dropout
    )


def encoder_and_decoder() -> keras.Model:
    x = keras.Input((6, 8), name="x")
    encoded = keras_nlp.layers.TransformerEncoder(16, 2, name="encoder")(x)
    return keras.Model(x, keras_nlp.layers.TransformerDecoder(16, 2, name="decoder")(encoded, encoded))


def attention_model() -> keras.Model:
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x))


def inputs_of(model: keras.Model) -> Any:
    """Two random examples."""
    rng = np.random.default_rng(0)
    if isinstance(model, keras.Sequential) or not isinstance(model.input, dict):
        shape = [2, *(16 if size is None else size for size in model.inputs[0].shape[1:])]
        return rng.normal(size=shape).astype("float32")
    made = {"token_ids": rng.integers(1, 100, (2, 16)), "padding_mask": np.array([[1] * 16, [1] * 9 + [0] * 7])}
    return {name: made.get(name, np.zeros((2, 16), int)) for name in model.input}
