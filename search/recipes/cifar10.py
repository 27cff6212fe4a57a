"""Tables 1 and 2, CIFAR-10: WRN-28-10 with the classics, with mixing and augmentation, with found patterns.

The search, on WRN-28-2 (not run; the paper: 16,384 patterns, about 40 minutes each):

    tf-autodropout reproduce table1 --rows cifar10/search --data-dir D --out runs/table1

The finals (not run at full size; the paper: 96.1 without noise, 96.8 with AutoDropout):

    tf-autodropout reproduce table1 --rows 'cifar10/*' --patterns runs/search --data-dir D --out runs/table1
    tf-autodropout reproduce table2 --rows 'cifar10/*' --patterns runs/search --data-dir D --out runs/table2
"""

from collections.abc import Mapping
from typing import Any

from tf_autodropout.search.recipes.recipe import AUTODROPOUT, SEARCH, Recipe, Setting, ours, paper, public

_AUTOAUGMENT = "tensorflow/models@139382a research/autoaugment/train_cifar.py, helper_utils.py"
_WRN = "szagoruyko/wide-residual-networks@ae6d0d0 scripts/train_cifar.sh"
_TRIVIAL = "automl/trivialaugment@e6545d8 confs/wresnet28x10_cifar10_b128_maxlr.1_randaugn=3,m=5"
_LEADERBOARD = "Papers With Code's entry of the paper"

COMMON: Mapping[str, Setting] = {
    "network": paper("wide_resnet"),
    "depth": paper(28),
    "width": paper(10),
    "image_size": public(32, "the size of CIFAR-10's images"),
    "steps": public(78_200, f"{_AUTOAUGMENT}: 200 epochs of 391 steps"),
    "batch_size": public(128, _AUTOAUGMENT),
    "optimizer": public("sgd", f"{_AUTOAUGMENT}: Momentum with Nesterov"),
    "momentum": public(0.9, _AUTOAUGMENT),
    "learning_rate": public(0.1, _AUTOAUGMENT),
    "schedule": public("cosine", _AUTOAUGMENT),
    # There on every variable, here on the kernels.
    "weight_decay": public(5e-4, _AUTOAUGMENT),
    "clip_norm": public(5.0, _AUTOAUGMENT),
    "crop": public("padded", f"{_WRN}: reflect-pad 4, crop, flip"),
    "statistics": public("cifar", "szagoruyko/wide-residual-networks@ae6d0d0 train.lua"),
}
_ALL_SITES = ours("*", "every batch normalization")
NOISES: Mapping[str, tuple[str, Mapping[str, Setting], Setting | None]] = {
    "No noise": ("none", {}, paper("96.1 ± 0.12")),
    "Dropout": (
        "spatial_dropout",
        {
            "noise_rate": ours(0.1, "0.3 in szagoruyko's code is for entries between the convolutions"),
            "noise_sites": ours("stage*_block*_bn2", "between the convolutions of each block, as in the WRN paper"),
        },
        None,
    ),
    "DropBlock": (
        "dropblock",
        {
            "noise_rate": ours(0.1, "1 - keep_prob at the end"),
            "block_size": ours(4, "size 7 of 14 x 14 in the last group but one of ResNet-50, here of 8 x 8"),
            "groups": public(("stage2", "stage3"), "tensorflow/tpu@7dc921f resnet_main.py: the last two groups"),
        },
        paper("96.2"),
    ),
    "Stochastic Depth": ("stochastic_depth", {"noise_rate": ours(0.2, "EfficientNet's survival of 0.8")}, None),
    "DropPath": ("drop_path", {"noise_rate": ours(0.1, "the mean of Stochastic Depth's")}, None),
    AUTODROPOUT: ("patterns", {}, paper("96.8")),
}
AUGMENTATIONS: Mapping[str, tuple[str, Mapping[str, Setting], Setting | None]] = {
    "Mixup": ("none", {"mixup": public(1.0, "facebookresearch/mixup-cifar10@eaff31a train.py")}, None),
    "CutMix": (
        "none",
        {
            "cutmix": public(1.0, "clovaai/CutMix-PyTorch@2d8eb68 README"),
            "cutmix_probability": public(0.5, "clovaai/CutMix-PyTorch@2d8eb68 README"),
        },
        None,
    ),
    "Manifold Mixup": (
        "none",
        {"manifold_mixup": public(2.0, "vikasverma1077/manifold_mixup@870ef77 supervised/README.md")},
        None,
    ),
    "MoEx": (
        "none",
        {
            "moex": public(0.5, "Boyiliee/MoEx@016571c README"),
            "mixing_probability": public(0.25, "Boyiliee/MoEx@016571c README"),
        },
        None,
    ),
    "RandAugment": ("none", {}, public("97.3", "ildoonet/pytorch-randaugment README, of RandAugment's paper")),
    "CutMix + RandAugment": (
        "none",
        {"cutmix": public(1.0, "clovaai/CutMix-PyTorch@2d8eb68 README"), "cutmix_probability": ours(0.5, "as alone")},
        None,
    ),
    f"{AUTODROPOUT} + RandAugment": ("patterns", {}, paper("97.9")),
}
_RANDAUGMENT = {
    "randaugment_operations": public(3, _TRIVIAL),
    # There 5 of 30 levels; here of 10.
    "randaugment_magnitude": public(5 / 3, _TRIVIAL),
    "cutout": public(16, _TRIVIAL),
}
# With 10,000 images 2,000 steps fit too little for any noise to help: 69.1 % without, 65 to 68 % with each classic.
_SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"depth": 10, "width": 1, "image_size": 16, "averaged": 2, "train_size": 256, "test_size": 64, "steps": 4}
    | {"batch_size": 16, "block_size": 2, "cutout": 8, "evaluation_batch": 64},
    "small": {"depth": 10, "width": 2, "image_size": 16, "averaged": 2, "train_size": 2_000, "steps": 2_000}
    | {"batch_size": 64, "block_size": 2, "cutout": 8},
}


def _recipe(table: int, row: str, entry: tuple[str, Mapping[str, Setting], Setting | None]) -> Recipe:
    noise, own, figure = entry
    settings = {**COMMON, **own, **(_RANDAUGMENT if row.endswith("RandAugment") else {})}
    if "noise_sites" not in settings:
        settings["noise_sites"] = _ALL_SITES
    # Cells that a row does not have stay out of its plan at the small scales too.
    scales = {
        scale: {k: v for k, v in sizes.items() if k in settings or k not in ("block_size", "cutout")}
        for scale, sizes in _SIZES.items()
    }
    score = "test accuracy, %"
    return Recipe(
        table, "CIFAR-10, WRN-28-10", row, "images", "cifar10", score, settings, scales, noise, figure, place="cifar10"
    )


SEARCH_RECIPE = Recipe(
    1,
    "CIFAR-10, WRN-28-2",
    "search",
    "cifar10_proxy",
    "cifar10",
    "validation accuracy, %",
    {
        **COMMON,
        "width": paper(2),
        "steps": paper(32_000),
        "train_size": paper(45_000),
        "valid_size": paper(5_000),
        "trials": paper(16_384),
        "granularity": ours("layer", "a pattern for each batch normalization"),
    },
    {
        "tiny": {"depth": 10, "width": 1, "image_size": 16, "steps": 2, "train_size": 64, "valid_size": 64, "trials": 2}
        | {"batch_size": 16, "averaged": 2, "granularity": "network"},
        "small": {"depth": 10, "image_size": 16, "steps": 600, "train_size": 1_000, "valid_size": 2_000, "trials": 64}
        | {"batch_size": 64, "averaged": 2, "granularity": "stage"},
    },
    kind=SEARCH,
    place="cifar10",
)
RECIPES = (
    SEARCH_RECIPE,
    *(_recipe(1, row, entry) for row, entry in NOISES.items()),
    *(_recipe(2, row, entry) for row, entry in AUGMENTATIONS.items()),
)
