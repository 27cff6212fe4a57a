"""Tables 1 and 2, ImageNet: ResNet-50 and EfficientNet-B0, B3, B5, B7, and the searches on half-width proxies.

The searches (not run; the paper: 80,000 training and 5,000 validation images, 16,000 steps a pattern):

    tf-autodropout reproduce table1 --rows 'resnet50/search' --data-dir D --out runs/table1
    tf-autodropout reproduce table1 --rows 'efficientnet-b0/search' --data-dir D --out runs/table1

The finals (not run; the paper: ResNet-50 76.5 without noise and 78.7 with AutoDropout, B7 84.1 and 84.7). A set
found on the half-width B0 is carried to B3, B5 and B7 with sizes in proportion:

    tf-autodropout reproduce table1 --rows 'resnet50/*' --patterns runs/resnet50 --data-dir D --out runs/table1
    tf-autodropout reproduce table1 --rows 'efficientnet-*' --patterns runs/b0 --data-dir D --out runs/table1
    tf-autodropout reproduce table2 --rows 'resnet50/*' --patterns runs/resnet50 --data-dir D --out runs/table2
"""

from collections.abc import Mapping
from typing import Any

from tf_autodropout.search.recipes.recipe import AUTODROPOUT, SEARCH, Recipe, Setting, ours, paper, public

_RESNET = "tensorflow/tpu@7dc921f models/official/resnet/configs/resnet_config.py"
_RAND = "tensorflow/tpu@7dc921f models/official/resnet/configs/cloud/randaugment-8.yaml"
_EFFICIENT = "tensorflow/tpu@7dc921f models/official/efficientnet/main.py"
_CUTMIX = "clovaai/CutMix-PyTorch@2d8eb68 README"
_LEADERBOARD = "Papers With Code's entry of the paper"
_ABSTRACT = "paper, introduction"
_Rows = Mapping[str, tuple[str, Mapping[str, Setting], Setting | None]]

RESNET: Mapping[str, Setting] = {
    "network": paper("resnet50"),
    "image_size": public(224, _RESNET),
    "steps": public(112_590, f"{_RESNET}: 90 epochs"),
    "batch_size": public(1024, _RESNET),
    "optimizer": public("momentum", _RESNET),
    "momentum": public(0.9, _RESNET),
    "learning_rate": public(0.4, f"{_RESNET}: 0.1 per 256 images"),
    "schedule": public("steps", _RESNET),
    "warmup": public(5 / 90, f"{_RESNET}: 5 epochs"),
    "drops": public((30 / 90, 60 / 90, 80 / 90), _RESNET),
    "drop": public(0.1, _RESNET),
    "weight_decay": public(1e-4, _RESNET),
    "label_smoothing": public(0.0, _RESNET),
    "crop": public("resized", "tensorflow/tpu@7dc921f models/official/resnet/resnet_preprocessing.py"),
    "statistics": public("imagenet", "tensorflow/tpu@7dc921f models/official/resnet/resnet_main.py"),
    "precision": public("mixed_bfloat16", _RESNET),
}
_LONG = {
    "steps": public(225_216, f"{_RAND}: 180 epochs"),
    "warmup": public(5 / 180, _RAND),
}
_CLASSICS: _Rows = {
    "No noise": ("none", {}, None),
    "Dropout": (
        "spatial_dropout",
        {"noise_rate": ours(0.1, "no public recipe"), "noise_sites": ours("stage4_*", "the last group")},
        None,
    ),
    "DropBlock": (
        "dropblock",
        {
            "noise_rate": ours(0.1, "within the searched 1 - keep_prob of 0.05 to 0.25"),
            "block_size": public(7, "tensorflow/tpu@7dc921f models/official/resnet/resnet_main.py l.377-396"),
            "groups": public(("stage3", "stage4"), "tensorflow/tpu@7dc921f models/official/resnet/resnet_main.py"),
        },
        public("78.13", "DropBlock's authors, with keep_prob searched"),
    ),
    "Stochastic Depth": ("stochastic_depth", {"noise_rate": ours(0.2, "EfficientNet's survival of 0.8")}, None),
    "DropPath": ("drop_path", {"noise_rate": ours(0.1, "the mean of Stochastic Depth's")}, None),
}
_RESNET_ROWS: _Rows = {
    **_CLASSICS,
    "No noise": ("none", {}, Setting("76.5", _ABSTRACT)),
    AUTODROPOUT: ("patterns", {}, Setting("78.7", _ABSTRACT)),
}
_AUGMENTED: _Rows = {
    "Mixup": ("none", {"mixup": ours(0.2, "of mixup's paper, for ImageNet; recipes give no alpha")}, None),
    "CutMix": ("none", {"cutmix": public(1.0, _CUTMIX), "cutmix_probability": public(1.0, _CUTMIX)}, None),
    "Manifold Mixup": ("none", {"manifold_mixup": ours(0.2, "as Mixup; CutMix's table names no alpha")}, None),
    "MoEx": (
        "none",
        {
            "moex": public(0.9, "Boyiliee/MoEx@016571c README"),
            "mixing_probability": public(1.0, "Boyiliee/MoEx@016571c README"),
        },
        None,
    ),
    "RandAugment": ("none", {}, public("77.6", "ildoonet/pytorch-randaugment README, of RandAugment's paper")),
    "CutMix + RandAugment": (
        "none",
        {"cutmix": public(1.0, _CUTMIX), "cutmix_probability": public(1.0, _CUTMIX)},
        None,
    ),
    f"{AUTODROPOUT} + RandAugment": ("patterns", {}, public("80.3", _LEADERBOARD)),
}
_RANDAUGMENT = {"randaugment_operations": public(2, _RAND), "randaugment_magnitude": public(9, _RAND)}

EFFICIENT: Mapping[str, Setting] = {
    "network": paper("efficientnet"),
    "steps": public(218_949, f"{_EFFICIENT}: 350 epochs"),
    "batch_size": public(2048, _EFFICIENT),
    "optimizer": public("rmsprop", _EFFICIENT),
    "rho": public(0.9, _EFFICIENT),
    "momentum": public(0.9, _EFFICIENT),
    "epsilon": public(1e-3, "tensorflow/tpu@7dc921f models/official/efficientnet/utils.py"),
    "learning_rate": public(0.128, f"{_EFFICIENT}: 0.016 per 256 images"),
    "schedule": public("exponential", _EFFICIENT),
    "warmup": public(5 / 350, f"{_EFFICIENT}: 5 epochs"),
    "decay_every": public(2.4 / 350, f"{_EFFICIENT}: 2.4 epochs"),
    "drop": public(0.97, f"{_EFFICIENT} l.292"),
    "weight_decay": public(1e-5, _EFFICIENT),
    "label_smoothing": public(0.1, _EFFICIENT),
    "ema": public(0.9999, _EFFICIENT),
    "crop": public("resized", "tensorflow/tpu@7dc921f models/official/efficientnet/preprocessing.py"),
    "statistics": public("imagenet", _EFFICIENT),
    "precision": public("mixed_bfloat16", _EFFICIENT),
}
_RESOLUTIONS = {"b0": 224, "b3": 300, "b5": 456, "b7": 600}
_HEADS = {"b0": 0.2, "b3": 0.3, "b5": 0.4, "b7": 0.5}  # Dropout before the classifier
_AUTODROPOUT = {"b0": paper("77.5"), "b3": None, "b5": paper("83.1"), "b7": paper("84.7")}
_BASELINES = {
    "b0": public("76.7", "tensorflow/tpu@7dc921f models/official/efficientnet/README.md, ResNet preprocessing"),
    "b3": public("81.1", "tensorflow/tpu@7dc921f models/official/efficientnet/README.md, ResNet preprocessing"),
    "b5": public("83.1", "tensorflow/tpu@7dc921f models/official/efficientnet/README.md, ResNet preprocessing"),
    "b7": Setting("84.1", _ABSTRACT),
}
_PIXELS = {"data": "tiny_imagenet10", "image_size": 32, "precision": "float32", "batch_size": 8, "block_size": 2}
_SIZES: Mapping[str, Mapping[str, Any]] = {
    # All variants with B0's depth: B7's 55 blocks take minutes to trace.
    "tiny": _PIXELS
    | {"variant": "b0", "width": 0.25, "train_size": 64, "test_size": 32, "steps": 2, "learning_rate": 0.01},
    "small": _PIXELS
    | {"image_size": 64, "width": 0.5, "batch_size": 64, "steps": 2_000, "learning_rate": 0.05, "ema": None},
}


def _recipe(
    table: int, network: str, place: str, common: Mapping[str, Setting], row: str, entry: Any, **own: Setting
) -> Recipe:
    noise, more, figure = entry
    settings = {**common, **own, **more}
    if row.endswith("RandAugment"):
        settings |= {**_LONG, **_RANDAUGMENT}
    scales = {scale: _of(sizes, settings) for scale, sizes in _SIZES.items()}
    return Recipe(
        table, f"ImageNet, {network}", row, "images", "imagenet2012", "top-1, %", settings, scales, noise, figure,
        place=place,
    )  # fmt: skip


def _of(sizes: Mapping[str, Any], settings: Mapping[str, Setting]) -> dict[str, Any]:
    return {k: v for k, v in sizes.items() if k in settings or k not in ("block_size", "ema", "variant")}


def _efficient(variant: str) -> list[Recipe]:
    """A final without noise, with the authors' own (Dropout before the classifier, Stochastic Depth), with patterns."""
    own = {
        "variant": paper(variant),
        "image_size": public(_RESOLUTIONS[variant], "tensorflow/tpu@7dc921f models/official/efficientnet"),
    }
    head = {"head_rate": public(_HEADS[variant], "tensorflow/tpu@7dc921f models/official/efficientnet/README.md")}
    depth = {"noise_rate": public(0.2, f"{_EFFICIENT}: survival 0.8 at the last block")}
    rows: _Rows = {
        **_CLASSICS,
        "DropBlock": (
            "dropblock",
            {**_CLASSICS["DropBlock"][1], "groups": ours(("stage6", "stage7"), "the last")},
            None,
        ),
        "Dropout": ("none", head, None),
        "Stochastic Depth": ("stochastic_depth", {**head, **depth}, _BASELINES[variant]),
        AUTODROPOUT: ("patterns", head, _AUTODROPOUT[variant]),
    }
    name = f"EfficientNet-{variant.upper()}"
    return [_recipe(1, name, name.lower(), EFFICIENT, row, entry, **own) for row, entry in rows.items()]


def _search(network: str, common: Mapping[str, Setting], **own: Setting) -> Recipe:
    settings = {
        **common,
        **own,
        "width": paper(0.5),
        "steps": paper(16_000),
        "train_size": paper(80_000),
        "valid_size": paper(5_000),
        "batch_size": ours(256, "the paper's could not be obtained"),
        "learning_rate": ours(0.1 if network == "ResNet-50" else 0.016, "that of 256 images"),
        "trials": ours(16_384, "as for CIFAR-10"),
        "granularity": ours("layer", "a pattern for each batch normalization"),
    }
    tiny = {"steps": 2, "train_size": 32, "valid_size": 16, "trials": 2, "granularity": "network"}
    small = {"image_size": 64, "steps": 300, "batch_size": 64, "train_size": 4_500, "valid_size": 500, "trials": 64}
    scales = {
        "tiny": {**_of(_SIZES["tiny"], settings), **tiny},
        "small": {**_of(_SIZES["small"], settings), **small, "granularity": "stage"},
    }
    return Recipe(
        1, f"ImageNet, {network} of half width", "search", "imagenet_proxy", "imagenet2012", "validation top-1, %",
        settings, scales, kind=SEARCH, place=network.lower().replace("resnet-50", "resnet50"),
    )  # fmt: skip


RECIPES = (
    _search("ResNet-50", RESNET),
    *(_recipe(1, "ResNet-50", "resnet50", RESNET, row, entry) for row, entry in _RESNET_ROWS.items()),
    _search("EfficientNet-B0", EFFICIENT, variant=paper("b0"), image_size=public(224, _EFFICIENT)),
    *(recipe for variant in _RESOLUTIONS for recipe in _efficient(variant)),
    *(_recipe(2, "ResNet-50", "resnet50", RESNET, row, entry) for row, entry in _AUGMENTED.items()),
)
