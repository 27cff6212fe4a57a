"""The backbones of KerasHub at the smallest sizes they can be built in, for the sweep of surgery."""

from collections.abc import Callable
from typing import Any

import keras
import keras_hub
import numpy as np

M = keras_hub.models
IMAGE = (32, 32, 3)

_TEXT = {"vocabulary_size": 20, "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 12}
_HEADS = _TEXT | {"num_heads": 2}
_LONG = _HEADS | {"max_sequence_length": 16}
_GROUPS = _TEXT | {"num_query_heads": 2, "num_key_value_heads": 1}
_GROUPS_DIM = _GROUPS | {"head_dim": 4}
_LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "layer_types": ["linear_attention", "full_attention"],
}
_PATCHES = {"image_shape": IMAGE, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 8}
_T5GEMMA = {"vocabulary_size": 20} | {
    f"{part}_{name}": value
    for part in ("encoder", "decoder")
    for name, value in {
        "hidden_dim": 8,
        "intermediate_dim": 12,
        "num_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "layer_types": ["full_attention", "sliding_attention"],
    }.items()
}
_SMOL = {
    "vocabulary_size": 20,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "num_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rope_layer_enabled_list": [True, True],
    "layer_types": ["full_attention", "full_attention"],
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-6,
    "max_position_embeddings": 16,
    "rope_theta": 10000.0,
    "partial_rotary_factor": 1.0,
}
_MIT = {
    "layerwise_depths": [1, 1],
    "num_layers": 2,
    "layerwise_num_heads": [1, 2],
    "layerwise_sr_ratios": [2, 1],
    "max_drop_path_rate": 0.1,
    "layerwise_patch_sizes": [7, 3],
    "layerwise_strides": [4, 2],
    "hidden_dims": [8, 16],
    "image_shape": IMAGE,
}


def _resnet() -> keras.Model:
    return M.ResNetBackbone([64], [3], [64, 16], [1, 1], [1, 2], "basic_block", image_shape=IMAGE)


def _pyramid(image_shape: Any = (64, 64, 3)) -> keras.Model:
    return M.ResNetBackbone([64], [3], [64] * 4, [1] * 4, [1, 2, 2, 2], "basic_block", image_shape=image_shape)


def _mit() -> keras.Model:
    return M.MiTBackbone(**_MIT)


def _vit() -> keras.Model:
    return M.ViTBackbone(mlp_dim=12, **_PATCHES)


def _efficientnet() -> keras.Model:
    return M.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 2,
        stackwise_depth_coefficients=[1.0] * 2,
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 2],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 8],
        stackwise_expansion_ratios=[1, 2],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
        stackwise_strides=[1, 2],
        stackwise_block_types=["fused", "unfused"],
        stackwise_force_input_filters=[0, 0],
        stackwise_nores_option=[False, False],
        dropout=0.0,
        image_shape=IMAGE,
    )


def _mobilenet() -> keras.Model:
    return M.MobileNetBackbone(
        stackwise_expansion=[[8], [16, 16]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[8], [8, 8]],
        stackwise_kernel_size=[[3], [3, 3]],
        stackwise_num_strides=[[2], [1, 1]],
        stackwise_se_ratio=[[0.25], [None, 0.25]],
        stackwise_activation=[["relu"], ["relu", "hard_swish"]],
        stackwise_padding=[[1], [1, 1]],
        output_num_filters=16,
        depthwise_filters=16,
        depthwise_stride=1,
        depthwise_residual=True,
        last_layer_filter=16,
        image_shape=IMAGE,
    )


def _cspnet() -> keras.Model:
    return M.CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=2,
        stackwise_depth=[1, 2],
        stackwise_strides=[1, 2],
        stackwise_num_filters=[8, 16],
        block_type="dark_block",
        stage_type="csp",
        bottle_ratio=[0.5, 1.0],
        block_ratio=[1.0, 0.5],
        expand_ratio=[2.0, 1.0],
        stem_padding="same",
        down_growth=True,
        image_shape=IMAGE,
    )


def _hgnet() -> keras.Model:
    return M.HGNetV2Backbone(
        depths=[1, 1],
        embedding_size=8,
        hidden_sizes=[8, 16],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[[8, 4, 8, 1, 2, 3], [8, 4, 16, 1, 2, 3]],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, True],
        image_shape=(64, 64, 3),
        out_features=["stage1", "stage2"],
    )


def _d_fine() -> keras.Model:
    return M.DFineBackbone(
        backbone=_hgnet(),
        decoder_in_channels=[8, 8],
        encoder_hidden_dim=8,
        num_labels=3,
        num_denoising=2,
        learn_initial_query=False,
        num_queries=6,
        anchor_image_size=(64, 64),
        feat_strides=[4, 8],
        num_feature_levels=2,
        hidden_dim=8,
        encoder_in_channels=[8, 16],
        encode_proj_layers=[1],
        num_attention_heads=2,
        encoder_ffn_dim=12,
        num_encoder_layers=1,
        hidden_expansion=0.5,
        depth_multiplier=0.5,
        eval_idx=-1,
        num_decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=12,
        decoder_n_points=[2, 2],
        lqe_hidden_dim=4,
        num_lqe_layers=2,
        out_features=["stage1", "stage2"],
        image_shape=(64, 64, 3),
        seed=0,
    )


def _blip2() -> keras.Model:
    from keras_hub.src.models.blip2.blip2_custom_opt import BLIP2CustomOPT
    from keras_hub.src.models.blip2.blip2_qformer import BLIP2QFormer
    from keras_hub.src.models.blip2.blip2_vision_encoder import BLIP2VisionEncoder

    return M.BLIP2Backbone(
        BLIP2VisionEncoder(32, 16, 2, 2, 8, 12, True, True, True, True, 0.0, 1e-6, 0.02),
        BLIP2QFormer(2, 2, 2, 8, 12, 8, 1, 0.0, 1e-6),
        BLIP2CustomOPT(20, 2, 2, 8, 12, 2, 0.0, 16, 8),
    )


def _clip(family: str) -> keras.Model:
    import importlib

    name = {"clip": "CLIP", "metaclip_2": "MetaCLIP2", "siglip": "SigLIP"}[family]
    parts = {
        part: getattr(
            importlib.import_module(f"keras_hub.src.models.{family}.{family}_{part}_encoder"),
            f"{name}{part.title()}Encoder",
        )
        for part in ("vision", "text")
    }
    vision = parts["vision"](16, 8, 2, 2, 12, image_shape=IMAGE, name="vision_encoder")
    text = parts["text"](20, 8, 8, 2, 2, 12, max_sequence_length=8, name="text_encoder")
    return getattr(M, f"{name}Backbone")(vision, text, **({} if family == "siglip" else {"projection_dim": 8}))


def _vae(**sizes: Any) -> keras.Model:
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    return VAEBackbone([32, 32], [1, 1], [32, 32], [1, 1], sampler_method="mode", name="vae", **sizes)


def _stable_diffusion() -> keras.Model:
    from keras_hub.src.models.clip.clip_text_encoder import CLIPTextEncoder
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    vae = VAEBackbone([32] * 4, [1] * 4, [32] * 4, [1] * 4, sampler_method="mode", name="vae")
    clip_l, clip_g = (CLIPTextEncoder(20, 8, 8, 2, 2, 12, "gelu", -2, name=name) for name in ("clip_l", "clip_g"))
    model = M.StableDiffusion3Backbone(2, 16, 2, 2, 16, None, None, vae, clip_l, clip_g, image_shape=(32, 32, 3))
    model(inputs_of(model))  # its scheduler keeps what the first call computes, and has no graph before
    return model


def _flux() -> keras.Model:
    return M.FluxBackbone(
        input_channels=8,
        hidden_size=16,
        mlp_ratio=2.0,
        num_heads=2,
        depth=2,
        depth_single_blocks=2,
        axes_dim=[2, 2, 4],
        theta=10_000,
        use_bias=True,
        image_shape=(8, 8),
        text_shape=(8, 8),
        image_ids_shape=(8, 3),
        text_ids_shape=(8, 3),
        y_shape=(8,),
    )


def _sam() -> keras.Model:
    from keras_hub.src.models.sam.sam_mask_decoder import SAMMaskDecoder
    from keras_hub.src.models.sam.sam_prompt_encoder import SAMPromptEncoder

    return M.SAMBackbone(
        M.ViTDetBackbone(8, 2, 12, 2, [1], IMAGE, 4, 8, window_size=2),
        SAMPromptEncoder(hidden_size=8, image_embedding_size=(8, 8), input_image_size=(32, 32), mask_in_channels=4),
        SAMMaskDecoder(
            hidden_size=8, num_layers=2, intermediate_dim=12, num_heads=2, embedding_dim=8, iou_head_hidden_dim=8
        ),
    )


def _sam3() -> keras.Model:
    from keras_hub.src.models.sam3.sam3_detr_decoder import SAM3DetrDecoder
    from keras_hub.src.models.sam3.sam3_detr_encoder import SAM3DetrEncoder
    from keras_hub.src.models.sam3.sam3_geometry_encoder import SAM3GeometryEncoder
    from keras_hub.src.models.sam3.sam3_mask_decoder import SAM3MaskDecoder
    from keras_hub.src.models.sam3.sam3_text_encoder import SAM3TextEncoder
    from keras_hub.src.models.sam3.sam3_vision_encoder import SAM3VisionEncoder

    image = (56, 56, 3)
    return M.SAM3PromptableConceptBackbone(
        SAM3VisionEncoder(
            image, 14, 2, 16, 24, 2, 16, [4.0, 2.0, 1.0, 0.5], image, window_size=2, global_attn_indexes=[1]
        ),
        SAM3TextEncoder(20, 8, 8, 2, 2, 12, max_sequence_length=8),
        SAM3GeometryEncoder(1, 16, 24, 2, 3),
        SAM3DetrEncoder(1, 16, 24, 2),
        SAM3DetrDecoder(image, 14, 1, 16, 24, 2, 4),
        SAM3MaskDecoder(3, 16, 2),
    )


def _mobilenet_v5() -> keras.Model:
    none = [[0], [0, 0]]
    return M.MobileNetV5Backbone(
        stackwise_block_types=[["er"], ["uir", "mqa"]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[8], [8, 8]],
        stackwise_strides=[[2], [2, 1]],
        stackwise_act_layers=[["relu"], ["relu", "relu"]],
        stackwise_exp_ratios=[[2.0], [2.0, 1.0]],
        stackwise_se_ratios=[[0.0], [0.0, 0.0]],
        stackwise_dw_kernel_sizes=[[0], [3, 3]],
        stackwise_dw_start_kernel_sizes=none,
        stackwise_dw_end_kernel_sizes=none,
        stackwise_exp_kernel_sizes=[[3], [0, 0]],
        stackwise_pw_kernel_sizes=[[1], [0, 0]],
        stackwise_num_heads=[[0], [0, 2]],
        stackwise_key_dims=[[0], [0, 4]],
        stackwise_value_dims=[[0], [0, 4]],
        stackwise_kv_strides=[[0], [0, 1]],
        stackwise_use_cpe=[[False], [False, False]],
        image_shape=IMAGE,
        stem_size=8,
        use_msfa=False,
    )


def _gemma3n() -> keras.Model:
    return M.Gemma3nBackbone(
        text_vocab_size=20,
        text_hidden_size=8,
        num_hidden_layers=2,
        pad_token_id=0,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        intermediate_size=[12, 12],
        hidden_activation="gelu_approximate",
        layer_types=["full_attention", "sliding_attention"],
        sliding_window=4,
        rope_theta=10000.0,
        max_position_embeddings=16,
        vocab_size_per_layer_input=20,
        hidden_size_per_layer_input=4,
        altup_num_inputs=2,
        laurel_rank=2,
    )


def _depth_anything() -> keras.Model:
    encoder = M.DINOV2Backbone(
        14, 4, 8, 2, 12, image_shape=(126, 126, 3), position_embedding_shape=(126, 126, 3), apply_layernorm=True
    )
    keys = ["stage1", "stage2", "stage3", "stage4"]
    return M.DepthAnythingBackbone(encoder, [4, 2, 1, 0.5], [8, 8, 8, 8], 8, 8, -1, feature_keys=keys)


def _rqvae() -> keras.Model:
    from keras_hub.src.models.rqvae.rqvae_backbone import RQVAEBackbone

    return RQVAEBackbone(8, [8, 4], 4, [4, 8], 4, 2)


BACKBONES: dict[str, Callable[[], keras.Model]] = {
    "AlbertBackbone": lambda: M.AlbertBackbone(embedding_dim=4, **_LONG),
    "BASNetBackbone": lambda: M.BASNetBackbone(
        _pyramid((None, None, 3)), 1, image_shape=(64, 64, 3), projection_filters=64
    ),
    "BLIP2Backbone": _blip2,
    "BartBackbone": lambda: M.BartBackbone(**_LONG),
    "BertBackbone": lambda: M.BertBackbone(**_LONG),
    "BloomBackbone": lambda: M.BloomBackbone(**_HEADS),
    "CLIPBackbone": lambda: _clip("clip"),
    "CSPNetBackbone": _cspnet,
    "DFineBackbone": _d_fine,
    "DINOV2Backbone": lambda: M.DINOV2Backbone(intermediate_dim=12, position_embedding_shape=IMAGE, **_PATCHES),
    "DINOV3Backbone": lambda: M.DINOV3Backbone(intermediate_dim=12, **_PATCHES),
    "DebertaV3Backbone": lambda: M.DebertaV3Backbone(bucket_size=4, **_LONG),
    "DeepLabV3Backbone": lambda: M.DeepLabV3Backbone(
        _pyramid(), "P4", 4, [2, 3], low_level_feature_key="P2", projection_filters=4, image_shape=(64, 64, 3)
    ),
    "DeiTBackbone": lambda: M.DeiTBackbone(intermediate_dim=12, **_PATCHES),
    "DenseNetBackbone": lambda: M.DenseNetBackbone([1, 1, 1], IMAGE, growth_rate=4),
    "DepthAnythingBackbone": _depth_anything,
    "DistilBertBackbone": lambda: M.DistilBertBackbone(**_LONG),
    "ESMBackbone": lambda: M.ESMBackbone(**_LONG),
    "EdRecBackbone": lambda: M.EdRecBackbone(20, 2, 2, 8, 12, 2),
    "EfficientNetBackbone": _efficientnet,
    "ElectraBackbone": lambda: M.ElectraBackbone(20, 2, 2, 8, 4, 12, max_sequence_length=16),
    "FNetBackbone": lambda: M.FNetBackbone(max_sequence_length=16, **_TEXT),
    "FalconBackbone": lambda: M.FalconBackbone(20, 2, 2, 8, 12),
    "FluxBackbone": _flux,
    "GPT2Backbone": lambda: M.GPT2Backbone(**_LONG),
    "GPTNeoXBackbone": lambda: M.GPTNeoXBackbone(**_LONG | {"hidden_dim": 16}),
    "Gemma3Backbone": lambda: M.Gemma3Backbone(image_size=16, **_GROUPS_DIM),
    "Gemma3nBackbone": _gemma3n,
    "Gemma4Backbone": lambda: M.Gemma4Backbone(image_size=16, sliding_window_size=8, **_GROUPS_DIM),
    "GemmaBackbone": lambda: M.GemmaBackbone(**_GROUPS_DIM),
    "GptOssBackbone": lambda: M.GptOssBackbone(num_experts=2, **_GROUPS_DIM),
    "HGNetV2Backbone": _hgnet,
    "Llama3Backbone": lambda: M.Llama3Backbone(**_GROUPS),
    "LlamaBackbone": lambda: M.LlamaBackbone(**_GROUPS),
    "MetaCLIP2Backbone": lambda: _clip("metaclip_2"),
    "MiTBackbone": _mit,
    "MistralBackbone": lambda: M.MistralBackbone(**_GROUPS),
    "MixtralBackbone": lambda: M.MixtralBackbone(num_experts=2, **_GROUPS),
    "MobileNetBackbone": _mobilenet,
    "MobileNetV5Backbone": _mobilenet_v5,
    "MoonshineBackbone": lambda: M.MoonshineBackbone(20, 8, 2, 2, 8, 12, 2, 2),
    "OPTBackbone": lambda: M.OPTBackbone(**_LONG),
    "PARSeqBackbone": lambda: M.PARSeqBackbone(
        M.ViTBackbone(mlp_dim=12, use_class_token=False, **_PATCHES), 20, 8, 8, 2, 2, 12
    ),
    "PaliGemmaBackbone": lambda: M.PaliGemmaBackbone(
        image_size=16, vit_patch_size=8, vit_num_heads=2, vit_hidden_dim=8, vit_num_layers=2, **_GROUPS_DIM
    ),
    "Phi3Backbone": lambda: M.Phi3Backbone(**_GROUPS),
    "Qwen3Backbone": lambda: M.Qwen3Backbone(**_GROUPS_DIM),
    "Qwen3MoeBackbone": lambda: M.Qwen3MoeBackbone(moe_intermediate_dim=4, num_experts=2, top_k=1, **_GROUPS_DIM),
    "Qwen3_5Backbone": lambda: M.Qwen3_5Backbone(partial_rotary_factor=0.5, **_LINEAR, **_GROUPS_DIM),
    "Qwen3_5MoeBackbone": lambda: M.Qwen3_5MoeBackbone(
        moe_intermediate_dim=4,
        shared_expert_intermediate_size=4,
        num_experts=2,
        top_k=1,
        partial_rotary_factor=0.5,
        **_LINEAR,
        **{name: value for name, value in _GROUPS_DIM.items() if name != "intermediate_dim"},
    ),
    "QwenBackbone": lambda: M.QwenBackbone(**_GROUPS),
    "QwenMoeBackbone": lambda: M.QwenMoeBackbone(
        moe_intermediate_dim=4, shared_expert_intermediate_dim=4, num_experts=2, top_k=1, **_GROUPS
    ),
    "RQVAEBackbone": _rqvae,
    "RWKV7Backbone": lambda: M.RWKV7Backbone(8, 4, 2, 20, 12, 4, 4, 4, 4),
    "ResNetBackbone": _resnet,
    "RetinaNetBackbone": lambda: M.RetinaNetBackbone(_pyramid(), 3, 4, use_p5=False, image_shape=(64, 64, 3)),
    "RobertaBackbone": lambda: M.RobertaBackbone(**_LONG),
    "RoformerV2Backbone": lambda: M.RoformerV2Backbone(head_size=4, **_HEADS),
    "SAM3PromptableConceptBackbone": _sam3,
    "SAMBackbone": _sam,
    "SegFormerBackbone": lambda: M.SegFormerBackbone(_mit(), 8),
    "SigLIPBackbone": lambda: _clip("siglip"),
    "SmolLM3Backbone": lambda: M.SmolLM3Backbone(**_SMOL),
    "StableDiffusion3Backbone": _stable_diffusion,
    "SwinTransformerBackbone": lambda: M.SwinTransformerBackbone(IMAGE, 8, [2, 2], [2, 2], 4),
    "T5Backbone": lambda: M.T5Backbone(**_HEADS),
    "T5Gemma2Backbone": lambda: M.T5Gemma2Backbone(sliding_window=8, **_T5GEMMA),
    "T5GemmaBackbone": lambda: M.T5GemmaBackbone(sliding_window=8, cross_attention_hidden_size=8, **_T5GEMMA),
    "VAEBackbone": _vae,
    "VGGBackbone": lambda: M.VGGBackbone([2, 2], [4, 8], IMAGE),
    "ViTBackbone": _vit,
    "ViTDetBackbone": lambda: M.ViTDetBackbone(8, 2, 12, 2, [1], IMAGE, 4, 8, window_size=2),
    "VideoPrismBackbone": lambda: M.VideoPrismBackbone(2, 16, 8, 12, 2, 1, 1, 1, image_shape=IMAGE),
    "WhisperBackbone": lambda: M.WhisperBackbone(
        num_mels=4, max_encoder_sequence_length=16, max_decoder_sequence_length=8, **_HEADS
    ),
    "XLMRobertaBackbone": lambda: M.XLMRobertaBackbone(**_LONG),
    "XLNetBackbone": lambda: M.XLNetBackbone(**_HEADS),
    "XceptionBackbone": lambda: M.XceptionBackbone([[8, 8], [8, 8]], [True, False], IMAGE),
}


def inputs_of(model: keras.Model, seed: int = 0) -> Any:
    """Two random examples for whatever inputs a backbone has; one where it takes no more, as SAM3 with boxes."""
    rng = np.random.default_rng(seed)
    count = 1 if "box_labels" in [tensor.name for tensor in model.inputs] else 2

    def one(tensor: Any) -> np.ndarray:
        sound = tensor.shape[1:] == (None, 1)  # of which a first convolution takes long strides
        shape = [count, *((1024 if sound else 8) if size is None else size for size in tensor.shape[1:])]
        name = tensor.name
        if name in ("padding_mask", "box_labels") or name.endswith("_padding_mask"):  # a box is there or is not
            return np.ones(shape, tensor.dtype)
        if "int" in tensor.dtype:
            high = 2 if "segment" in name else 8
            return rng.integers(0 if "segment" in name else 1, high, shape).astype(tensor.dtype)
        if tensor.dtype == "bool":
            return np.ones(shape, bool)
        return rng.random(shape, "float32")  # pixels, places in an image

    return keras.tree.map_structure(one, model._inputs_struct)


# TensorFlow has no XLA on CPUs for the gradient of its resize to the nearest neighbor; without patterns neither.
NOT_UNDER_XLA = ("SAM3PromptableConceptBackbone",)

# How many blocks have no recommended site, see `tests.blocks`, and what they are: docs/reach.md tells the same.
BARE: dict[str, tuple[int, str]] = {
    "MetaCLIP2Backbone": (1, "projections of pooled features (N, C)"),
    "RQVAEBackbone": (1, "its quantizer looks codes up, and has no dense layer"),
    "SAMBackbone": (2, "two convolutions behind the image encoder, three on the masks of a prompt"),
    "StableDiffusion3Backbone": (1, "the last block of the text: one projection makes query, key and value"),
    "ViTDetBackbone": (1, "two convolutions behind the encoder"),
}
