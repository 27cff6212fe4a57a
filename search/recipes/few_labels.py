"""Table 3: CIFAR-10 with 4,000 labels (WRN-28-2) and 10 % of ImageNet (ResNet-50), both with UDA.

The search (not run; the paper: 3,600 training and 400 validation images):

    tf-autodropout reproduce table3 --rows 'cifar10-4000/search' --data-dir D --out runs/table3

The finals (not run at full size; the paper: 94.9 with UDA, 95.8 with AutoDropout; 72.9 on 10 % of ImageNet). The
public recipe of UDA gives 95.68 ± 0.08 today, without patterns:

    tf-autodropout reproduce table3 --patterns runs/search --data-dir D --out runs/table3
"""

from collections.abc import Mapping
from typing import Any

from tf_autodropout.search.recipes import imagenet
from tf_autodropout.search.recipes.cifar10 import SEARCH_RECIPE
from tf_autodropout.search.recipes.recipe import AUTODROPOUT, SEARCH, Recipe, Setting, ours, paper, public

_UDA = "google-research/uda@960684e image/main.py, image/scripts/run_cifar10_gpu.sh"
_POLICY = "google-research/uda@960684e image/randaugment/policies.py l.65"
_LEADERBOARD = "Papers With Code's entry of the paper"

CIFAR: Mapping[str, Setting] = {
    "network": paper("wide_resnet"),
    "depth": paper(28),
    "width": paper(2),
    "image_size": public(32, "the size of CIFAR-10's images"),
    "labels": paper(4_000),
    "steps": public(500_000, _UDA),
    "batch_size": public(64, _UDA),
    "unlabelled_ratio": public(7, _UDA),
    "optimizer": public("sgd", f"{_UDA}: Momentum with Nesterov"),
    "momentum": public(0.9, _UDA),
    "learning_rate": public(0.03, _UDA),
    "schedule": public("partial_cosine", _UDA),
    "weight_decay": public(5e-4, _UDA),
    "ema": public(0.9999, _UDA),
    "uda_weight": public(1.0, _UDA),
    "threshold": public(0.8, _UDA),
    "temperature": public(0.4, _UDA),
    # There 2 operations of magnitude 1 to 9, each with probability .5: here always, of the mean magnitude.
    "randaugment_operations": public(2, _POLICY),
    "randaugment_magnitude": public(5, _POLICY),
    "cutout": public(16, "google-research/uda@960684e image/augmentation_transforms.py"),
    "crop": public("padded", "google-research/uda@960684e image/data.py"),
    "statistics": public("cifar", "google-research/uda@960684e image/data.py"),
}
_NOISE = {"noise_rate": ours(0.1, "no public recipe"), "noise_sites": ours("stage*_block*_bn2", "as in Table 1")}
_SUPERVISED = {"unlabelled_ratio": ours(0, "labels alone"), "randaugment_operations": ours(0, "as Table 1's baseline")}
_ROWS: Mapping[str, tuple[str, Mapping[str, Setting], Setting | None]] = {
    "Supervised": ("none", {**_SUPERVISED, "cutout": ours(0, "as Table 1's baseline")}, None),
    "UDA": ("none", {}, paper("94.9 ± 0.12")),
    "UDA + Dropout": ("spatial_dropout", _NOISE, None),
    "UDA + DropBlock": (
        "dropblock",
        {
            "noise_rate": ours(0.1, "as in Table 1"),
            "block_size": ours(4, "as in Table 1"),
            "groups": ours(("stage2", "stage3"), "as in Table 1"),
        },
        None,
    ),
    "UDA + Stochastic Depth": ("stochastic_depth", {"noise_rate": ours(0.2, "as in Table 1")}, None),
    "UDA + DropPath": ("drop_path", {"noise_rate": ours(0.1, "as in Table 1")}, None),
    f"UDA + {AUTODROPOUT}": ("patterns", {}, paper("95.8 ± 0.04")),
}
_SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"depth": 10, "width": 1, "image_size": 16, "averaged": 2, "train_size": 256, "test_size": 64, "labels": 20}
    | {"steps": 2, "batch_size": 8, "unlabelled_ratio": 2, "block_size": 2, "cutout": 8, "evaluation_batch": 64},
    "small": {"depth": 10, "width": 2, "image_size": 16, "averaged": 2, "train_size": 20_000, "labels": 400}
    | {"steps": 2_000, "batch_size": 32, "unlabelled_ratio": 3, "block_size": 2, "cutout": 8, "ema": 0.99}
    | {"randaugment_operations": 1},
}
_OPTIONAL = ("block_size",)

_IMAGENET: Mapping[str, Setting] = {
    **imagenet.RESNET,
    "labelled_data": paper("imagenet2012_subset/10pct"),
    "steps": ours(40_000, "UDA's number for ImageNet has not been read"),
    "batch_size": ours(512, "UDA's number for ImageNet has not been read"),
    "unlabelled_ratio": ours(3, "UDA's number for ImageNet has not been read"),
    "learning_rate": ours(0.2, "0.1 per 256 images"),
    "uda_weight": ours(1.0, "as for CIFAR-10"),
    "threshold": ours(0.5, "1,000 classes: less sure than with ten"),
    "temperature": ours(0.4, "as for CIFAR-10"),
    "randaugment_operations": ours(2, "as in Table 2"),
    "randaugment_magnitude": ours(9, "as in Table 2"),
}
_IMAGENET_ROWS: Mapping[str, tuple[str, Mapping[str, Setting], Setting | None]] = {
    "Supervised": ("none", _SUPERVISED, public("55.09", "google-research/uda README")),
    "UDA": ("none", {}, public("68.78", "google-research/uda README")),
    f"UDA + {AUTODROPOUT}": ("patterns", {}, public("72.9", _LEADERBOARD)),
}
_IMAGENET_SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"data": "tiny_imagenet10", "labelled_data": None, "labels": 20, "image_size": 32, "width": 0.25}
    | {"train_size": 64, "test_size": 32, "steps": 2, "batch_size": 4, "unlabelled_ratio": 1, "precision": "float32"}
    | {"learning_rate": 1e-3},
    "small": {"data": "tiny_imagenet10", "labelled_data": None, "labels": 500, "image_size": 64, "width": 0.5}
    | {"steps": 2_000, "batch_size": 32, "unlabelled_ratio": 2, "precision": "float32", "learning_rate": 0.02},
}


def _scales(sizes: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Setting]) -> dict[str, dict[str, Any]]:
    """The supervised row stays without unlabelled images and augmentation at the small scales."""
    off = {name for name in ("unlabelled_ratio", "randaugment_operations", "cutout") if name in settings}
    off = {name for name in off if not settings[name].value}
    kept = {
        scale: {k: v for k, v in own.items() if k not in off and (k in settings or k not in _OPTIONAL)}
        for scale, own in sizes.items()
    }
    return kept


def _recipe(place: str, column: str, data: str, row: str, entry: Any, common: Any, sizes: Any) -> Recipe:
    noise, own, figure = entry
    settings = {**common, **own}
    score = "test accuracy, %"
    return Recipe(3, column, row, "uda", data, score, settings, _scales(sizes, settings), noise, figure, place=place)


RECIPES = (
    Recipe(
        3,
        "CIFAR-10, 4,000 labels, WRN-28-2",
        "search",
        "cifar10_proxy",
        "cifar10",
        "validation accuracy, %",
        {**SEARCH_RECIPE.settings, "train_size": paper(3_600), "valid_size": paper(400)},
        SEARCH_RECIPE.scales,
        kind=SEARCH,
        place="cifar10-4000",
    ),
    *(
        _recipe("cifar10-4000", "CIFAR-10, 4,000 labels, WRN-28-2", "cifar10", row, entry, CIFAR, _SIZES)
        for row, entry in _ROWS.items()
    ),
    *(
        _recipe("imagenet-10pct", "ImageNet, 10 %, ResNet-50", "imagenet2012", row, entry, _IMAGENET, _IMAGENET_SIZES)
        for row, entry in _IMAGENET_ROWS.items()
    ),
)
